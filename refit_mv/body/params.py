"""Where a body is and how it is bent: the unknowns of every fit, and what is done with whole sets of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.geometry import rotations as so3


@dataclass(frozen=True, eq=False)
class BodyParams:
    """``pelvis`` in world metres, one local rotation per joint (the root's is world_from_root), and ``shape``."""

    pelvis: Float[Tensor, "frame 3"]
    rotations: Float[Tensor, "frame joint 3 3"]
    shape: Float[Tensor, "frame shape"]

    def __len__(self) -> int:
        return self.pelvis.shape[0]

    def __getitem__(self, frames: slice | Int[Tensor, " chosen"] | Bool[Tensor, " frame"]) -> "BodyParams":
        """A selection of frames."""
        return self.map(lambda values: values[frames])

    def map(self, change: Callable[[Tensor], Tensor]) -> "BodyParams":
        """The same change made to all three parts."""
        return BodyParams(change(self.pelvis), change(self.rotations), change(self.shape))

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "BodyParams":
        """Converted, and moved where a device is named."""
        return self.map(lambda values: values.to(device=device, dtype=dtype))

    def detach(self) -> "BodyParams":
        """Without gradients."""
        return self.map(torch.Tensor.detach)

    @property
    def finite(self) -> Bool[Tensor, " frame"]:
        """Frames all of whose numbers are finite."""
        parts = (self.pelvis, self.rotations, self.shape)
        return torch.stack([torch.isfinite(part).flatten(1).all(-1) for part in parts]).all(0)

    def where(self, chosen: Bool[Tensor, " frame"], other: "BodyParams") -> "BodyParams":
        """These parameters in the ``chosen`` frames, ``other`` in all the rest."""

        def pick(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.where(chosen.view(-1, *[1] * (mine.ndim - 1)), mine, theirs)

        return BodyParams(
            pick(self.pelvis, other.pelvis), pick(self.rotations, other.rotations), pick(self.shape, other.shape)
        )

    def put(self, frames: Int[Tensor, " chosen"], part: "BodyParams") -> "BodyParams":
        """The same with some frames replaced, ``part`` holding one for each."""
        return BodyParams(
            self.pelvis.index_copy(0, frames, part.pelvis),
            self.rotations.index_copy(0, frames, part.rotations),
            self.shape.index_copy(0, frames, part.shape),
        )

    def blend(self, other: "BodyParams", share: Float[Tensor, " frame"]) -> "BodyParams":
        """From these parameters so far (0: none of the way, 1: all of it, more: beyond) towards ``other``: positions
        and shapes on lines, rotations on geodesics.
        """
        rotations = so3.geodesic(self.rotations, other.rotations, share[:, None])
        # Where nothing moves, not even by rounding.
        rotations = torch.where((share == 0)[:, None, None, None], self.rotations, rotations)
        return BodyParams(
            self.pelvis + share[:, None] * (other.pelvis - self.pelvis),
            rotations,
            self.shape + share[:, None] * (other.shape - self.shape),
        )

    @staticmethod
    def concatenate(parts: "Sequence[BodyParams]") -> "BodyParams":
        """Join along the frame axis."""
        return BodyParams(
            torch.cat([part.pelvis for part in parts]),
            torch.cat([part.rotations for part in parts]),
            torch.cat([part.shape for part in parts]),
        )
