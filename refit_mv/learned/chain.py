"""A chain of frames as one linear system: every frame's own normal matrix, tied to the next two by velocities and accelerations.

The matrix is block-pentadiagonal: full blocks on the diagonal, diagonal blocks beside them, because a velocity or acceleration ties each coordinate to itself alone. Its
Cholesky factor is found in one pass forwards, solutions in one pass forwards and one back (Björck, "Numerical Methods for Least Squares Problems", 1996, §6.2): linear in the number of frames, all windows side by side.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# The frame interval in which velocities and accelerations are measured, seconds: weights then mean the same at any rate.
REFERENCE_STEP = 1 / 60


@dataclass(frozen=True, eq=False)
class TimeTies:
    """Quadratic costs on velocity and acceleration. ``velocity`` weights the interval after each frame but the last, ``acceleration`` each frame but the first and last; ``step``
    in seconds. Weights of 0 cut the chain.
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
    """Gradient of the ties' cost where neighbouring frames differ by ``difference``; differentiable in weights and differences."""
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
    """Cholesky factor by block columns: ``own[t]`` the lower triangle of frame t, ``first[t]`` and ``second[t]`` the blocks below it, of the next frame and the one after."""

    own: list[Float[Tensor, "window unknown unknown"]]
    first: list[Float[Tensor, "window unknown unknown"]]
    second: list[Float[Tensor, "window unknown unknown"]]


@torch.no_grad()
def factorise(blocks: Float[Tensor, "window frame unknown unknown"], ties: TimeTies) -> ChainFactor:
    """Factor of ``blocks`` (every frame's own normal matrix, together with the ties positive definite) plus the ties' curvature."""
    frames, size = blocks.shape[1], blocks.shape[-1]
    before, middle, after = ties.stencil
    velocity, bent = ties.velocity * ties.rate**2, ties.acceleration
    diagonal = (
        _padded(velocity, 0, 1) + _padded(velocity, 1, 0)
        + _padded(bent * before**2, 0, 2) + _padded(bent * middle**2, 1, 1) + _padded(bent * after**2, 2, 0)
    )  # fmt: skip
    beside = _padded(bent * before * middle, 0, 1) + _padded(bent * middle * after, 1, 0) - velocity
    beyond = bent * before * after
    factor = ChainFactor([], [], [])
    for frame in range(frames):
        block = blocks[:, frame] + torch.diag_embed(diagonal[:, frame])
        for earlier, column in ((frame - 1, factor.first), (frame - 2, factor.second)):
            if earlier >= 0:
                block = torch.baddbmm(block, column[earlier], column[earlier].transpose(-1, -2), alpha=-1)
        own, _ = torch.linalg.cholesky_ex(block)
        factor.own.append(own)
        if frame + 1 == frames:
            break
        below = torch.diag_embed(beside[:, frame])
        if frame > 0:
            # What the frame before already settles between this one and the next.
            below = torch.baddbmm(below, factor.first[-1], factor.second[-1].transpose(-1, -2), alpha=-1)
        if frame + 2 < frames:
            below = torch.cat([below, torch.diag_embed(beyond[:, frame])], dim=-1)
        below = torch.linalg.solve_triangular(own, below, upper=False).transpose(-1, -2)
        factor.first.append(below[:, :size])
        if frame + 2 < frames:
            factor.second.append(below[:, size:])
    return factor


@torch.no_grad()
def forward_pass(factor: ChainFactor, right: Float[Tensor, "window frame unknown column"]) -> list[Tensor]:
    """``L⁻¹ b``."""
    solved: list[Tensor] = []
    for frame, own in enumerate(factor.own):
        value = right[:, frame]
        if frame > 0:
            value = torch.baddbmm(value, factor.first[frame - 1], solved[-1], alpha=-1)
        if frame > 1:
            value = torch.baddbmm(value, factor.second[frame - 2], solved[-2], alpha=-1)
        solved.append(torch.linalg.solve_triangular(own, value, upper=False))
    return solved


@torch.no_grad()
def backward_pass(
    factor: ChainFactor, right: list[Float[Tensor, "window unknown column"]]
) -> Float[Tensor, "window frame unknown column"]:
    """``L⁻ᵀ b``. Of standard normal numbers it makes draws from the Gaussian whose precision the chain is."""
    frames = len(factor.own)
    solved: list[Tensor] = [right[-1]] * frames
    for frame in reversed(range(frames)):
        value = right[frame]
        if frame + 1 < frames:
            value = torch.baddbmm(value, factor.first[frame].transpose(-1, -2), solved[frame + 1], alpha=-1)
        if frame + 2 < frames:
            value = torch.baddbmm(value, factor.second[frame].transpose(-1, -2), solved[frame + 2], alpha=-1)
        solved[frame] = torch.linalg.solve_triangular(factor.own[frame].transpose(-1, -2), value, upper=True)
    return torch.stack(solved, dim=1)


def solve(factor: ChainFactor, right: Float[Tensor, "window frame unknown"]) -> Float[Tensor, "window frame unknown"]:
    """The system's solution, ``H⁻¹ b``."""
    return backward_pass(factor, forward_pass(factor, right[..., None]))[..., 0]


class ImplicitStep(torch.autograd.Function):
    """Carries gradients through a solved chain: the step δ satisfies ``balance(δ, weights) = 0``, so ``dδ = -H⁻¹ d balance`` (implicit function theorem). Its value is the
    step, its derivative one more solution with the factor at hand.
    """

    @staticmethod
    def forward(context, balance: Tensor, step: Tensor, factor: ChainFactor) -> Tensor:
        context.factor = factor
        return step.clone()

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        return -solve(context.factor, gradient), None, None
