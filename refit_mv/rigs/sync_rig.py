"""Clocks known roughly, refined by the rig: evidence is read at every view's time, and the adjustment of cameras and
points says how late each view still is, and how that grows over the take.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import convolve1d
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.geometry.triangulation import triangulate
from refit_mv.people.tracks import follow
from refit_mv.rigs.bundle import LATE, UNKNOWNS, Bundle, adjust
from refit_mv.rigs.sample import FEWEST_SHARED, Sample
from refit_mv.rigs.sync_motion import CRYSTAL_DRIFT, drifts_open
from refit_mv.session.clocks import Clocks, ViewClock
from refit_mv.session.observations import Observations, PersonObservations
from refit_mv.session.own_frames import Unpaired

# The adjustment's unit of lateness, seconds: a frame of usual videos, whatever the rate of these.
UNIT = 1 / 30
# As many instants tell what thousands would, fewer while clocks still move much; and the first few people of many.
MOST_ROWS, FIRST_ROWS, MOST_PEOPLE = 1000, 250, 3
# Long takes are read in so many pieces of so many frames.
PIECES, PIECE_FRAMES = 8, 450
FEWEST_ROWS = 20
# Velocities are slopes over this long, seconds (standard deviation).
SMOOTH = 0.04
# Frames of usual videos; beyond the first rounds nothing moves any more.
SETTLED, NEARLY, ROUNDS = 0.005, 0.05, 6
# The adjustment's weights, taken as given, make its cost look steeper than it is where residuals are not small.
CURVATURE = 1.4
# What is believed of drifts beforehand, as a share: wide, for the adjustment lets little of the evidence count.
USUAL_DRIFT = 0.005


@dataclass(frozen=True, eq=False)
class Refined:
    """Clocks and the covariance of their offsets at ``middle`` (first) and drifts (then), the reference's 0."""

    clocks: tuple[ViewClock, ...]
    covariance: Float[np.ndarray, "unknown unknown"]
    middle: float


def by_rig(unpaired: Unpaired, rig: CameraRig, clocks: Clocks) -> Refined | None:
    """Refine the clocks of all views, in their order; None where too few views show somebody at the same time."""
    found = _by_rig(unpaired, rig, clocks, USUAL_DRIFT)
    if found is None or not drifts_open(found.clocks, found.covariance):
        return found
    at = np.array([found.middle])
    still = tuple(
        replace(clock, offset=found.middle - float(clock.own_time(at)[0]), drift=0.0) for clock in found.clocks
    )
    return _by_rig(unpaired, rig, Clocks(clocks.reference, still), CRYSTAL_DRIFT)


def _by_rig(unpaired: Unpaired, rig: CameraRig, clocks: Clocks, belief: float) -> Refined | None:
    found: Refined | None = None
    rows = FIRST_ROWS
    for _ in range(ROUNDS):
        lines = _lines(unpaired, clocks)
        parts = [_instants(unpaired.at(line, clocks), rig, line) for line in lines]
        sample, times = _sample(rig, parts, rows)
        if len(times) < FEWEST_ROWS:
            return None
        before = clocks
        found = _moved(adjust(sample), times, before, belief)
        clocks = Clocks(before.reference, found.clocks)
        at = np.array([found.middle])
        moves = [abs(clocks[each.view].own_time(at)[0] - each.own_time(at)[0]) for each in before.views]
        if max(moves) < SETTLED * UNIT and (rows == MOST_ROWS or len(times) < rows):
            break
        rows = MOST_ROWS if max(moves) < NEARLY * UNIT else rows
    return found


def _lines(unpaired: Unpaired, clocks: Clocks) -> list[Float[np.ndarray, " frame"]]:
    """Even instants in which two views run at least, all of them or pieces from all over the take."""
    spans = [clocks[view.view].reference_time(view.times[[0, -1]]) for view in unpaired.views]
    begin, end = sorted(span[0] for span in spans)[1], sorted(span[1] for span in spans)[-2]
    step = min(view.step for view in unpaired.views)
    count = max(int((end - begin) / step), 0)
    if count <= PIECES * PIECE_FRAMES:
        return [begin + np.arange(count) * step]
    starts = np.linspace(0, count - PIECE_FRAMES, PIECES).astype(int)
    return [begin + (start + np.arange(PIECE_FRAMES)) * step for start in starts]


@dataclass(frozen=True, eq=False)
class _Instants:
    """One stretch's evidence of one person: instants that tell something, and the points' velocity (metres a unit)."""

    times: Float[np.ndarray, " frame"]
    direction: Float[Tensor, "frame view landmark 3"]
    weight: Float[Tensor, "frame view landmark"]
    velocity: Float[Tensor, "frame landmark 3"]


def _instants(seen: Observations, rig: CameraRig, line: np.ndarray) -> list[_Instants]:
    """Everybody's evidence in one stretch."""
    if not len(line):
        return []
    if seen.confidence.shape[2] == 1:
        return [_of_person(seen.person(0), rig, line)]
    return [_of_person(track.of(seen), rig, line) for track in follow(seen, rig)[:MOST_PEOPLE]]


def _of_person(person: PersonObservations, rig: CameraRig, line: np.ndarray) -> _Instants:
    stacked = rig.stacked()
    direction, valid = camera_bearings(stacked, torch.from_numpy(person.pixels.astype(np.float64)))
    weight = torch.from_numpy(person.confidence.astype(np.float64)).clamp_max(1.0) * valid
    world = direction @ stacked.cam_from_world.rotation
    points = triangulate(stacked.center, world, weight).points
    known = (weight > 0).sum(1) > 1
    velocity, steady = _velocity(points.numpy(), known.numpy().astype(np.float64), float(np.median(np.diff(line))))
    weight = weight * torch.from_numpy(steady)[:, None]
    enough = ((weight > 0).sum(1) > 1).sum(-1) >= FEWEST_SHARED
    chosen = torch.nonzero(enough)[:, 0]
    return _Instants(line[chosen.numpy()], direction[chosen], weight[chosen], torch.from_numpy(velocity)[chosen])


def _velocity(
    points: Float[np.ndarray, "frame landmark 3"], known: Float[np.ndarray, "frame landmark"], step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Metres a unit, by slopes over frames to either side alike, and where there are enough: then velocities and
    residuals do not hang together by a frame's own errors.
    """
    width = max(SMOOTH / step, 1.0)
    reach = int(np.ceil(2.5 * width))
    place = np.arange(-reach, reach + 1)
    window = np.exp(-0.5 * (place / width) ** 2)
    window[reach] = 0.0
    filled = np.where(known[..., None] > 0, points, 0.0)
    # Only pairs at equal distance before and after count: a missing one takes its partner with it.
    rise, worth = np.zeros_like(filled), np.zeros_like(known)
    for away in range(1, reach + 1):
        kernel = np.zeros(2 * reach + 1)
        kernel[reach + away] = 1.0
        after, before = (convolve1d(filled, each, axis=0, mode="constant") for each in (kernel[::-1], kernel))
        there = convolve1d(known, kernel[::-1], axis=0, mode="constant") * convolve1d(
            known, kernel, axis=0, mode="constant"
        )
        weight = window[reach + away] * there
        rise += (weight * away)[..., None] * (after - before)
        worth += 2 * weight * away**2
    enough = worth > 0.3 * (window * place**2).sum()
    slope = np.where(enough[..., None], rise / np.maximum(worth, 1e-9)[..., None], 0.0)
    return slope / step * UNIT, enough.astype(np.float64)


def _sample(rig: CameraRig, parts: Sequence[list[_Instants]], most: int) -> tuple[Sample, Float[np.ndarray, " frame"]]:
    """Instants of all people and stretches in the order of time, thinned."""
    everybody = [each for part in parts for each in part if len(each.times)]
    if not everybody:
        empty = torch.zeros(0, dtype=torch.int64)
        none = torch.zeros(0, len(rig), 1, dtype=torch.float64)
        return Sample(rig.stacked(), empty, none[..., None].expand(-1, -1, -1, 3), none, none[:, 0, :, None]), np.zeros(
            0
        )
    times = np.concatenate([each.times for each in everybody])
    order = np.argsort(times, kind="stable")
    order = order[np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))]
    rows = torch.from_numpy(order)
    direction, weight, velocity = (
        torch.cat([getattr(each, name) for each in everybody])[rows] for name in ("direction", "weight", "velocity")
    )
    return Sample(rig.stacked(), rows, direction, weight, velocity), times[order]


def _moved(bundle: Bundle, times: np.ndarray, clocks: Clocks, usual_drift: float) -> Refined:
    """The clocks after what the adjustment says, with drifts as further unknowns of the same linear system."""
    count = len(clocks.views)
    reference = [clock.view for clock in clocks.views].index(clocks.reference)
    middle = float(times.mean())
    blocks, size = bundle.gradient.shape
    arm = torch.zeros(blocks, dtype=torch.float64)
    arm.index_add_(0, bundle.block, torch.from_numpy(times - middle))
    arm = arm / torch.bincount(bundle.block, minlength=blocks).clamp_min(1)
    late = torch.arange(count) * UNKNOWNS + LATE
    # Drifts are the same unknowns as lateness, as far as an instant is from the middle.
    hessian = torch.zeros(size + count, size + count, dtype=torch.float64)
    hessian[:size, :size] = bundle.hessian.sum(0)
    cross = (arm[:, None, None] * bundle.hessian[:, :, late]).sum(0)
    hessian[:size, size:], hessian[size:, :size] = cross, cross.T
    hessian[size:, size:] = (arm[:, None, None] ** 2 * bundle.hessian[:, late][:, :, late]).sum(0)
    slopes = torch.cat([bundle.gradient, arm[:, None] * bundle.gradient[:, late]], -1)
    drift = torch.tensor([clock.drift for clock in clocks.views], dtype=torch.float64)
    belief = torch.cat([bundle.belief, torch.full((count,), (UNIT / usual_drift) ** 2, dtype=torch.float64)])
    # Seen late means: taken earlier than thought. Beliefs on drifts are of all of it, not of what changes.
    known = torch.cat([bundle.unknowns.flatten(), -drift / UNIT])
    total = hessian + torch.diag(belief)
    change = -torch.linalg.solve(total, slopes.sum(0) + belief * known)
    now = torch.cat([bundle.unknowns.flatten(), torch.zeros(count, dtype=torch.float64)]) + change
    inner = slopes - slopes.mean(0)
    scatter = inner.T @ inner * (blocks / max(blocks - 2, 1))
    solved = torch.linalg.inv(total)
    covariance = CURVATURE**2 * solved @ scatter @ solved + solved @ torch.diag(belief) @ solved
    contrast = torch.zeros(2 * count, size + count, dtype=torch.float64)
    for view in range(count):
        contrast[view, late[view]], contrast[view + count, size + view] = -UNIT, -UNIT
    gauge = torch.eye(2 * count, dtype=torch.float64)
    gauge[:count, reference] -= 1
    gauge[count:, reference + count] -= 1
    contrast = gauge @ contrast
    moves = contrast @ now
    views = []
    for view, clock in enumerate(clocks.views):
        offset, rate = float(moves[view]), float(moves[view + count])
        views.append(
            replace(
                clock,
                offset=clock.offset + offset + rate * (clock.offset - middle),
                drift=(1 + clock.drift) * (1 + rate) - 1,
                by="reference" if view == reference else "rig",
            )
        )
    return Refined(tuple(views), (contrast @ covariance @ contrast.T).numpy(), middle)
