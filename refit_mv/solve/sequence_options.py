"""How firmly a body's motion ties its frames together."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.sequence_terms import TimeWeights

# "off": every frame on its own. "strong": for slow motion and shaky detectors, at the price of claps and kicks.
Smoothing = Literal["off", "default", "strong"]
# The interval for which the options are stated, seconds. Rates wander and so do accelerations: over another interval
# their variance changes in proportion, and a recording at twice the rate with as many errors in every frame is smoothed
# over as many milliseconds, not over as many frames.
REFERENCE_STEP = 1 / 60
STRONG = 4.0


@dataclass(frozen=True)
class TimeOptions:
    """The time terms, as standard deviations at 60 frames a second. Chosen by a grid on training motions
    (docs/benchmark.md).

    ``*_velocity``: how fast the pelvis (m/s), the root's rotation and the other joints (rad/s) usually move; weak, they
    only keep what nothing shows from drifting. ``*_acceleration``: how fast velocity usually changes, m/s² and rad/s².
    ``tail``: accelerations beyond so many of their standard deviations are taken for impacts and smoothed less and
    less. ``pose_prior``: what the pose prior of a frame counts among neighbours, as a share of what it counts alone:
    poses in a row are not independent draws. ``longest_gap``: seconds without evidence that the motion before and after
    may bridge; longer ones stay empty.
    """

    pelvis_velocity: float = 10.0
    root_velocity: float = 20.0
    joint_velocity: float = 20.0
    pelvis_acceleration: float = 2.0
    root_acceleration: float = 12.0
    joint_acceleration: float = 20.0
    tail: float = 1.0
    pose_prior: float = 0.05
    longest_gap: float = 0.5

    def __post_init__(self) -> None:
        require_positive(self, "pelvis_velocity", "root_velocity", "joint_velocity")
        require_positive(self, "pelvis_acceleration", "root_acceleration", "joint_acceleration", "tail")
        require_not_negative(self, "pose_prior", "longest_gap")

    def smoothed(self, smoothing: Smoothing) -> "TimeOptions":
        """The options for a strength of smoothing; "off" is the caller's business."""
        if smoothing != "strong":
            return self
        return replace(
            self,
            pelvis_acceleration=self.pelvis_acceleration / STRONG,
            root_acceleration=self.root_acceleration / STRONG,
            joint_acceleration=self.joint_acceleration / STRONG,
        )

    def weights(self, times: Float[Tensor, "chain frame"], joints: int) -> TimeWeights:
        """Precisions of all rates and accelerations of frames at ``times`` (seconds); intervals longer than the longest
        gap tie nothing.
        """
        interval = times.diff(dim=1)
        near = interval <= self.longest_gap + REFERENCE_STEP
        spacing = 0.5 * (interval[:, 1:] + interval[:, :-1])

        def precision(pelvis: float, root: float, joint: float) -> Tensor:
            sigma = torch.tensor([pelvis, root, *[joint] * (joints - 1)], dtype=times.dtype, device=times.device)
            return sigma**-2 / REFERENCE_STEP

        velocity = precision(self.pelvis_velocity, self.root_velocity, self.joint_velocity)
        acceleration = precision(self.pelvis_acceleration, self.root_acceleration, self.joint_acceleration)
        return TimeWeights(
            (interval * near)[..., None] * velocity,
            (spacing * (near[:, 1:] & near[:, :-1]))[..., None] * acceleration,
            self.tail,
        )
