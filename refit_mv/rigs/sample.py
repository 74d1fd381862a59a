"""Some frames of a person's evidence as rays, and how fast every point moved: what the checks of cameras read."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.geometry.camera import CameraRig, StackedRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.people.evidence import Evidence

# As many frames tell what thousands would: neighbours err alike.
MOST_FRAMES = 120
# A frame counts when two views share at least this many points.
FEWEST_SHARED = 6


@dataclass(frozen=True, eq=False)
class Sample:
    """``rows`` are places in the evidence. ``direction`` is in the cameras' own frames, ``weight`` 0 where nothing was
    seen; ``velocity`` of the landmarks of the fitted body, metres a frame.
    """

    rig: StackedRig
    rows: Int[Tensor, " frame"]
    direction: Float[Tensor, "frame view landmark 3"]
    weight: Float[Tensor, "frame view landmark"]
    velocity: Float[Tensor, "frame landmark 3"]

    @property
    def moment(self) -> Float[Tensor, " frame"]:
        """Where in the take the rows are, −0.5 the first and 0.5 the last."""
        rows = self.rows.double()
        return (rows - rows[0]) / (rows[-1] - rows[0]).clamp_min(1) - 0.5


def telling_rows(evidence: Evidence, most: int = MOST_FRAMES) -> Int[Tensor, " frame"]:
    """Frames, spread over the take, in which two views share points and whose neighbours saw the person too."""
    enough = sharing(evidence)
    return spread(torch.nonzero(enough[:-2] & enough[1:-1] & enough[2:])[:, 0] + 1, most)


def sharing(evidence: Evidence) -> Bool[Tensor, " frame"]:
    """The frames in which two views share points."""
    seen = (evidence.confidence > 0).double()
    shared = (seen @ seen.mT).flatten(1)
    apart = ~torch.eye(seen.shape[1], dtype=torch.bool).flatten()
    return (shared[:, apart] >= FEWEST_SHARED).any(1)


def spread(rows: Int[Tensor, " frame"], most: int) -> Int[Tensor, " chosen"]:
    """At most so many of the rows, evenly, the first and the last among them."""
    return rows if len(rows) <= most else rows[torch.linspace(0, len(rows) - 1, most).round().long()]


def sample_of(
    rig: CameraRig,
    evidence: Evidence,
    skin: LandmarkSkin,
    params: BodyParams,
    rows: Int[Tensor, " frame"],
    lag: Int[Tensor, " view"],
) -> Sample:
    """Read the evidence of the ``rows``, of every view so many frames later as its ``lag`` says. ``params``: the fitted
    motion of all frames.
    """
    stacked, views = rig.stacked(), torch.arange(len(rig))
    places = rows[:, None] + lag
    inside = (places >= 0) & (places < len(evidence))
    places = places.clamp(0, len(evidence) - 1)
    direction, valid = camera_bearings(stacked, evidence.pixels[places, views])
    weight = evidence.confidence[places, views].clamp_max(1.0) * valid * inside[..., None]
    before, after = (pose_landmarks(skin, params[rows + step]).positions for step in (-1, 1))
    return Sample(stacked, rows, direction, weight, ((after - before) / 2).nan_to_num())
