"""Normal equations of frames that depend on their neighbours in time, solved in a time that grows with their number and
no faster.

A term on velocity ties a frame to the next one, a term on acceleration to the next two, so the matrix is
block-tridiagonal or block-pentadiagonal; its Cholesky factor has the same band. What a factor says about single frames,
their marginal covariances, comes from the inverse's own band by a backward recursion (Takahashi, Fagan, Chen,
"Formation of a sparse bus impedance matrix", 1973). Chains lie side by side in one batch; the loop runs over frames
only.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ChainSystem:
    """``matrix @ step = -gradient`` for chains of frames.

    ``diagonal`` are the frames' own blocks, ``lower`` those of row t + 1 and column t, ``second`` those of row t + 2
    and column t (None: there is no such coupling). The upper half is its transpose.
    """

    diagonal: Float[Tensor, "chain frame unknown unknown"]
    lower: Float[Tensor, "chain interval unknown unknown"]
    gradient: Float[Tensor, "chain frame unknown"]
    second: Float[Tensor, "chain inner unknown unknown"] | None = None

    def restricted(self, present: Bool[Tensor, "chain frame"]) -> "ChainSystem":
        """The system in which only ``present`` frames move: the others are padding at ragged ends, or too far from all
        evidence. They neither step nor pull.
        """
        both = present[:, 1:] & present[:, :-1]
        eye = torch.eye(self.gradient.shape[-1], dtype=self.gradient.dtype, device=self.gradient.device)
        second = self.second
        if second is not None:
            second = second * (present[:, 2:] & present[:, :-2])[..., None, None]
        return ChainSystem(
            torch.where(present[..., None, None], self.diagonal, eye),
            self.lower * both[..., None, None],
            self.gradient * present[..., None],
            second,
        )

    def damped(self, damping: Float[Tensor, " chain"], floor: float = 1e-6) -> "ChainSystem":
        """Levenberg–Marquardt damping in Marquardt's scaling, one factor a chain."""
        diagonal = self.diagonal.clone()
        entries = diagonal.diagonal(dim1=-2, dim2=-1)
        entries += damping[:, None, None] * entries + floor
        return ChainSystem(diagonal, self.lower, self.gradient, self.second)


@dataclass(frozen=True, eq=False)
class ChainFactor:
    """The Cholesky factor of a chain's matrix, block by block. ``good`` is False for chains whose matrix is not
    positive definite: nothing of theirs means anything.
    """

    diagonal: Float[Tensor, "chain frame unknown unknown"]
    lower: Float[Tensor, "chain interval unknown unknown"]
    second: Float[Tensor, "chain inner unknown unknown"] | None
    good: Bool[Tensor, " chain"]

    def solve(self, right: Float[Tensor, "chain frame unknown"]) -> Float[Tensor, "chain frame unknown"]:
        """``matrix⁻¹ @ right``. Gradients reach ``right``."""
        frames = right.shape[1]
        column = right[..., None].unbind(1)
        diagonal, lower = self.diagonal.unbind(1), self.lower.unbind(1)
        second = () if self.second is None else self.second.unbind(1)
        forward: list[Tensor] = []
        for at in range(frames):
            rest = column[at]
            if at >= 1:
                rest = rest - lower[at - 1] @ forward[at - 1]
            if at >= 2 and second:
                rest = rest - second[at - 2] @ forward[at - 2]
            forward.append(torch.linalg.solve_triangular(diagonal[at], rest, upper=False))
        backward: list[Tensor] = [*forward]
        for at in reversed(range(frames)):
            rest = forward[at]
            if at + 1 < frames:
                rest = rest - lower[at].mT @ backward[at + 1]
            if at + 2 < frames and second:
                rest = rest - second[at].mT @ backward[at + 2]
            backward[at] = torch.linalg.solve_triangular(diagonal[at].mT, rest, upper=True)
        return torch.stack(backward, dim=1)[..., 0]

    @torch.no_grad()
    def marginal_covariance(self) -> Float[Tensor, "chain frame unknown unknown"]:
        """The diagonal blocks of the inverse: what is known of every frame once all others have had their say.

        Every block is a sum of positive semidefinite ones, so that rounding does not turn a variance negative.
        """
        frames = self.diagonal.shape[1]
        eye = torch.eye(self.diagonal.shape[-1], dtype=self.diagonal.dtype, device=self.diagonal.device)
        found = torch.empty_like(self.diagonal)
        # Of the frames after the current one: own covariances, and the covariance of the first with the second.
        next_own = next_cross = after_own = None
        for at in reversed(range(frames)):
            inverse = torch.linalg.solve_triangular(self.diagonal[:, at], eye, upper=False)
            own = inverse.mT @ inverse
            cross = None
            if at + 1 < frames and next_own is not None:
                reach = self.lower[:, at] @ inverse
                cross = -(next_own @ reach)
                if self.second is not None and at + 2 < frames and next_cross is not None and after_own is not None:
                    far = self.second[:, at] @ inverse
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


def factorise(system: ChainSystem) -> ChainFactor:
    """Block Cholesky along the band: a handful of products of one block's size for every frame."""
    frames = system.diagonal.shape[1]
    diagonal: list[Tensor] = []
    lower: list[Tensor] = []
    second: list[Tensor] = []
    good = torch.ones(len(system.diagonal), dtype=torch.bool, device=system.diagonal.device)
    for at in range(frames):
        block = system.diagonal[:, at]
        far = None
        if at >= 2 and system.second is not None:
            far = torch.linalg.solve_triangular(diagonal[at - 2], system.second[:, at - 2].mT, upper=False).mT
            block = block - far @ far.mT
            second.append(far)
        if at >= 1:
            side = system.lower[:, at - 1]
            if far is not None:
                side = side - far @ lower[at - 2].mT
            near = torch.linalg.solve_triangular(diagonal[at - 1], side.mT, upper=False).mT
            block = block - near @ near.mT
            lower.append(near)
        factor, failed = torch.linalg.cholesky_ex(block)
        good = good & (failed == 0)
        diagonal.append(factor)
    empty = system.diagonal[:, :0]
    return ChainFactor(
        torch.stack(diagonal, dim=1),
        torch.stack(lower, dim=1) if lower else empty,
        None if system.second is None else torch.stack(second, dim=1) if second else empty,
        good,
    )


def solve(system: ChainSystem) -> tuple[Float[Tensor, "chain frame unknown"], ChainFactor]:
    """The step of every frame, and the factor that it came from. Chains that cannot be factored stay where they are."""
    factor = factorise(system)
    step = -factor.solve(system.gradient)
    usable = factor.good & torch.isfinite(step).flatten(1).all(-1)
    return torch.where(usable[:, None, None], step, torch.zeros_like(step)), factor
