"""The look back over a whole recording: pieces joined to people, gaps filled, ghosts dropped."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import in_pictures
from refit_mv.people.following import DRIFT, FASTEST, NEAR, Piece, assigned, middles_apart, seconds_of, unconnected
from refit_mv.people.options import PeopleOptions
from refit_mv.people.sightings import AGREEMENT, sights
from refit_mv.people.unconnected import same_people
from refit_mv.session.frame_runs import longest_run
from refit_mv.session.observations import Observations

# Two pieces are one person's if what parts them costs less than LINK: a cost of 1 each for a difference in the lengths
# of limbs (median of their logarithms' differences), for a way as long as a walk through the gap, for the longest
# absence.
LINK, LIMBS, WALK, STEP = 2.5, 0.1, 1.5, 0.5
# Whether somebody moves is told from medians over so many seconds. Trembling alone, the median way from frame to frame,
# takes them about half as many times as far over a take; walking takes them five times as far.
CALM, TREMBLING = 0.5, 8.0


@dataclass(frozen=True, eq=False)
class Followed:
    """Somebody throughout a recording. ``points`` are NaN where they were not followed; ``support`` is in keypoints."""

    detection: Int[np.ndarray, "frame view"]
    points: Float[np.ndarray, "frame joint 3"]
    support: Float[np.ndarray, " frame"]
    agreed: Bool[np.ndarray, " frame"]


def whole_people(
    pieces: Sequence[Piece], observations: Observations, rig: CameraRig, options: PeopleOptions
) -> list[Followed]:
    """The people whom the pieces make, best supported first, ghosts left out."""
    # As long as anybody is left: where all are doubtful, the best of them is whom the recording is about.
    bodies = [piece for piece in pieces if len(rig) == 1 or _is_body(piece, observations, rig, options)] or pieces
    people = [_assembled(chain, observations) for chain in _chains(bodies, observations, options)]
    _fill(people, observations, rig, options)
    fewest = _fewest_frames(observations, options)
    people.sort(key=lambda person: -float(person.support.sum()))
    sure = [each for each in people if longest_run(each.agreed) >= fewest and _agreement(each) >= options.agreement]
    return sure or people[:1]


def never_moves(person: Followed, observations: Observations, options: PeopleOptions) -> bool:
    """Whether somebody has stayed where they are, all but for trembling, for as long as they were followed.

    A take that is too short to tell says it only of whom no three views show.
    """
    rows, take = np.flatnonzero(person.agreed), seconds_of(observations)
    # Of frames that are no neighbours nothing tells staying from coming back.
    if len(rows) <= options.confirm_frames or unconnected(observations, options):
        return False
    seconds = take[rows]
    if seconds[-1] - seconds[0] < options.still_after:
        views = _median((person.detection[rows] >= 0).sum(-1).astype(np.float64))
        if take[-1] - take[0] >= options.still_after or views > 2:
            return False
    parts = np.array_split(rows, min(max(2, int((seconds[-1] - seconds[0]) / CALM)), len(rows)))
    middle = np.stack([_median(person.points[part].transpose(1, 2, 0)) for part in parts])
    moved = np.linalg.norm(middle.max(0) - middle.min(0), axis=-1)
    trembling = _median(np.linalg.norm(np.diff(person.points[rows], axis=0), axis=-1).ravel())
    return bool(_median(moved) < options.still_reach + TREMBLING * trembling)


def _step(observations: Observations) -> float:
    """Seconds between frames."""
    return float(np.median(np.diff(seconds_of(observations))))


def _agreement(person: Followed) -> float:
    """Share of somebody's frames in which views agree on them."""
    return float(person.agreed.sum() / max((person.detection >= 0).any(-1).sum(), 1))


def _fewest_frames(observations: Observations, options: PeopleOptions) -> float:
    """Short recordings, and frames without neighbours, have fewer."""
    alone = len(observations) < 2 or unconnected(observations, options)
    return 1.0 if alone else max(1.0, min(options.ghost / _step(observations), 0.5 * len(observations)))


def _chains(pieces: Sequence[Piece], observations: Observations, options: PeopleOptions) -> list[list[Piece]]:
    """Pieces of one person after another, as the cheapest joining of all has it."""
    if not pieces:
        return []
    first = np.array([piece.first for piece in pieces])
    limbs = np.stack([limb_lengths(piece, observations.keypoints) for piece in pieces])
    if unconnected(observations, options):
        people = same_people(first, np.stack([piece.path[0] for piece in pieces]), limbs)
        return [[pieces[place] for place in person] for person in people]
    # What one view alone showed at the end gives way to whom two views show.
    last = np.array([piece.first + int(np.flatnonzero(piece.agreed)[-1]) for piece in pieces])
    when = seconds_of(observations)
    seconds = when[first][None, :] - when[last][:, None]
    start = np.stack([piece.path[0] for piece in pieces])
    # Where both last were at the same time, if one began while the other was being lost.
    rows = np.minimum(last[:, None], np.maximum(first[:, None], first[None, :])) - first[:, None]
    end = np.stack([np.stack(piece.path)[row] for piece, row in zip(pieces, rows, strict=True)])
    way = middles_apart(end - start)
    unlike = np.stack([_median(np.abs(limbs - each)) for each in limbs])
    # Without a limb in common nothing speaks against it.
    unlike = np.nan_to_num(unlike)
    gap = seconds.clip(0)
    cost = link_cost(unlike, way, gap, options)
    possible = (first[None, :] > first[:, None]) & (seconds > -options.lost) & (gap <= options.absence)
    possible &= last[None, :] > last[:, None]
    gain = np.where(possible & (cost < LINK), LINK - cost, 0.0)
    before, after = linear_sum_assignment(gain, maximize=True)
    successor = {int(i): int(j) for i, j in zip(before, after, strict=True) if gain[i, j] > 0}
    chains = []
    for place in sorted(set(range(len(pieces))) - set(successor.values())):
        chain = [pieces[place]]
        while place in successor:
            place = successor[place]
            chain[-1].cut(pieces[place].first - chain[-1].first)
            chain.append(pieces[place])
        chains.append(chain)
    return chains


def link_cost(unlike: np.ndarray, way: np.ndarray, gap: np.ndarray, options: PeopleOptions) -> np.ndarray:
    """What parts two pieces, if they are one person's: limbs so ``unlike``, and a ``way`` (metres) within a ``gap``
    (seconds). Infinite where nobody is so fast.
    """
    cost = unlike / LIMBS + way / (STEP + WALK * gap) + gap / max(options.absence, 1e-9)
    return np.where(way <= FASTEST * gap + NEAR, cost, np.inf)


def limb_lengths(piece: Piece, keypoints: KeypointSet) -> Float[np.ndarray, " limb"]:
    """Logarithms of the lengths of limbs, medians over the frames in which views agree."""
    return _median(_limbs(piece, keypoints))


def _median(values: Float[np.ndarray, "*batch entry"]) -> Float[np.ndarray, "*batch"]:
    """Of the known ones; NaN without any, and without NumPy's warning."""
    ordered = np.sort(values, axis=-1)
    middle = np.maximum(np.isfinite(values).sum(-1) - 1, 0) // 2
    return np.take_along_axis(ordered, middle[..., None], axis=-1)[..., 0]


def _limbs(piece: Piece, keypoints: KeypointSet) -> Float[np.ndarray, "limb frame"]:
    """Logarithms of the lengths of limbs, in frames in which views agree."""
    path = np.stack(piece.path)[np.array(piece.agreed)]
    one, other = np.array(keypoints.limbs).T
    return np.log(np.maximum(np.linalg.norm(path[:, one] - path[:, other], axis=-1), 1e-3)).T


def _is_body(piece: Piece, observations: Observations, rig: CameraRig, options: PeopleOptions) -> bool:
    """Whether it is no chance that rays met there."""
    return _scatter(piece, observations) <= options.scatter and _shown(piece, rig) >= options.shown


def _scatter(piece: Piece, observations: Observations) -> float:
    """By how much limbs change their lengths, the median over limbs and frames, as a share."""
    limbs = _limbs(piece, observations.keypoints)
    return float(np.nan_to_num(_median(_median(np.abs(limbs - _median(limbs)[:, None])))))


def _shown(piece: Piece, rig: CameraRig) -> float:
    """In how many of the pictures that they stand in somebody is seen, as a share."""
    agreed = np.array(piece.agreed)
    middle = _median(np.stack(piece.path)[agreed].transpose(0, 2, 1))
    _, _, inside = in_pictures(rig, torch.from_numpy(middle))
    seen = np.stack(piece.detection)[agreed] >= 0
    return float(seen.sum() / max((inside.numpy().T | seen).sum(), 1))


def _assembled(chain: Sequence[Piece], observations: Observations) -> Followed:
    frames, views = observations.confidence.shape[:2]
    person = Followed(
        np.full((frames, views), -1, dtype=np.int64),
        np.full((frames, len(observations.keypoints), 3), np.nan),
        np.zeros(frames),
        np.zeros(frames, dtype=bool),
    )
    for piece in chain:
        rows = slice(piece.first, piece.first + len(piece.path))
        person.detection[rows], person.points[rows] = np.stack(piece.detection), np.stack(piece.path)
        person.support[rows], person.agreed[rows] = piece.support, piece.agreed
    return person


def _fill(people: Sequence[Followed], observations: Observations, rig: CameraRig, options: PeopleOptions) -> None:
    """For moments in which somebody was not followed, before, after and between, take, in place, the detections that
    nobody has and that point to where they must be.
    """
    seconds = seconds_of(observations)
    away = np.array([unseen(person, seconds) for person in people]).reshape(-1, len(seconds))
    wanted = (away > 0) & (away <= options.lost)
    rows = np.flatnonzero(wanted.any(0))
    if options.separate or not len(rows):
        return
    points = {place: between(people[place].points, seconds) for place in np.flatnonzero(wanted.any(1)).tolist()}
    for row, sight in zip(rows.tolist(), sights(observations.frames(rows), rig), strict=True):
        free = sight.seen.copy()
        for person in people:
            view = np.flatnonzero(person.detection[row] >= 0)
            free[view, person.detection[row, view]] = False
        some = np.flatnonzero(wanted[:, row])
        expected = np.stack([points[place][row] for place in some.tolist()])
        detection = assigned(sight.support(expected, AGREEMENT + DRIFT * away[some, row]), free)
        for place, taken, point in zip(some.tolist(), detection, expected, strict=True):
            if (taken >= 0).any():
                people[place].detection[row], people[place].points[row] = taken, point


def unseen(person: Followed, seconds: Float[np.ndarray, " frame"]) -> Float[np.ndarray, " frame"]:
    """How far from each frame the nearest is in which some view shows them, seconds."""
    known = np.flatnonzero((person.detection >= 0).any(-1))
    after = np.searchsorted(known, np.arange(len(seconds))).clip(0, len(known) - 1)
    before = (after - 1).clip(0)
    return np.minimum(*(np.abs(seconds[known[side]] - seconds) for side in (before, after)))


def between(
    points: Float[np.ndarray, "frame joint 3"], seconds: Float[np.ndarray, " frame"]
) -> Float[np.ndarray, "frame joint 3"]:
    """Interpolated over time, held before the first and after the last."""
    filled = points.copy()
    for joint in range(points.shape[1]):
        known = np.isfinite(points[:, joint, 0])
        if known.any():
            for axis in range(3):
                filled[:, joint, axis] = np.interp(seconds, seconds[known], points[known, joint, axis])
    return filled
