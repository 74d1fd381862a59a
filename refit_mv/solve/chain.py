"""Normal equations of frames that depend on their neighbours in time, solved in a time that grows with their number and
no faster.

A term on velocity ties a frame to the next one, a term on acceleration to the next two, and each part of the body
(pelvis, every joint's rotation) to itself alone: full blocks on the diagonal, 3×3 blocks beside them. The Cholesky
factor has the same band and is found in one pass forwards, solutions in one pass forwards and one back (Björck,
"Numerical Methods for Least Squares Problems", 1996, §6.2). What a factor says about single frames, their marginal
covariances, comes exactly from the inverse's own band by a backward recursion (Takahashi, Fagan, Chen, "Formation of a
sparse bus impedance matrix", 1973), or faster from draws. Chains lie side by side in one batch.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.kernels.block_chain import backward_chains, factor_chains, forward_chains
from refit_mv.kernels.compiling import compiled_by


@dataclass(frozen=True, eq=False)
class ChainSystem:
    """``matrix @ step = -gradient`` for chains of frames.

    ``diagonal`` are the frames' own blocks, ``beside`` those of row t and column t + 1, ``beyond`` those of row t and
    column t + 2, given by parts of three unknowns each; unknowns after the parts (shape) are each frame's own.
    """

    diagonal: Float[Tensor, "chain frame unknown unknown"]
    beside: Float[Tensor, "chain interval part 3 3"]
    beyond: Float[Tensor, "chain inner part 3 3"]
    gradient: Float[Tensor, "chain frame unknown"]

    def restricted(self, present: Bool[Tensor, "chain frame"]) -> "ChainSystem":
        """The system in which only ``present`` frames move: the others are padding at ragged ends, or too far from all
        evidence. They neither step nor pull.
        """
        both, three = present[:, 1:] & present[:, :-1], present[:, 2:] & present[:, :-2]
        eye = torch.eye(self.gradient.shape[-1], dtype=self.gradient.dtype, device=self.gradient.device)
        return ChainSystem(
            torch.where(present[..., None, None], self.diagonal, eye),
            self.beside * both[..., None, None, None],
            self.beyond * three[..., None, None, None],
            self.gradient * present[..., None],
        )

    def damped(self, damping: Float[Tensor, " chain"], floor: float = 1e-6) -> "ChainSystem":
        """Levenberg–Marquardt damping in Marquardt's scaling, one factor a chain."""
        diagonal = self.diagonal.clone()
        entries = diagonal.diagonal(dim1=-2, dim2=-1)
        entries += damping[:, None, None] * entries + floor
        return replace(self, diagonal=diagonal)


@dataclass(frozen=True, eq=False)
class ChainFactor:
    """Cholesky factor by block columns: of every frame the inverse ``L⁻¹`` of its own lower triangle, and the
    (transposed) blocks below it, of the next frame and of the one after. A chain without a factor holds NaN.
    """

    inverse: Float[Tensor, "chain frame unknown unknown"]
    first: Float[Tensor, "chain frame unknown unknown"]
    second: Float[Tensor, "chain frame unknown unknown"]

    @property
    def good(self) -> Bool[Tensor, " chain"]:
        """False for chains whose matrix is not positive definite: nothing of theirs means anything."""
        return torch.isfinite(self.inverse[:, :, 0, 0]).all(-1)

    def solve(self, right: Float[Tensor, "chain frame unknown"]) -> Float[Tensor, "chain frame unknown"]:
        """``matrix⁻¹ @ right``, without gradients (``ImplicitStep`` carries those)."""
        return self.backward(self.forward(right[..., None]))[..., 0]

    @torch.no_grad()
    def forward(self, right: Float[Tensor, "chain frame unknown column"]) -> Tensor:
        """``L⁻¹ b``."""
        return _forward(self.inverse, self.first, self.second, right)

    @torch.no_grad()
    def backward(self, right: Float[Tensor, "chain frame unknown column"]) -> Tensor:
        """``L⁻ᵀ b``. Of standard normal numbers it makes draws from the Gaussian whose precision the chain is."""
        return _backward(self.inverse, self.first, self.second, right)

    @torch.no_grad()
    def marginal_covariance(self) -> Float[Tensor, "chain frame unknown unknown"]:
        """The diagonal blocks of the inverse: what is known of every frame once all others have had their say.

        Every block is a sum of positive semidefinite ones, so that rounding does not turn a variance negative.
        """
        found = torch.empty_like(self.inverse)
        frames = found.shape[1]
        # Of the frames after the current one: own covariances, and the covariance of the first with the second.
        next_own = next_cross = after_own = None
        for at in reversed(range(frames)):
            inverse = self.inverse[:, at]
            own, cross = inverse.mT @ inverse, None
            if next_own is not None:
                reach = self.first[:, at].mT @ inverse
                cross = -(next_own @ reach)
                if next_cross is not None and after_own is not None:
                    far = self.second[:, at].mT @ inverse
                    cross = cross - next_cross @ far
                    beyond = -(next_cross.mT @ reach) - after_own @ far
                    own = own - reach.mT @ cross - far.mT @ beyond
                else:
                    own = own - reach.mT @ cross
            own = 0.5 * (own + own.mT)
            found[:, at] = own
            # ``cross`` is Cov(next, current); the recursion of the frame before reads Cov(current, next).
            next_own, after_own, next_cross = own, next_own, None if cross is None else cross.mT
        return found


@torch.no_grad()
def factorise(system: ChainSystem) -> ChainFactor:
    """Block Cholesky along the band: a handful of products of one block's size for every frame."""
    return ChainFactor(*_factor(system.diagonal, system.beside, system.beyond))


def solve(system: ChainSystem) -> tuple[Float[Tensor, "chain frame unknown"], ChainFactor]:
    """The step of every frame, and the factor that it came from. Chains that cannot be factored stay where they are."""
    factor = factorise(system)
    step = -factor.solve(system.gradient)
    usable = factor.good & torch.isfinite(step).flatten(1).all(-1)
    return torch.where(usable[:, None, None], step, torch.zeros_like(step)), factor


@compiled_by(factor_chains)
def _factor(
    diagonal: Float[Tensor, "chain frame unknown unknown"],
    beside: Float[Tensor, "chain interval part 3 3"],
    beyond: Float[Tensor, "chain inner part 3 3"],
) -> tuple[Tensor, Tensor, Tensor]:
    frames, size = diagonal.shape[1], diagonal.shape[-1]
    eye = torch.eye(size, dtype=diagonal.dtype, device=diagonal.device).expand_as(diagonal[:, 0])
    inverse: list[Tensor] = []
    first: list[Tensor] = []
    second: list[Tensor] = []
    for at in range(frames):
        block = diagonal[:, at]
        for back, column in ((1, first), (2, second)):
            if at >= back:
                block = block - column[at - back].mT @ column[at - back]
        own, failed = torch.linalg.cholesky_ex(block)
        own = torch.where((failed == 0)[:, None, None], own, torch.nan)
        inverse.append(torch.linalg.solve_triangular(own, eye, upper=False))
        near, far = torch.zeros_like(own), torch.zeros_like(own)
        if at + 1 < frames:
            near = _spread(beside[:, at], size)
            if at > 0:
                # What the frame before already settles between this one and the next.
                near = near - first[-1].mT @ second[-1]
        if at + 2 < frames:
            far = _spread(beyond[:, at], size)
        first.append(inverse[-1] @ near)
        second.append(inverse[-1] @ far)
    return torch.stack(inverse, 1), torch.stack(first, 1), torch.stack(second, 1)


def _spread(parts: Float[Tensor, "chain part 3 3"], size: int) -> Float[Tensor, "chain unknown unknown"]:
    """Blocks of the parts as a matrix."""
    whole = parts.new_zeros(len(parts), size, size)
    part_blocks(whole, parts.shape[1]).copy_(parts.permute(0, 2, 3, 1))
    return whole


def part_blocks(matrix: Float[Tensor, "*batch unknown unknown"], parts: int) -> Float[Tensor, "*batch 3 3 part"]:
    """The 3×3 blocks on a matrix' diagonal that belong to the parts, as a view to be written to."""
    square = matrix[..., : 3 * parts, : 3 * parts]
    return square.unflatten(-1, (parts, 3)).unflatten(-3, (parts, 3)).diagonal(dim1=-4, dim2=-2)


@compiled_by(forward_chains)
def _forward(inverse: Tensor, first: Tensor, second: Tensor, right: Tensor) -> Tensor:
    solved: list[Tensor] = []
    for at in range(right.shape[1]):
        value = right[:, at]
        for back, column in ((1, first), (2, second)):
            if at >= back:
                value = value - column[:, at - back].mT @ solved[at - back]
        solved.append(inverse[:, at] @ value)
    return torch.stack(solved, dim=1)


@compiled_by(backward_chains)
def _backward(inverse: Tensor, first: Tensor, second: Tensor, right: Tensor) -> Tensor:
    frames = right.shape[1]
    solved: list[Tensor] = [right[:, -1]] * frames
    for at in reversed(range(frames)):
        value = right[:, at]
        for ahead, column in ((1, first), (2, second)):
            if at + ahead < frames:
                value = value - column[:, at] @ solved[at + ahead]
        solved[at] = inverse[:, at].mT @ value
    return torch.stack(solved, dim=1)


class ImplicitStep(torch.autograd.Function):
    """Carries gradients through a solved chain: the step δ satisfies ``balance(δ, weights) = 0``, so
    ``dδ = -H⁻¹ d balance`` (implicit function theorem). Its value is the step, its derivative one more solution with
    the factor at hand.
    """

    @staticmethod
    def forward(context, balance: Tensor, step: Tensor, factor: ChainFactor) -> Tensor:
        context.factor = factor
        return step.clone()

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        return -context.factor.solve(gradient), None, None
