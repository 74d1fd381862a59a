"""A chain of frames as one linear system: every frame's own normal matrix, tied to the next two by velocities and
accelerations.

The matrix is block-pentadiagonal: full blocks on the diagonal, diagonal blocks beside them, because a velocity or
acceleration ties each coordinate to itself alone. Its Cholesky factor is found in one pass forwards, solutions in one
pass forwards and one back (Björck, "Numerical Methods for Least Squares Problems", 1996, §6.2): linear in the number of
frames, all windows side by side.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.kernels.chain import backward_chains, factor_chains, forward_chains
from refit_mv.kernels.compiling import array, serves

# The frame interval in which velocities and accelerations are measured, seconds: weights then mean the same at any
# rate.
REFERENCE_STEP = 1 / 60


@dataclass(frozen=True, eq=False)
class TimeTies:
    """Quadratic costs on velocity and acceleration. ``velocity`` weights the interval after each frame but the last,
    ``acceleration`` each frame but the first and last; ``step`` in seconds. Weights of 0 cut the chain.
    """

    step: Float[Tensor, "window interval"]
    velocity: Float[Tensor, "window interval unknown"]
    acceleration: Float[Tensor, "window interior unknown"]

    @property
    def rate(self) -> Float[Tensor, "window interval 1"]:
        """Turns a difference of neighbours into a velocity per reference step."""
        return (REFERENCE_STEP / self.step)[..., None]

    @property
    def stencil(self) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients of the acceleration at an interior frame on the frame before, itself and the one after."""
        rate = self.rate
        scale = (2 * REFERENCE_STEP / (self.step[:, :-1] + self.step[:, 1:]))[..., None]
        before, after = scale * rate[:, :-1], scale * rate[:, 1:]
        return before, -(before + after), after


def time_gradient(
    ties: TimeTies, difference: Float[Tensor, "window interval unknown"]
) -> Float[Tensor, "window frame unknown"]:
    """Gradient of the ties' cost where neighbouring frames differ by ``difference``; differentiable in weights and
    differences.
    """
    if difference.shape[1] == 0:
        return torch.zeros_like(_padded(difference, 0, 1))
    rate = ties.rate
    before, middle, after = ties.stencil
    pull = ties.velocity * rate**2 * difference
    push = ties.acceleration * (after * difference[:, 1:] - before * difference[:, :-1])
    # x[t] loses what the interval after it wants, and gains from the one before.
    return (
        _padded(pull, 1, 0) - _padded(pull, 0, 1)
        + _padded(before * push, 0, 2) + _padded(middle * push, 1, 1) + _padded(after * push, 2, 0)
    )  # fmt: skip


def _padded(frames: Tensor, before: int, after: int) -> Tensor:
    return torch.nn.functional.pad(frames, (0, 0, before, after))


@dataclass(frozen=True, eq=False)
class ChainFactor:
    """Cholesky factor by block columns: of every frame the inverse ``L⁻¹`` of its own lower triangle, and the
    (transposed) blocks below it, of the next frame and of the one after.
    """

    inverse: Float[Tensor, "window frame unknown unknown"]
    first: Float[Tensor, "window frame unknown unknown"]
    second: Float[Tensor, "window frame unknown unknown"]


@dataclass(frozen=True, eq=False)
class _Curvature:
    """What the ties add: to every frame's own diagonal, between neighbours, and between frames two apart."""

    own: Float[Tensor, "window frame unknown"]
    beside: Float[Tensor, "window interval unknown"]
    beyond: Float[Tensor, "window interior unknown"]

    @staticmethod
    def of(ties: TimeTies) -> "_Curvature":
        before, middle, after = ties.stencil
        velocity, bent = ties.velocity * ties.rate**2, ties.acceleration
        own = (
            _padded(velocity, 0, 1) + _padded(velocity, 1, 0)
            + _padded(bent * before**2, 0, 2) + _padded(bent * middle**2, 1, 1) + _padded(bent * after**2, 2, 0)
        )  # fmt: skip
        beside = _padded(bent * before * middle, 0, 1) + _padded(bent * middle * after, 1, 0) - velocity
        return _Curvature(own, beside, bent * before * after)


@torch.no_grad()
def factorise(blocks: Float[Tensor, "window frame unknown unknown"], ties: TimeTies) -> ChainFactor:
    """Factor of ``blocks`` (every frame's own normal matrix, together with the ties positive definite) plus the ties'
    curvature. A window without a factor solves to nothing finite.
    """
    curvature = _Curvature.of(ties)
    if serves(blocks, curvature.own):
        found = factor_chains(*map(array, (blocks, curvature.own, curvature.beside, curvature.beyond)))
        return ChainFactor(*map(torch.from_numpy, found))
    frames, size = blocks.shape[1], blocks.shape[-1]
    eye = torch.eye(size, dtype=blocks.dtype, device=blocks.device)
    inverse, first, second = [], [], []
    for frame in range(frames):
        block = blocks[:, frame] + torch.diag_embed(curvature.own[:, frame])
        for back, column in ((1, first), (2, second)):
            if frame >= back:
                block = block - column[frame - back].mT @ column[frame - back]
        own, failed = torch.linalg.cholesky_ex(block)
        own = torch.where((failed == 0)[:, None, None], own, torch.nan)
        inverse.append(torch.linalg.solve_triangular(own, eye.expand_as(own), upper=False))
        below, beyond = torch.zeros_like(own), torch.zeros_like(own)
        if frame + 1 < frames:
            below = torch.diag_embed(curvature.beside[:, frame])
            if frame > 0:
                # What the frame before already settles between this one and the next.
                below = below - first[-1].mT @ second[-1]
        if frame + 2 < frames:
            beyond = inverse[-1] * curvature.beyond[:, frame, None]
        first.append(inverse[-1] @ below)
        second.append(beyond)
    return ChainFactor(*(torch.stack(parts, dim=1) for parts in (inverse, first, second)))


@torch.no_grad()
def forward_pass(
    factor: ChainFactor, right: Float[Tensor, "window frame unknown column"]
) -> Float[Tensor, "window frame unknown column"]:
    """``L⁻¹ b``."""
    if serves(factor.inverse, right):
        given = (factor.inverse, factor.first, factor.second, right)
        return torch.from_numpy(forward_chains(*map(array, given)))
    solved: list[Tensor] = []
    for frame in range(right.shape[1]):
        value = right[:, frame]
        for back, column in ((1, factor.first), (2, factor.second)):
            if frame >= back:
                value = value - column[:, frame - back].mT @ solved[frame - back]
        solved.append(factor.inverse[:, frame] @ value)
    return torch.stack(solved, dim=1)


@torch.no_grad()
def backward_pass(
    factor: ChainFactor, right: Float[Tensor, "window frame unknown column"]
) -> Float[Tensor, "window frame unknown column"]:
    """``L⁻ᵀ b``. Of standard normal numbers it makes draws from the Gaussian whose precision the chain is."""
    if serves(factor.inverse, right):
        given = (factor.inverse, factor.first, factor.second, right)
        return torch.from_numpy(backward_chains(*map(array, given)))
    frames = right.shape[1]
    solved: list[Tensor] = [right[:, -1]] * frames
    for frame in reversed(range(frames)):
        value = right[:, frame]
        for ahead, column in ((1, factor.first), (2, factor.second)):
            if frame + ahead < frames:
                value = value - column[:, frame] @ solved[frame + ahead]
        solved[frame] = factor.inverse[:, frame].mT @ value
    return torch.stack(solved, dim=1)


def solve(factor: ChainFactor, right: Float[Tensor, "window frame unknown"]) -> Float[Tensor, "window frame unknown"]:
    """The system's solution, ``H⁻¹ b``."""
    return backward_pass(factor, forward_pass(factor, right[..., None]))[..., 0]


class ImplicitStep(torch.autograd.Function):
    """Carries gradients through a solved chain: the step δ satisfies ``balance(δ, weights) = 0``, so ``dδ = -H⁻¹ d
    balance`` (implicit function theorem). Its value is the step, its derivative one more solution with the factor at
    hand.
    """

    @staticmethod
    def forward(context, balance: Tensor, step: Tensor, factor: ChainFactor) -> Tensor:
        context.factor = factor
        return step.clone()

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        return -solve(context.factor, gradient), None, None
