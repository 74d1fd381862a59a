"""Who is who over time: chains of proposals, so that a confusing frame does not switch the person.

The best chain is kept (Viterbi); in some frames it may hold nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.proposals import AGREEMENT, FEWEST_KEYPOINTS, Proposals, propose, sightings
from refit_mv.session.observations import Observations

# People rarely move faster than this, m/s. What goes beyond costs a share of a usual frame's score per metre, up to the
# longest jump.
FASTEST, JUMP_COST, LONGEST_JUMP = 8.0, 2.0, 3.0
# What entering or leaving a stretch without anybody costs: less than a wrong person for a frame is worth, more than a
# weak right one.
NOBODY_COST = 0.3
# A person whom only one view sees for a moment is still taken where the last and next sight say he must be, within
# these metres and seconds.
NEAR, MOMENT = 0.5, 0.5


@dataclass(frozen=True, eq=False)
class Track:
    """One person through a recording: which detection of each view is theirs (−1: none)."""

    detection: Int[np.ndarray, "frame view"]

    @property
    def agreeing_views(self) -> Int[np.ndarray, " frame"]:
        """How many views were found to show the person."""
        return (self.detection >= 0).sum(-1)


def follow(observations: Observations, rig: CameraRig) -> tuple[Track, ...]:
    """The people of a recording. So far it is always one: whom most keypoints of most views agree on, or for one view
    alone its largest, most confident detection.
    """
    proposals = propose(observations, rig)
    path = _best_chain(proposals, observations)
    detection = np.full((len(observations), len(observations.view_names)), -1, dtype=np.int64)
    found = path >= 0
    detection[found] = proposals.detection.numpy()[found, path[found]]
    position = np.full((len(observations), 3), np.nan)
    position[found] = proposals.position.numpy()[found, path[found]]
    if len(observations.view_names) > 1:
        _take_lone_sights(observations, rig, detection, position)
    return (Track(detection),)


def about_tracks(observations: Observations, tracks: Sequence[Track]) -> tuple[str, ...]:
    """What a person should know about who was followed."""
    notes = []
    crowd = int((observations.confidence.max(-1) > 0).sum(-1).max())
    if crowd > len(tracks):
        ones = "the one that the views agree on was" if len(tracks) == 1 else f"{len(tracks)} of them were"
        notes.append(f"up to {crowd} people are in a picture; {ones} fitted")
    for number, track in enumerate(tracks):
        lonely = int((track.agreeing_views < 2).sum())
        if len(observations.view_names) > 1 and lonely:
            whom = "a person" if len(tracks) == 1 else f"person {number}"
            notes.append(f"in {lonely} of {len(observations)} frames no two views agree on {whom}")
    return tuple(notes)


def _best_chain(proposals: Proposals, observations: Observations) -> Int[np.ndarray, " frame"]:
    """Proposal per frame (−1: nobody) that maximises the total score; jumps faster than people move pay for their
    length.
    """
    score, position = proposals.score.numpy(), proposals.position.numpy()
    frames, count = score.shape
    best = score.max(-1)
    usual = float(np.median(best[best > 0])) if (best > 0).any() else 1.0
    # Empty places must never be chosen; the last state is "nobody".
    gain = np.concatenate([np.where(score > 0, score / usual, -np.inf), np.zeros((frames, 1))], axis=1)
    reach = FASTEST * np.diff(observations.frame_numbers).clip(1) / observations.fps + AGREEMENT
    total = gain[0].copy()
    back = np.zeros((frames, count + 1), dtype=np.int64)
    cost = np.full((count + 1, count + 1), NOBODY_COST)
    cost[-1, -1] = 0.0
    for frame in range(1, frames):
        jump = np.linalg.norm(position[frame][:, None] - position[frame - 1][None, :], axis=-1) - reach[frame - 1]
        cost[:-1, :-1] = JUMP_COST * jump.clip(0, LONGEST_JUMP)
        arriving = total[None, :] - cost
        back[frame] = arriving.argmax(-1)
        total = arriving.max(-1) + gain[frame]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return np.where(path == count, -1, path)


def _take_lone_sights(
    observations: Observations,
    rig: CameraRig,
    detection: Int[np.ndarray, "frame view"],
    position: Float[np.ndarray, "frame 3"],
) -> None:
    """Frames in which no two views agree take, in place, the detections that point to where the person must be."""
    known = np.flatnonzero(np.isfinite(position[:, 0]))
    if not len(known):
        return
    center = rig.stacked().center.numpy()
    for frame in np.flatnonzero(~np.isfinite(position[:, 0])):
        nearest = known[np.abs(known - frame).argmin()]
        seconds = abs(int(observations.frame_numbers[nearest] - observations.frame_numbers[frame])) / observations.fps
        if seconds > MOMENT:
            continue
        middle = sightings(observations.frames(slice(frame, frame + 1)), rig).middle[0].numpy()
        there = np.array([np.interp(frame, known, position[known, axis]) for axis in range(3)])
        offset = there - center[:, None]
        miss = np.linalg.norm(offset - (offset * middle).sum(-1, keepdims=True) * middle, axis=-1)
        seen = (observations.confidence[frame] > 0).sum(-1) >= FEWEST_KEYPOINTS
        miss = np.where(seen, miss, np.inf)
        detection[frame] = np.where(miss.min(-1) < NEAR, miss.argmin(-1), -1)
