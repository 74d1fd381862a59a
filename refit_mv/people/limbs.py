"""Whose limbs are whose: detectors give somebody the arm of the person in front, or make one figure of two people."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.joining import Followed
from refit_mv.people.sightings import AGREEMENT, FEWEST_KEYPOINTS, Sight, sights, voice
from refit_mv.session.observations import Observations

# A ray within so many metres of another person's point is on that person, if it is twice as far from one's own.
ON_ANOTHER = 0.08


def share_limbs(
    people: Sequence[Followed], observations: Observations, rig: CameraRig
) -> tuple[Bool[np.ndarray, "frame view joint"], ...]:
    """Which points of everybody's detections are theirs. Cut off is what sits on another person, while two other views
    agree on where one's own point is. People without a detection in a view are given, in place, one of which a part is
    theirs.
    """
    frames, views, _, joints = observations.confidence.shape
    claimed = tuple(np.ones((frames, views, joints), dtype=bool) for _ in people)
    followed = np.array([(person.detection >= 0).any(-1) for person in people])
    rows = np.flatnonzero(followed.sum(0) > 1)
    if not len(rows):
        return claimed
    for row, sight in zip(rows.tolist(), sights(observations.frames(rows), rig), strict=True):
        here = np.flatnonzero(followed[:, row]).tolist()
        detection = np.stack([people[place].detection[row] for place in here])
        mine = shared(sight, np.stack([people[place].points[row] for place in here]), detection)
        for place, taken, points in zip(here, detection, mine, strict=True):
            people[place].detection[row], claimed[place][row] = taken, points
    return claimed


def shared(
    sight: Sight, points: Float[np.ndarray, "track joint 3"], detection: Int[np.ndarray, "track view"]
) -> Bool[np.ndarray, "track view joint"]:
    """Whose points are whose in one frame; completes ``detection`` in place."""
    miss = sight.misses(points)
    miss = np.where(np.isnan(miss), np.inf, miss)
    seen = sight.confidence > 0
    ordered = np.sort(miss, axis=0)
    another = np.where(miss == ordered[0], ordered[1], ordered[0])
    foreign = seen & (another < ON_ANOTHER) & (miss > np.maximum(AGREEMENT, 2 * another))

    track, view = np.arange(len(points))[:, None], np.arange(len(sight.center))
    has = (detection >= 0)[..., None]
    near = has & (miss[track, view, detection] < AGREEMENT) & seen[view, detection]
    cut = has & foreign[track, view, detection] & (near.sum(1, keepdims=True) - near >= 2)

    mine = np.logical_not(cut)
    missing, theirs = np.argwhere(detection < 0), detection.copy()
    for one, place in missing.tolist():
        own = seen[place] & np.logical_not(foreign[one, place])
        speaks = np.where(own, voice((miss[one, place] / AGREEMENT) ** 2, sight.confidence[place]), 0.0).sum(-1)
        part = own & (miss[one, place] < AGREEMENT)
        for other in np.flatnonzero(theirs[:, place] >= 0):
            # Of a detection that somebody has there is only what was cut off.
            part[theirs[other, place]] &= cut[other, place]
            speaks[theirs[other, place]] = part[theirs[other, place]].sum()
        speaks = np.where(part.sum(-1) >= FEWEST_KEYPOINTS, speaks, 0.0)
        if speaks.max() > 0:
            detection[one, place] = speaks.argmax()
            mine[one, place] = part[speaks.argmax()]
    return mine
