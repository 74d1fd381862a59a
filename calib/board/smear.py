"""Cameras that are not quite in step: what a moving board's corners are off by, and what that is worth.

Cameras that each run on their own clock see one "frame" some milliseconds apart. A board that is carried at half a
metre a second is 5 mm further after 10 ms, which is several pixels: far more than corners are found to, all corners
of a view alike, along the board's motion. Each view's own time is an unknown with the spread that all of them show;
it is eliminated (a covariance of rank one for each view), so that a view of a board in motion says little along its
motion and all across it. Without motion, or with a common shutter, nothing changes.
"""

import numpy as np
from jaxtyping import Float, Int

from calib.board.bundle import Smear
from calib.board.lens import project
from calib.board.scene import Scene, Sightings

# Spreads of time that are tried, seconds; beyond a tenth cameras are out of step and nothing else.
_SPREADS = np.concatenate([[0.0], np.geomspace(2e-4, 0.15, 60)])
# Neighbours further away than this many usual steps tell no velocity.
_GAP = 3.5
_STEP = 1e-3


def _neighbours(times: Float[np.ndarray, " frame"]) -> tuple[Int[np.ndarray, " frame"], Int[np.ndarray, " frame"]]:
    """The frames before and after each in time; -1 where there is none or it is too far away."""
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order])]
    before, after = np.full(len(times), -1), np.full(len(times), -1)
    if len(order) < 2:
        return before, after
    usual = float(np.median(np.diff(times[order])))
    for place, frame in enumerate(order):
        for target, other in ((before, place - 1), (after, place + 1)):
            if 0 <= other < len(order) and 0 < abs(times[order[other]] - times[frame]) <= _GAP * usual:
                target[frame] = order[other]
    return before, after


def motion_in_pictures(
    scene: Scene, seen: Sightings, times: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, "view point 2"]:
    """How fast the board's corners move through the pictures, from its poses in the frames before and after."""
    before, after = _neighbours(times)
    first = np.where(before >= 0, before, np.arange(len(times)))
    last = np.where(after >= 0, after, np.arange(len(times)))
    span = times[last] - times[first]
    moves = np.isfinite(span) & (span > 0)
    found = np.zeros(seen.pixels.shape)
    for camera, model in enumerate(scene.models):
        rows = np.flatnonzero((seen.camera == camera) & moves[seen.frame])
        if not len(rows):
            continue
        frame = seen.frame[rows]
        points = seen.points[rows]
        there = scene.boards[frame].apply(points)
        speed = (scene.boards[last[frame]].apply(points) - scene.boards[first[frame]].apply(points)) / span[frame][
            :, None, None
        ]
        shown = []
        for step in (-_STEP, _STEP):
            p_cam = scene.cameras[seen.camera[rows]].apply(there + step * speed)
            shown.append(project(model, np.broadcast_to(scene.lenses[camera], (len(rows), 9)), p_cam))
        found[rows] = (shown[1] - shown[0]) / (2 * _STEP)
    return np.where(seen.seen[..., None] & np.isfinite(found), found, 0.0)


def measured(
    motion: Float[np.ndarray, "view point 2"],
    left: Float[np.ndarray, "view point 2"],
    camera: Int[np.ndarray, " view"],
    sigma: float,
) -> Smear:
    """How far cameras are out of step, from residuals (pixels) along the motion: each camera's constant share, and the
    spread of what is left.
    """
    left = np.nan_to_num(left)
    length2 = (motion**2).sum((-2, -1))
    length = np.sqrt(np.maximum(length2, 1e-12))
    moving = length * 0.005 > 0.2 * sigma
    if moving.sum() < 10:
        return Smear(motion, np.zeros(len(motion)), 0.0)
    own = (motion * left).sum((-2, -1)) / length
    total = np.zeros(len(motion))
    spread = 0.0
    for _ in range(3):
        variance = sigma**2 + (length * spread) ** 2
        shift = own / length
        weight = np.where(moving, length2 / variance, 0)
        for each in np.unique(camera):
            rows = camera == each
            if (rows & moving).sum() >= 5:
                # A median: one view of another instant must not move a camera's clock.
                chosen = rows & moving
                shift_c = _weighted_median(shift[chosen], weight[chosen])
                own = np.where(rows, own - length * shift_c, own)
                total = np.where(rows, total + shift_c, total)
        likelihood = []
        for tried in _SPREADS:
            var = sigma**2 + (length[moving] * tried) ** 2
            likelihood.append(float((np.minimum(own[moving] ** 2 / var, 9) + np.log(var)).sum()))
        spread = float(_SPREADS[int(np.argmin(likelihood))])
    return Smear(motion, total, spread)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)]) if total[-1] > 0 else 0.0
