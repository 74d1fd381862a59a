"""How well tracks keep people apart: IDF1, MOTA, changes of identity, ghosts.

IDF1 is that of Ristani et al., "Performance measures and a data set for multi-target, multi-camera tracking" (ECCV 2016
workshops): tracks and people are matched one to one over the whole take so that most frames agree, and 2 IDTP / (2 IDTP
+ IDFP + IDFN). MOTA is that of Bernardin & Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR
MOT metrics" (2008): in every frame a person keeps the track that they had as long as it is still theirs, else takes
another that is; 1 − (misses + false tracks + switches) / people, summed over frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.session.frame_runs import longest_run

# What a track is on in a frame, beside people's numbers: nobody, or there is no track.
NOBODY, ABSENT = -1, -2


@dataclass(frozen=True)
class Identities:
    """``switches``: a person's track became another; ``transfers``: a track went over to another person.
    ``longest_ghost`` in seconds: so long a track was on nobody, or on somebody who had another track.
    """

    idf1: float
    mota: float
    switches: int
    transfers: int
    longest_ghost: float


def detections_on(
    detection: Int[np.ndarray, "track frame view"],
    claimed: Bool[np.ndarray, "track frame view joint"],
    joint_owner: Int[np.ndarray, "frame view slot joint"],
) -> Int[np.ndarray, "track frame view"]:
    """On whom what a track claims in a view is: the person on whom the most of those points sit, else ``NOBODY``;
    ``ABSENT`` where it claims no detection.
    """
    place = np.maximum(detection, 0)[..., None, None]
    points = np.where(claimed, np.take_along_axis(joint_owner[None], place, axis=3)[..., 0, :], NOBODY)
    people = np.arange(max(int(joint_owner.max(initial=-1)) + 1, 1))
    count = (points == people[:, None, None, None, None]).sum(-1)
    whom = np.where(count.max(0) > 0, count.argmax(0), NOBODY)
    return np.where(detection >= 0, whom, ABSENT)


def persons_of_tracks(on: Int[np.ndarray, "track frame view"]) -> Int[np.ndarray, "track frame"]:
    """Whom each track is on: the person on whom more than half of what it claims in a frame is
    (:func:`detections_on`), else ``NOBODY``; ``ABSENT`` where it claims nothing.
    """
    claimed = on != ABSENT
    count = (on == np.arange(max(int(on.max(initial=-1)) + 1, 1))[:, None, None, None]).sum(-1)
    whom = np.where(2 * count.max(0) > claimed.sum(-1), count.argmax(0), NOBODY)
    return np.where(claimed.any(-1), whom, ABSENT)


@dataclass(frozen=True)
class Grouping:
    """How well what belongs together in a frame was put together, whoever it is in the next. ``precision``: share of
    the claimed detections that are on whom their track is on, one track a person. ``recall``: share of the people's
    detections that such a track has. ``ghosts``: tracks a frame that are on nobody, or on somebody who has another.
    """

    precision: float
    recall: float
    ghosts: float


def grouping(
    on: Int[np.ndarray, "track frame view"],
    known: Int[np.ndarray, "person frame view"],
    there: Bool[np.ndarray, "person frame"],
) -> Grouping:
    """The measures of one frame after the other.

    Args:
        on: as :func:`detections_on` finds it.
        known: which detection of each view is a person's; −1: none.
        there: frames in which a person is asked for. Tracks on people who are not asked for do not count.
    """
    right = claims = wanted = ghosts = 0
    people = np.arange(len(known))
    for frame in range(on.shape[1]):
        agreeing = (on[:, frame] == people[:, None, None]).sum(-1)
        person, track = linear_sum_assignment(agreeing, maximize=True)
        paired = {
            int(t): int(p)
            for p, t in zip(person, track, strict=True)
            if 2 * agreeing[p, t] > (on[t, frame] != ABSENT).sum()
        }
        wanted += int((known[there[:, frame], frame] >= 0).sum())
        for place in np.flatnonzero((on[:, frame] != ABSENT).any(-1)):
            whom = paired.get(int(place))
            if whom is not None and not there[whom, frame]:
                continue
            claims += int((on[place, frame] != ABSENT).sum())
            ghosts += whom is None
            right += 0 if whom is None else int(agreeing[whom, place])
    return Grouping(right / max(claims, 1), min(right / max(wanted, 1), 1.0), ghosts / max(on.shape[1], 1))


@dataclass(frozen=True)
class Told:
    """How well the moments in which names were hard tell where they are wrong. ``changes``: how often a track went over
    to another person; ``told``: how many of these lie at such a moment. ``hard``: share of the tracks' frames in one.
    """

    changes: int
    told: int
    hard: float


def changes_told(person: Int[np.ndarray, "track frame"], hard: Bool[np.ndarray, "track frame"], reach: int) -> Told:
    """Of tracks on people, as :func:`persons_of_tracks` finds them, and when it was ``hard`` to tell who they are; a
    change within ``reach`` frames of that is told.
    """
    changes = told = 0
    for row, moments in zip(person, hard, strict=True):
        known = np.flatnonzero(row >= 0)
        for place in np.flatnonzero(np.diff(row[known]) != 0):
            changes += 1
            told += bool(moments[max(known[place] - reach, 0) : known[place + 1] + reach + 1].any())
    followed = person != ABSENT
    return Told(changes, told, float((hard & followed).sum() / max(followed.sum(), 1)))


def identities(
    person: Int[np.ndarray, "track frame"], there: Bool[np.ndarray, "person frame"], fps: float
) -> Identities:
    """How tracks compare to people.

    Args:
        person: as :func:`persons_of_tracks` finds it.
        there: frames in which a track of the person is asked for. In others a track that is on them counts neither for
            nor against.
        fps: frames per second.
    """
    people, frames = there.shape
    on = person[:, None] == np.arange(people)[:, None]
    asked = on & there
    counted = (person != ABSENT) & ~(on & ~there).any(1)
    agreeing = asked.sum(-1)
    idtp = int(agreeing[linear_sum_assignment(agreeing, maximize=True)].sum())
    total = int(counted.sum()) + int(there.sum())
    idf1 = 2 * idtp / total if total else 1.0

    held = np.full(people, -1)
    matched = np.zeros(person.shape, dtype=bool)
    switches = 0
    for frame in range(frames):
        for somebody in np.flatnonzero(asked[:, :, frame].any(0)):
            tracks = np.flatnonzero(asked[:, somebody, frame])
            track = held[somebody] if held[somebody] in tracks else tracks[0]
            switches += bool(held[somebody] >= 0 and held[somebody] != track)
            held[somebody] = track
            matched[track, frame] = True
    false = counted & ~matched
    misses = int(there.sum()) - int(matched.sum())
    mota = 1 - (misses + int(false.sum()) + switches) / max(int(there.sum()), 1)
    transfers = sum(int((np.diff(row[row >= 0]) != 0).sum()) for row in person)
    return Identities(idf1, mota, switches, transfers, max((longest_run(row) for row in false), default=0) / fps)
