"""What a motion is, whatever file it came from."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp, log

# A reflection across the sagittal plane of the rest frame: x points to the person's left.
_REFLECTION = (-1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Motion:
    """Movement of SMPL's 24 joints. Metres for a person of 1.70 m standing at y = 0, y up, local rotation matrices (the
    root's is world_from_root).

    Raises:
        InputError: no frames, rates that are not positive, or numbers that are not finite.
    """

    name: str
    fps: float
    pelvis: Float[Tensor, "frame 3"]
    rotations: Float[Tensor, "frame 24 3 3"]

    def __post_init__(self) -> None:
        if not (self.fps > 0 and self.fps < float("inf")):
            raise InputError(f"motion '{self.name}': frames per second must be positive, got {self.fps}")
        if len(self.pelvis) == 0:
            raise InputError(f"motion '{self.name}': holds no frames")
        if not bool(torch.isfinite(self.pelvis).all() and torch.isfinite(self.rotations).all()):
            raise InputError(f"motion '{self.name}': holds NaN or infinite numbers")

    def __len__(self) -> int:
        return len(self.pelvis)

    def frames(self, chosen: slice | Int[Tensor, " chosen"]) -> "Motion":
        """A selection of frames; the rate is kept, so only a contiguous selection still plays at the right speed."""
        return Motion(self.name, self.fps, self.pelvis[chosen], self.rotations[chosen])


def mirror(motion: Motion) -> Motion:
    """The same movement seen in a mirror: left and right limbs change places and x is negated."""
    reflection = torch.tensor(_REFLECTION, dtype=motion.pelvis.dtype)
    rotations = motion.rotations[:, mirrored_order(SMPL_JOINT_NAMES)] * reflection[:, None] * reflection
    return Motion(f"{motion.name} (mirrored)", motion.fps, motion.pelvis * reflection, rotations)


def resample(motion: Motion, fps: float) -> Motion:
    """The motion at another rate over the same duration: positions linearly, rotations along geodesics. Aliasing is not
    filtered.
    """
    if not (fps > 0 and fps < float("inf")):
        raise InputError(f"motion '{motion.name}': cannot resample to {fps} frames per second, give a positive rate")
    last = len(motion) - 1
    # The small allowance keeps the last frame when the rates divide evenly but their quotient is rounded down.
    count = int(last / motion.fps * fps + 1e-9) + 1
    place = (torch.arange(count, dtype=torch.float64) * (motion.fps / fps)).clamp_max(last)
    before = place.floor().long().clamp_max(max(last - 1, 0))
    after = (before + 1).clamp_max(last)
    share = (place - before).to(motion.pelvis.dtype)
    start, end = motion.rotations[before], motion.rotations[after]
    step = log(start.transpose(-1, -2) @ end) * share[:, None, None]
    return Motion(
        motion.name,
        fps,
        motion.pelvis[before] + share[:, None] * (motion.pelvis[after] - motion.pelvis[before]),
        start @ exp(step),
    )
