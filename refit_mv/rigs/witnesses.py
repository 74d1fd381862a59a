"""Whom a rig is mended by: people whose detections of several views are theirs, even where cameras are far off."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.lost_views import lost_views
from refit_mv.people.options import PeopleOptions
from refit_mv.people.person import Person, people_of
from refit_mv.people.tracks import Track, follow
from refit_mv.rigs.sample import FEWEST_SHARED, sharing, spread
from refit_mv.session.observations import CONFIDENT, Observations, PersonObservations

# As many frames of each person are read, spread over the take: neighbours err alike.
MOST_FRAMES = 240
# Below this share of the frames in which two views show somebody, the given rig does not tell who is who.
ENOUGH_AGREEMENT = 0.5
# Who was followed is one person where two views and more agree in so many of the frames.
AGREED = 0.5
# Fewer frames with shared points say nothing of a rig.
FEWEST_FRAMES = 20
# What a detection that jumps by its own size must have over one that goes on.
JUMP = 1.0


def witnesses(observations: Observations, rig: CameraRig, body: BodyModel, options: PeopleOptions) -> list[Person]:
    """The people of a recording as the rig tells them apart. Where it does not, and in views of which it tells nothing,
    the main one is whom the view shows largest for longest.
    """
    shown = (observations.confidence > 0).sum(-1).max(-1) >= FEWEST_SHARED
    if observations.confidence.shape[2] > 1:
        tracks = follow(observations, rig, "auto", options)
        together = shown.sum(-1) >= 2
        agreed = np.mean(tracks[0].agreeing_views[together] >= 2) if together.any() else 0.0
        if agreed >= ENOUGH_AGREEMENT:
            return list(people_of(observations, [_whole(tracks, shown, observations), *tracks[1:]], body))
    return list(people_of(observations, [Track(foremost(observations))], body))


def _whole(tracks: Sequence[Track], shown: Bool[np.ndarray, "frame view"], observations: Observations) -> Track:
    """The main person, in views that fit nobody as they stand too."""
    main, theirs = tracks[0], np.any([track.detection >= 0 for track in tracks], axis=0)
    lost = [view for view in range(shown.shape[1]) if _share(theirs[shown[:, view], view]) < ENOUGH_AGREEMENT]
    if not lost:
        return main
    detection = main.detection.copy()
    detection[:, lost] = foremost(observations)[:, lost]
    claimed = None if main.claimed is None else main.claimed.copy()
    if claimed is not None:
        claimed[:, lost] = True
    return replace(main, detection=detection, claimed=claimed)


def _share(chosen: Bool[np.ndarray, " frame"]) -> float:
    return float(chosen.mean()) if len(chosen) else 1.0


def main_person(observations: Observations, rig: CameraRig) -> PersonObservations:
    """Whom the views show: whom all that see somebody agree on where they do, else each view's most confident
    detection, for with a wrong calibration nobody can be followed.
    """
    if observations.confidence.shape[2] == 1:
        return observations.person(0)
    track = follow(observations, rig, "main")[0]
    agreed = float((track.agreeing_views >= 2).mean()) >= AGREED and not lost_views(observations, rig, track)
    return track.of(observations) if agreed else observations.person(observations.confidence.sum(-1).argmax(-1))


def foremost(observations: Observations) -> Int[np.ndarray, "frame view"]:
    """For every view on its own the chain of detections that is largest and most confident and does not jump, by
    dynamic programming (Viterbi 1967); −1 where a view shows nobody.
    """
    views = range(len(observations.view_names))
    return np.stack([_foremost(observations.pixels[:, view], observations.confidence[:, view]) for view in views], 1)


def _foremost(
    pixels: Float[np.ndarray, "frame person joint 2"], confidence: Float[np.ndarray, "frame person joint"]
) -> Int[np.ndarray, " frame"]:
    known = confidence > CONFIDENT
    count = np.maximum(known.sum(-1), 1)
    middle = np.where(known[..., None], pixels, 0).sum(-2) / count[..., None]
    apart = np.where(known, np.linalg.norm(pixels - middle[..., None, :], axis=-1), 0)
    size = apart.sum(-1) / count
    there = known.sum(-1) >= FEWEST_SHARED
    largest = max(float(size[there].max()), 1e-9) if there.any() else 1.0
    worth = np.where(there, confidence.mean(-1) + size / largest, -np.inf)
    frames = np.flatnonzero(there.any(-1))
    chosen = np.full(len(pixels), -1, dtype=np.int64)
    if not len(frames):
        return chosen
    total, came_from = worth[frames[0]], []
    for before, frame in pairwise(frames):
        way = np.linalg.norm(middle[before][:, None] - middle[frame][None], axis=-1)
        cost = JUMP * np.minimum(way / np.maximum(size[before][:, None], 1e-9), 2.0)
        both = total[:, None] - cost
        came_from.append(both.argmax(0))
        total = both.max(0) + worth[frame]
    place = int(total.argmax())
    for frame, back in zip(frames[:0:-1], reversed(came_from), strict=True):
        chosen[frame] = place
        place = int(back[place])
    chosen[frames[0]] = place
    return chosen


@dataclass(frozen=True, eq=False)
class Spoken:
    """What one person says of the rig: some frames of their evidence in which two views share points, ``rows`` of the
    ``whole``.
    """

    evidence: Evidence
    rows: Int[Tensor, " frame"]
    whole: Evidence


def spoken(people: Sequence[Person], most: int = MOST_FRAMES) -> list[Spoken]:
    """Such frames of each person, spread over the take; those who have too few are left out.

    Raises:
        InputError: nobody has enough to mend a rig by.
    """
    found = []
    for person in people:
        rows = torch.nonzero(sharing(person.evidence))[:, 0]
        if len(rows) >= FEWEST_FRAMES:
            rows = spread(rows, most)
            found.append(Spoken(person.evidence.frames(rows), rows, person.evidence))
    if not found:
        raise InputError(
            f"nobody is seen by two cameras in {FEWEST_FRAMES} frames or more: that is too little to mend a rig by; "
            "record somebody who walks about where views overlap"
        )
    return found
