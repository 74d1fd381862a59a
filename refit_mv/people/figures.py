"""Where people must be whom a view does not show: what the other views know of them, or their size alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.body.model import BodyModel
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import evidence_on
from refit_mv.people.following import seconds_of
from refit_mv.people.joining import Followed, between, unseen
from refit_mv.people.options import PeopleOptions
from refit_mv.people.sightings import AGREEMENT, FEWEST_KEYPOINTS, sights
from refit_mv.session.observations import Observations, PersonObservations
from refit_mv.solve.problem import CostOptions

# A detection with a smaller share of its points where three views or more agree that they are is a poor one.
POOR = 0.5


@dataclass(frozen=True, eq=False)
class Figures:
    """Points where somebody must be (NaN: unknown), in which frame, and the views that lack them or show them badly."""

    row: Int[np.ndarray, " figure"]
    points: Float[np.ndarray, "figure joint 3"]
    lacking: Bool[np.ndarray, "figure view"]


def joined(one: Figures, other: Figures) -> Figures:
    pairs = ((one.row, other.row), (one.points, other.points), (one.lacking, other.lacking))
    return Figures(*(np.concatenate(pair) for pair in pairs))


def lost(people: Sequence[Followed], observations: Observations, rig: CameraRig, options: PeopleOptions) -> Figures:
    """Those who are followed, in the views that lost them: also in frames, between others, in which all views did."""
    seconds = seconds_of(observations)
    row, points, lacking = [], [], []
    for person in people:
        where, gap = between(person.points, seconds), unseen(person, seconds)
        rows = np.flatnonzero(gap <= (0 if options.separate else options.lost))
        row.append(rows)
        points.append(np.where((gap[rows] > 0)[:, None, None], where[rows], person.points[rows]))
        lacking.append(person.detection[rows] < 0)
    if not row:
        return _nobody(observations, rig)
    figures = Figures(np.concatenate(row), np.concatenate(points), np.concatenate(lacking))
    taken = np.concatenate([person.detection[rows] for person, rows in zip(people, row, strict=True)])
    return replace(figures, lacking=figures.lacking | _poor(figures, taken, observations, rig))


def _poor(
    figures: Figures, taken: Int[np.ndarray, "figure view"], observations: Observations, rig: CameraRig
) -> Bool[np.ndarray, "figure view"]:
    """Where a detection lies elsewhere than the points that three other views or more agree on."""
    poor = np.zeros(taken.shape, dtype=bool)
    rows = np.unique(figures.row[(taken >= 0).sum(-1) > 2])
    for row, sight in zip(rows.tolist(), sights(observations.frames(rows), rig), strict=True):
        here = np.flatnonzero((figures.row == row) & ((taken >= 0).sum(-1) > 2))
        miss = sight.misses(figures.points[here])
        place, view = np.nonzero(taken[here] >= 0)
        off = miss[place, view, taken[here][place, view]]
        known = np.isfinite(off) & (sight.confidence[view, taken[here][place, view]] > 0)
        share = (known & (off < AGREEMENT)).sum(-1) / np.maximum(known.sum(-1), 1)
        poor[here[place], view] = share < POOR
    return poor


def lonely(
    people: Sequence[Followed], observations: Observations, rig: CameraRig, body: BodyModel, share: float = 1.0
) -> Figures:
    """Detections that no other view agreed with: at a ``share`` of the distance that their size says."""
    free = (observations.confidence > 0).sum(-1) >= FEWEST_KEYPOINTS
    for person in people:
        together = (person.detection >= 0).sum(-1, keepdims=True) > 1
        row, view = np.nonzero((person.detection >= 0) & together)
        free[row, view, person.detection[row, view]] = False
    row, view, place = np.nonzero(free)
    if not len(row) or len(rig) == 1:
        return _nobody(observations, rig)
    alone = _alone(observations, row, view, place)
    problem = evidence_on(body, alone).problem(body, rig, CostOptions(), "locked")
    each = np.arange(len(row))
    distance = share * problem.rays.distance.numpy()[each, view]
    points = np.full((len(row), len(observations.keypoints), 3), np.nan)
    rows = np.unique(row)
    for here, sight in zip(rows.tolist(), sights(observations.frames(rows), rig), strict=True):
        for index in np.flatnonzero(row == here).tolist():
            one, other = view[index], place[index]
            seen = sight.confidence[one, other] > 0
            points[index, seen] = sight.center[one] + distance[index] * sight.direction[one, other, seen]
    lacking = np.ones((len(row), len(rig)), dtype=bool)
    lacking[each, view] = False
    lacking[np.isfinite(points[..., 0]).sum(-1) < FEWEST_KEYPOINTS] = False
    return Figures(row, points, lacking)


def _alone(
    observations: Observations,
    row: Int[np.ndarray, " detection"],
    view: Int[np.ndarray, " detection"],
    place: Int[np.ndarray, " detection"],
) -> PersonObservations:
    """Every detection as a frame of its own in which nothing else is seen."""
    detection = np.full((len(row), len(observations.view_names)), -1, dtype=np.int64)
    detection[np.arange(len(row)), view] = place
    return observations.frames(row).person(detection)


def _nobody(observations: Observations, rig: CameraRig) -> Figures:
    shape = (0, len(observations.keypoints), 3)
    return Figures(np.zeros(0, dtype=np.int64), np.zeros(shape), np.zeros((0, len(rig)), dtype=bool))
