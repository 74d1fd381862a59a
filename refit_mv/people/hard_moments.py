"""The moments in which it was hard to tell who is who, and why: where a look at the pictures is worth it.

The rules were chosen on made-up scenes; ``refit-mv bench --scenes`` counts how many changes of a track from one person
to another they tell (columns ``told`` and ``hard``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.geometry.triangulation import triangulate_pixels
from refit_mv.people.following import ASSUMED_DISTANCE, LEAST_PARALLAX, middle_of, seconds_of
from refit_mv.people.sightings import FEWEST_KEYPOINTS
from refit_mv.session.frame_runs import frame_runs
from refit_mv.session.observations import Observations, PersonObservations

# Two people whose middles are nearer than this, metres, are hard to tell apart where fewer than two views show both of
# them, and so far apart across the ray: of whom two views show apart, every view's detection is told by their places.
NEAR, ASIDE, FEWEST_APART = 1.0, 0.3, 2
# The middle of a body is suddenly elsewhere when it is this far, and so many metres per second since it was last known,
# from where it was.
SUDDEN, PER_SECOND = 0.2, 2.0
# Who was out of sight for longer, seconds, is found again rather than followed.
OUT_OF_SIGHT = 0.5
# For shorter than this, seconds, the motion carries over whatever one view alone says.
ALONE = 0.2
# Moments of one kind with the same people at most this far apart, seconds, are one.
ONE_MOMENT = 0.1


class Why(StrEnum):
    """``close``: views hardly show them apart from somebody near. ``shared``: the same, and for most of the time a view
    has one detection for both. ``returned``: nobody saw them for a while, and who came back was taken for them.
    ``jumped``: they are suddenly elsewhere. ``alone``: one view alone says where they are.
    """

    CLOSE = "close"
    SHARED = "shared"
    RETURNED = "returned"
    JUMPED = "jumped"
    ALONE = "alone"


@dataclass(frozen=True)
class HardMoment:
    """Rows ``first`` to ``last`` of the recording, both included. ``others`` are the ids of whom it may have been
    instead; none where it was nobody in particular.
    """

    first: int
    last: int
    why: Why
    others: tuple[int, ...] = ()

    @staticmethod
    def read(text: Mapping[str, Any]) -> "HardMoment":
        """From what ``dataclasses.asdict`` and JSON made of one.

        Raises:
            ValueError: it is something else.
        """
        first, last, others = text["first"], text["last"], tuple(text["others"])
        if any(type(number) is not int for number in (first, last, *others)) or not 0 <= first <= last:
            raise ValueError(f"a hard moment is {dict(text)!r:.80}")
        return HardMoment(first, last, Why(text["why"]), others)


def hard_moments(
    detections: Mapping[int, Int[np.ndarray, "frame view"]], observations: Observations, rig: CameraRig
) -> dict[int, tuple[HardMoment, ...]]:
    """Those of each of the people, in order of time; ``detections`` are theirs by their ids, as in
    ``Track.detection``.
    """
    seconds = seconds_of(observations)
    places = {id: _positions(observations.person(each), rig) for id, each in detections.items()}
    found: dict[int, list[HardMoment]] = {}
    for id, detection in detections.items():
        found[id] = [
            *_moments(_alone(detection, seconds), seconds, Why.ALONE),
            *_moments(_jumps(places[id], seconds), seconds, Why.JUMPED),
            *_returns(detection, seconds),
        ]
    center = rig.stacked().center.numpy()
    for one, other in combinations(detections, 2):
        mine, theirs = detections[one], detections[other]
        close = _close(places[one], places[other], (mine >= 0) & (theirs >= 0) & (mine != theirs), center)
        shared = close & ((mine >= 0) & (mine == theirs)).any(-1)
        for each in _moments(close, seconds, Why.CLOSE):
            rows = slice(each.first, each.last + 1)
            why = Why.SHARED if 2 * int(shared[rows].sum()) > int(close[rows].sum()) else Why.CLOSE
            found[one].append(HardMoment(each.first, each.last, why, (other,)))
            found[other].append(HardMoment(each.first, each.last, why, (one,)))
    return {id: tuple(sorted(mine, key=lambda each: (each.first, each.last, each.why))) for id, mine in found.items()}


def _positions(seen: PersonObservations, rig: CameraRig) -> Float[np.ndarray, "frame joint 3"]:
    """Where somebody's rays meet, NaN elsewhere; with one view alone at a distance that is assumed."""
    pixels, confidence = (torch.from_numpy(each.astype(np.float64)) for each in (seen.pixels, seen.confidence))
    if len(rig) == 1:
        stacked = rig.stacked()
        direction, valid = bearings(stacked, pixels)
        points, good = stacked.center[0] + ASSUMED_DISTANCE * direction[:, 0], (confidence * valid)[:, 0] > 0
    else:
        meeting = triangulate_pixels(rig, pixels, confidence)
        points, good = meeting.points, (meeting.support >= 2) & (meeting.parallax > LEAST_PARALLAX)
    return torch.where(good[..., None], points, torch.nan).numpy()


def _jumps(
    place: Float[np.ndarray, "frame joint 3"], seconds: Float[np.ndarray, " frame"]
) -> Bool[np.ndarray, " frame"]:
    """Frames in which somebody is found far from where they were last."""
    jumped = np.zeros(len(place), dtype=bool)
    known = np.flatnonzero(np.isfinite(place[..., 0]).sum(-1) >= FEWEST_KEYPOINTS)
    way = np.linalg.norm(middle_of(np.diff(place[known], axis=0)), axis=-1)
    # Unknown (NaN) where no points are the same: that is no jump.
    jumped[known[1:]] = way > SUDDEN + PER_SECOND * np.diff(seconds[known])
    return jumped


def _alone(
    detection: Int[np.ndarray, "frame view"], seconds: Float[np.ndarray, " frame"]
) -> Bool[np.ndarray, " frame"]:
    """Frames in which one of several views alone shows them, and not just for a moment, or without neighbours that
    would say more.
    """
    alone = ((detection >= 0).sum(-1) == 1) & (detection.shape[1] > 1)
    away = np.concatenate([[True], np.diff(seconds) > OUT_OF_SIGHT, [True]])
    for first, stop in frame_runs(alone):
        alone[first:stop] = seconds[stop - 1] - seconds[first] >= ALONE or (away[first] and away[stop])
    return alone


def _returns(detection: Int[np.ndarray, "frame view"], seconds: Float[np.ndarray, " frame"]) -> list[HardMoment]:
    """First frames after nobody saw them."""
    known = np.flatnonzero((detection >= 0).any(-1))
    back = known[1:][np.diff(seconds[known]) > OUT_OF_SIGHT]
    return [HardMoment(row, row, Why.RETURNED) for row in back.tolist()]


def _close(
    one: Float[np.ndarray, "frame joint 3"],
    other: Float[np.ndarray, "frame joint 3"],
    apart: Bool[np.ndarray, "frame view"],
    center: Float[np.ndarray, "view 3"],
) -> Bool[np.ndarray, " frame"]:
    """Frames in which views hardly show two people apart. ``apart``: the view has a detection for each of them."""
    between = middle_of(one - other)
    near = np.linalg.norm(between, axis=-1) < NEAR
    ray = middle_of((one + other) / 2)[near][:, None] - center
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    offset = between[near][:, None]
    across = np.linalg.norm(offset - (offset * ray).sum(-1, keepdims=True) * ray, axis=-1)
    told = ((across > ASIDE) & apart[near]).sum(-1)
    close = near.copy()
    close[near] = told < min(FEWEST_APART, len(center))
    return close


def _moments(chosen: Bool[np.ndarray, " frame"], seconds: Float[np.ndarray, " frame"], why: Why) -> list[HardMoment]:
    """Chosen frames, short breaks between them included."""
    found: list[HardMoment] = []
    for first, stop in frame_runs(chosen).tolist():
        begin = found.pop().first if found and seconds[first] - seconds[found[-1].last] <= ONE_MOMENT else first
        found.append(HardMoment(begin, stop - 1, why))
    return found
