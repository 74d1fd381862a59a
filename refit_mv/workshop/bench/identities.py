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


def persons_of_tracks(
    detection: Int[np.ndarray, "track frame view"], owner: Int[np.ndarray, "frame view slot"]
) -> Int[np.ndarray, "track frame"]:
    """Whom each track is on: the person who owns more than half of the detections that it claims in a frame, else
    ``NOBODY``; ``ABSENT`` where it claims none.
    """
    taken = np.take_along_axis(owner[None], np.maximum(detection, 0)[..., None], axis=-1)[..., 0]
    claimed = detection >= 0
    count = (claimed & (taken == np.arange(max(int(owner.max(initial=-1)) + 1, 1))[:, None, None, None])).sum(-1)
    whom = np.where(2 * count.max(0) > claimed.sum(-1), count.argmax(0), NOBODY)
    return np.where(claimed.any(-1), whom, ABSENT)


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
    return Identities(idf1, mota, switches, transfers, max((_longest(row) for row in false), default=0) / fps)


def _longest(run: Bool[np.ndarray, " frame"]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], run, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
