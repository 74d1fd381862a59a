"""Videos that were mirrored: their cameras see what no camera at that place could, unless the pictures are turned back.

From far off a mirrored person is one turned about; it is perspective that tells, so rays are asked whether they meet.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.geometry.triangulation import triangulate
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.sample import telling_rows

FRAMES = 60
FEWEST_FRAMES = 4
# Mirroring what is right makes rays miss each other twice as far or more, mirroring back the other way round.
CLEARLY_LESS, MOST_FRAMES = 0.7, 0.8


def mirrored(rig: CameraRig, evidence: Evidence) -> Evidence:
    """The same evidence in mirrored pictures; their names of sides stay."""
    last = torch.tensor([2 * camera.matrix[0, 2] if camera.size is None else camera.size[0] - 1.0 for camera in rig])
    pixels = evidence.pixels.clone()
    pixels[..., 0] = last[:, None] - pixels[..., 0]
    return replace(evidence, pixels=pixels)


def mirrored_videos(rig: CameraRig, evidence: Evidence) -> list[Finding]:
    """Whether all videos are mirrored."""
    some = evidence.frames(telling_rows(evidence, FRAMES))
    if len(some) < FEWEST_FRAMES:
        return []
    ratio = _usual_miss(rig, mirrored(rig, some)) / _usual_miss(rig, some).clamp_min(1e-6)
    if float((ratio < 1).double().mean()) < MOST_FRAMES or float(ratio.median()) > CLEARLY_LESS:
        return []
    return [
        Finding(
            "mirrored_videos",
            "bad",
            f"The videos are mirrored: turned back, rays of the views meet {1 / float(ratio.median()):.1f} times "
            "better.",
            "Turn the videos back (flip them horizontally), run the detector on them, and fit anew.",
        )
    ]


def _usual_miss(rig: CameraRig, evidence: Evidence) -> Float[Tensor, " frame"]:
    """How far rays pass by their points, median of each frame's points, metres."""
    stacked = rig.stacked()
    direction, valid = bearings(stacked, evidence.pixels)
    weight = evidence.confidence * valid
    found = triangulate(stacked.center, direction, weight)
    miss = found.residual * (found.points[:, None] - stacked.center[:, None]).norm(dim=-1)
    # All rays of a point together: one may well be met by giving up the others.
    count = (weight > 0).sum(1)
    total = torch.where(weight > 0, miss, torch.zeros_like(miss)).sum(1)
    return torch.where(count > 1, total / count, torch.nan).nanmedian(-1).values.nan_to_num()
