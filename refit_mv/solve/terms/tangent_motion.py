"""The other definition of motion along a chain: velocities and accelerations as differences of the unknowns themselves,
tangent coordinates of neighbouring frames subtracted. Each coordinate is tied to itself alone; trained weights of the
time network mean these (``terms.motion`` has rates on the rotations).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.solve.chain import ChainSystem
from refit_mv.solve.terms.motion import REFERENCE_STEP


@dataclass(frozen=True, eq=False)
class TangentMotion:
    """Quadratic costs on velocity and acceleration per reference step. ``velocity`` weights the interval after each
    frame but the last, ``acceleration`` each frame but the first and last; ``step`` in seconds. Weights of 0 cut the
    chain.
    """

    step: Float[Tensor, "chain interval"]
    velocity: Float[Tensor, "chain interval unknown"]
    acceleration: Float[Tensor, "chain inner unknown"]

    @property
    def rate(self) -> Float[Tensor, "chain interval 1"]:
        """Turns a difference of neighbours into a velocity per reference step."""
        return (REFERENCE_STEP / self.step)[..., None]

    @property
    def stencil(self) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients of the acceleration at an inner frame on the frame before, itself and the one after."""
        rate = self.rate
        scale = (2 * REFERENCE_STEP / (self.step[:, :-1] + self.step[:, 1:]))[..., None]
        before, after = scale * rate[:, :-1], scale * rate[:, 1:]
        return before, -(before + after), after

    def gradient(self, difference: Float[Tensor, "chain interval unknown"]) -> Float[Tensor, "chain frame unknown"]:
        """Gradient of half the cost where neighbouring frames differ by ``difference``; differentiable in weights and
        differences.
        """
        if difference.shape[1] == 0:
            return torch.zeros_like(_padded(difference, 0, 1))
        before, middle, after = self.stencil
        pull = self.velocity * self.rate**2 * difference
        push = self.acceleration * (after * difference[:, 1:] - before * difference[:, :-1])
        # x[t] loses what the interval after it wants, and gains from the one before.
        return (
            _padded(pull, 1, 0) - _padded(pull, 0, 1)
            + _padded(before * push, 0, 2) + _padded(middle * push, 1, 1) + _padded(after * push, 2, 0)
        )  # fmt: skip

    def tied(
        self,
        blocks: Float[Tensor, "chain frame unknown unknown"],
        gradient: Float[Tensor, "chain frame unknown"],
        difference: Float[Tensor, "chain interval unknown"],
    ) -> ChainSystem:
        """Frames' own normal equations, overwritten, with these terms added."""
        if difference.shape[1] == 0:
            none = blocks.new_zeros(len(blocks), 0, blocks.shape[-1] // 3, 3, 3)
            return ChainSystem(blocks, none, none, gradient)
        before, middle, after = self.stencil
        slow, sharp = self.velocity * self.rate**2, self.acceleration
        own = (
            _padded(slow, 0, 1) + _padded(slow, 1, 0)
            + _padded(sharp * before**2, 0, 2) + _padded(sharp * middle**2, 1, 1) + _padded(sharp * after**2, 2, 0)
        )  # fmt: skip
        beside = _padded(sharp * before * middle, 0, 1) + _padded(sharp * middle * after, 1, 0) - slow
        blocks.diagonal(dim1=-2, dim2=-1).add_(own)
        parts = [torch.diag_embed(each.unflatten(-1, (-1, 3))) for each in (beside, sharp * before * after)]
        return ChainSystem(blocks, parts[0], parts[1], gradient + self.gradient(difference))


def _padded(frames: Tensor, before: int, after: int) -> Tensor:
    return torch.nn.functional.pad(frames, (0, 0, before, after))
