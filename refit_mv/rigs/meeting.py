"""By what angle rays of two views miss each other, whichever way the views are read."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.sides import mirrored_order
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.people.evidence import Evidence
from refit_mv.people.mismatch import MISS
from refit_mv.rigs.mends import Mend

FEWEST_KEYPOINTS = 5


@dataclass(frozen=True, eq=False)
class View:
    """What one view sees in some frames, through some camera, in the world."""

    center: Float[Tensor, "3"]
    direction: Float[Tensor, "frame landmark 3"]
    weight: Float[Tensor, "frame landmark"]


def as_mended(evidence: Evidence, view: int, camera: Camera, mend: Mend) -> Evidence:
    """One view's evidence (of that view alone) as it was before it was mirrored, if the mend says that it was."""
    pixels, confidence = evidence.pixels[:, view : view + 1], evidence.confidence[:, view : view + 1]
    if mend.sides:
        order = list(mirrored_order(evidence.landmark_names))
        pixels, confidence = pixels[:, :, order], confidence[:, :, order]
    if mend.flip:
        last = 2 * camera.matrix[0, 2] if camera.size is None else camera.size[0] - 1.0
        pixels = torch.stack([last - pixels[..., 0], pixels[..., 1]], -1)
    return replace(evidence, pixels=pixels, confidence=confidence)


def view_through(
    evidence: Evidence, rows: Int[Tensor, " frame"], view: int, camera: Camera, mend: Mend, lag: int = 0
) -> View | None:
    """A view's rays in the ``rows``, ``lag`` frames later, if ``mend`` is what is wrong with it; None where it cannot
    be.
    """
    mended = mend.camera(camera)
    if mended is None:
        return None
    places = rows + lag
    inside = (places >= 0) & (places < len(evidence))
    seen = as_mended(evidence.frames(places.clamp(0, len(evidence) - 1)), view, camera, mend)
    stacked = CameraRig((mended,)).stacked()
    direction, valid = bearings(stacked, seen.pixels)
    return View(stacked.center[0], direction[:, 0], seen.confidence[:, 0] * valid[:, 0] * inside[:, None])


def miss(a: View, b: View) -> float:
    """By what angle the rays of two views miss each other, in radians: the median over keypoints, the median over
    frames. NaN where the views have nothing in common.
    """
    between = (b.center - a.center).expand_as(a.direction)
    normal = torch.linalg.cross(a.direction, b.direction)
    square = (normal * normal).sum(-1).clamp_min(1e-12)
    along_a = (torch.linalg.cross(between, b.direction) * normal).sum(-1) / square
    along_b = (torch.linalg.cross(between, a.direction) * normal).sum(-1) / square
    gap = (between * normal).sum(-1).abs() / square.sqrt()
    angle = gap / (0.5 * (along_a + along_b)).clamp_min(1e-9)
    angle = torch.where((along_a > 0) & (along_b > 0), angle, torch.full_like(angle, MISS)).clamp(max=MISS)
    both = (a.weight > 0) & (b.weight > 0)
    enough = both.sum(-1) >= FEWEST_KEYPOINTS
    if not bool(enough.any()):
        return float("nan")
    angle = torch.where(both, angle, torch.full_like(angle, torch.nan))[enough].nanmedian(-1).values
    return float(angle.median())


def mean(values: list[float]) -> float:
    """Of those that are known; NaN of none."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
