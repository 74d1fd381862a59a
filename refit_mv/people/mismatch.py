"""Whether views and cameras were put together wrongly: would the rays of what the views see meet far better if names
were exchanged, or if the pictures had another size?
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.people.sightings import FEWEST_KEYPOINTS
from refit_mv.session.observations import CONFIDENT, Observations, spread_rows

SAMPLE_FRAMES, SAMPLE_PEOPLE = 24, 3
# Rays that pass each other at more than this angle, as their cameras see it (radians), miss each other altogether.
MISS = 0.2
# Another pairing is told when its rays miss each other by less than this share of what they do as paired ...
FAR_BETTER = 0.5
# ... and by an angle that detectors and calibrations explain (about 25 pixels at a focal length of 1250).
GOOD_ENOUGH = 0.02
# Sizes to which pictures are made smaller or larger before keypoints are detected in them.
USUAL_SCALES = (0.25, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.75, 0.8, 1.25, 4 / 3, 1.5, 2.0, 3.0)
# ... or, where points lie as if pictures had been made smaller, by less than this share.
BETTER = 0.75
# All points of all views within this share of width and height, and their middle within that, are as if pictures had
# been made smaller: people stand in the middle of pictures, and their feet below it.
UPPER_LEFT_END, UPPER_LEFT_MIDDLE = 0.8, 0.42
# Principal points lie this near the middle of the picture, as a share of its sides.
PRINCIPAL_SPREAD = 0.1
# All orders of this many cameras are tried (120); of more, those that come from exchanging two at a time.
ALL_ORDERS = 5

Order = tuple[int, ...]


def exchanged_cameras(observations: Observations, rig: CameraRig) -> dict[str, str]:
    """Views that fit another view's camera far better than their own, and which; empty where all is well as paired."""
    views, sample = len(rig), _sample(observations)
    rays = [_rays(sample, rig, shift) for shift in range(views)]

    def ray(view: int, camera: int) -> _Bundle:
        return rays[(camera - view) % views][camera]

    misses: dict[tuple[int, int, int, int], float] = {}

    def cost(order: Order) -> float:
        for i, j in combinations(range(views), 2):
            key = (i, order[i], j, order[j])
            if key not in misses:
                misses[key] = _miss(ray(i, order[i]), ray(j, order[j]))
        return _mean([misses[i, order[i], j, order[j]] for i, j in combinations(range(views), 2)])

    as_paired = tuple(range(views))
    best = min(permutations(as_paired), key=cost) if views <= ALL_ORDERS else descended(as_paired, cost)
    if not cost(best) < min(FAR_BETTER * cost(as_paired), GOOD_ENOUGH):
        return {}
    return {rig.names[view]: rig.names[camera] for view, camera in enumerate(best) if view != camera}


def descended(order: Order, cost: Callable[[Order], float]) -> Order:
    """The best order that exchanges of two, each for the better, lead to."""
    while True:
        neighbours = []
        for i, j in combinations(range(len(order)), 2):
            other = list(order)
            other[i], other[j] = other[j], other[i]
            neighbours.append(tuple(other))
        better = min(neighbours, key=cost)
        if not cost(better) < cost(order):
            return order
        order = better


def picture_scale(observations: Observations, rig: CameraRig) -> float | None:
    """The size, against the calibrated one, of the pictures in which keypoints were detected. None where their rays
    meet about as well at the calibrated size, or for one view alone.

    Two views leave much of a wrong size unseen: where all points lie in the upper left anyway, rays that meet better
    will do.
    """

    sample = _sample(observations)

    def cost(scale: float) -> float:
        return _mean([_miss(*pair) for pair in combinations(_rays(sample, rig, scale=scale), 2)])

    costs = {scale: cost(scale) for scale in USUAL_SCALES}
    best = min(costs, key=lambda scale: costs[scale])
    enough = BETTER if best < 1 and in_upper_left(observations, rig) else FAR_BETTER
    return best if costs[best] < min(enough * cost(1.0), GOOD_ENOUGH) else None


def exchange_told(exchanged: Mapping[str, str]) -> str:
    """What fits what, in words."""
    return ", ".join(f"{view}'s keypoints fit camera {camera}" for view, camera in exchanged.items())


def scale_told(observations: Observations, rig: CameraRig) -> str | None:
    """The size that keypoints seem to have been detected at, in words; None where nothing speaks against theirs."""
    scale = picture_scale(observations, rig)
    if scale is None:
        return None
    sizes = sorted({camera.size for camera in rig if camera.size is not None})
    pixels = f" ({round(sizes[0][0] * scale)}×{round(sizes[0][1] * scale)})" if len(sizes) == 1 else ""
    return f"the keypoints fit pictures of {scale:.2g} times the calibrated size{pixels}"


def in_upper_left(observations: Observations, rig: CameraRig) -> bool:
    """Whether all points of all views lie in the upper left of their pictures, as if those had been made smaller."""
    return points_in_upper_left(observations.pixels, observations.confidence, rig)


def points_in_upper_left(
    pixels: Float[np.ndarray, "frame view *joint 2"], confidence: Float[np.ndarray, "frame view *joint"], rig: CameraRig
) -> bool:
    """The same of any points, of one person or several."""
    ends, middles = [], []
    for view, camera in enumerate(rig):
        points = pixels[:, view][confidence[:, view] > CONFIDENT]
        if camera.size is not None and len(points):
            ends.append(np.percentile(points / camera.size, 99, axis=0))
            middles.append(np.median(points / camera.size, axis=0))
    return bool(ends) and bool(np.max(ends) < UPPER_LEFT_END and np.mean(middles, axis=0).max() < UPPER_LEFT_MIDDLE)


def off_center(rig: CameraRig) -> float | None:
    """Where principal points lie, as a share of the picture's sides, if all of them lie as far from its middle: then
    the pictures have another size than the calibrated ones. None where they do not.
    """
    places = np.array([camera.matrix[:2, 2] / camera.size for camera in rig if camera.size is not None])
    if not len(places) or np.ptp(places) > 2 * PRINCIPAL_SPREAD:
        return None
    place = float(places.mean())
    return place if abs(place - 0.5) > PRINCIPAL_SPREAD else None


@dataclass(frozen=True, eq=False)
class _Bundle:
    """What one view sees, through some camera."""

    center: Float[Tensor, "3"]
    direction: Float[Tensor, "frame person joint 3"]
    confidence: Float[Tensor, "frame person joint"]


def _sample(observations: Observations) -> Observations:
    """The most confident detections of some frames in which two views see somebody."""
    seen = np.flatnonzero((observations.confidence.max((-1, -2)) > 0).sum(-1) >= 2)
    some = observations.frames(seen[spread_rows(len(seen), SAMPLE_FRAMES)])
    most = np.argsort(-some.confidence.sum(-1), axis=-1)[:, :, :SAMPLE_PEOPLE, None]
    pixels = np.take_along_axis(some.pixels, most[..., None], 2)
    return replace(some, pixels=pixels, confidence=np.take_along_axis(some.confidence, most, 2))


def _rays(sample: Observations, rig: CameraRig, shift: int = 0, scale: float = 1.0) -> list[_Bundle]:
    """The detections as rays, of pictures of another ``scale``: for camera k what view k − ``shift`` sees."""
    confidence = torch.from_numpy(sample.confidence.astype(np.float64)).roll(shift, 1)
    shown = torch.from_numpy(sample.pixels.astype(np.float64)).roll(shift, 1)
    stacked = rig.stacked()
    direction, valid = bearings(stacked, (shown / scale).flatten(2, 3))
    direction, confidence = direction.view(*confidence.shape, 3), confidence * valid.view_as(confidence)
    return [_Bundle(stacked.center[k], direction[:, k], confidence[:, k]) for k in range(len(rig))]


def _miss(a: _Bundle, b: _Bundle) -> float:
    """By what angle the rays of two views miss each other, in radians: the median over keypoints, of those two people
    who meet best, the median over frames. NaN where the views have nothing in common.
    """
    ray_a, ray_b = a.direction[:, :, None], b.direction[:, None]
    between = (b.center - a.center).expand_as(ray_a)
    normal = torch.linalg.cross(ray_a, ray_b)
    square = (normal * normal).sum(-1).clamp_min(1e-12)
    along_a = (torch.linalg.cross(between, ray_b.expand_as(normal)) * normal).sum(-1) / square
    along_b = (torch.linalg.cross(between, ray_a.expand_as(normal)) * normal).sum(-1) / square
    gap = (between * normal).sum(-1).abs() / square.sqrt()
    angle = gap / (0.5 * (along_a + along_b)).clamp_min(1e-9)
    angle = torch.where((along_a > 0) & (along_b > 0), angle, torch.full_like(angle, MISS)).clamp(max=MISS)
    both = (a.confidence[:, :, None] > 0) & (b.confidence[:, None] > 0)
    angle = torch.where(both, angle, torch.full_like(angle, torch.nan)).nanmedian(-1).values
    angle = torch.where(both.sum(-1) >= FEWEST_KEYPOINTS, angle, torch.full_like(angle, torch.inf)).flatten(1).amin(-1)
    angle = angle[torch.isfinite(angle)]
    return float(angle.median()) if len(angle) else float("nan")


def _mean(values: list[float]) -> float:
    """Of those that are known."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
