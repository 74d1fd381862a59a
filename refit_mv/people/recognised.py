"""Whom one view alone shows, in frames that are no neighbours: recognised as one of those whom two views show in
others, by place and size.

One bundle of rays says where somebody stands but for the distance, and the lengths of their limbs say that. A stand, a
picture on the wall or a passer-by may look as plausible; but these are there as often while everybody is accounted for.
How often a view shows somebody more in a person's place while others show the person tells how far to believe it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.following import middle_of
from refit_mv.people.joining import Followed
from refit_mv.people.options import PeopleOptions
from refit_mv.people.sightings import AGREEMENT, FEWEST_KEYPOINTS, Sight, sights
from refit_mv.people.unconnected import AROUND, mean_of_others, middle
from refit_mv.session.observations import Observations

# Distances by size are off by this share, and nobody's place is known better than this, metres.
SIZE, FINEST_PLACE = 0.15, 0.1
# Limbs that point at the camera look short, none looks long: of the distances that limbs say the nearer ones count.
NEARER = 0.25
# Nobody is recognised so many standard deviations from where they are otherwise; nor whose places are farther apart
# than this, metres (the median): they have no place of their own.
FARTHEST, WIDEST_PLACE = 2.5, 0.4
# A view is not believed about somebody if more than this share of what it alone shows of them must be others.
OTHERS = 0.1


@dataclass(frozen=True, eq=False)
class _Habit:
    """Where somebody is expected in each frame, going by all others around (NaN: unknown), how far off that is in the
    median, and the lengths of their limbs (0: unknown); metres.
    """

    points: Float[np.ndarray, "frame joint 3"]
    spread: float
    limbs: Float[np.ndarray, " limb"]


@dataclass(frozen=True, eq=False)
class _Free:
    """The detections that nobody has: how far off each person would be, in standard deviations of place and size
    (infinite: impossible), and their points at the distance that their size says, metres.
    """

    row: Int[np.ndarray, " detection"]
    view: Int[np.ndarray, " detection"]
    place: Int[np.ndarray, " detection"]
    off: Float[np.ndarray, "detection person"]
    points: Float[np.ndarray, "detection person joint 3"]


def recognise(people: Sequence[Followed], observations: Observations, rig: CameraRig, options: PeopleOptions) -> int:
    """Give people, in place, detections that no other view agrees with, in frames in which nothing else is theirs; in
    how many frames. Nobody gets more than a share of 1 − ``options.agreement`` of their frames so: the likeliest.
    """
    if len(rig) < 2:
        return 0
    limbs = np.array(observations.keypoints.limbs, dtype=np.int64).reshape(-1, 2)
    free = _free(people, [_habit(person, limbs) for person in people], limbs, observations, rig)
    found = np.array([(person.detection >= 0).any(-1) for person in people])
    wanted = np.where(found.T[free.row] | ~_believed(free, found, len(rig)), np.inf, free.off)
    chosen = _chosen(free.row, wanted)
    count = 0
    for place, person in enumerate(people):
        mine = np.flatnonzero(chosen == place)
        # As many as leave the share of agreement.
        most = int(person.agreed.sum() * (1 / max(options.agreement, 1e-9) - 1))
        mine = mine[np.argsort(wanted[mine, place], kind="stable")][:most]
        person.detection[free.row[mine], free.view[mine]] = free.place[mine]
        person.points[free.row[mine]] = free.points[mine, place]
        count += len(mine)
    return count


def _habit(person: Followed, limbs: Int[np.ndarray, "limb 2"]) -> _Habit:
    points = np.where(person.agreed[:, None, None], person.points, np.nan)
    expected = mean_of_others(points, AROUND)
    expected = np.where(np.isfinite(expected), expected, mean_of_others(points, len(points)))
    away = np.linalg.norm(middle_of(points - expected), axis=-1)
    length = np.linalg.norm(points[:, limbs[:, 0]] - points[:, limbs[:, 1]], axis=-1)
    return _Habit(expected, middle(away), np.array([middle(each) for each in length.T]))


def _free(
    people: Sequence[Followed],
    habits: Sequence[_Habit],
    limbs: Int[np.ndarray, "limb 2"],
    observations: Observations,
    rig: CameraRig,
) -> _Free:
    place: list[tuple[int, int, int]] = []
    off, points = [], []
    for row, sight in enumerate(sights(observations, rig)):
        free = sight.seen.copy()
        here = [person for person in people if (person.detection[row] >= 0).any()]
        for person in here:
            view = np.flatnonzero(person.detection[row] >= 0)
            free[view, person.detection[row, view]] = False
        if here:
            # Somebody who was found, once more.
            free &= (sight.support(np.stack([person.points[row] for person in here]), AGREEMENT) <= 0).all(0)
        for one, which in np.argwhere(free).tolist():
            told = [_compared(habit, row, sight, (one, which), limbs) for habit in habits]
            place.append((row, one, which))
            off.append([each for each, _ in told])
            points.append([each for _, each in told])
    shape = (len(place), len(people))
    row, view, which = np.array(place, dtype=np.int64).reshape(-1, 3).T
    joints = len(observations.keypoints)
    return _Free(row, view, which, np.array(off).reshape(shape), np.array(points).reshape(*shape, joints, 3))


def _compared(
    habit: _Habit, row: int, sight: Sight, detection: tuple[int, int], limbs: Int[np.ndarray, "limb 2"]
) -> tuple[float, Float[np.ndarray, "joint 3"]]:
    """How far off somebody is whom the detection of (view, place) shows, and where its points are then."""
    view, place = detection
    direction, seen, center = sight.direction[view, place], sight.confidence[view, place] > 0, sight.center[view]
    nowhere = np.full_like(habit.points[row], np.nan)
    known = seen & np.isfinite(habit.points[row, :, 0])
    one, other = limbs[seen[limbs].all(-1) & (habit.limbs > 0)].T
    lengths = habit.limbs[seen[limbs].all(-1) & (habit.limbs > 0)]
    if known.sum() < FEWEST_KEYPOINTS or not len(lengths) or not 0 < habit.spread <= WIDEST_PLACE:
        return np.inf, nowhere
    chord = np.maximum(np.linalg.norm(direction[one] - direction[other], axis=-1), 1e-6)
    distance = float(np.quantile(lengths / chord, NEARER))
    offset = (habit.points[row, known] - center).mean(0)
    ray = direction[known].mean(0)
    ray = ray / np.linalg.norm(ray)
    along, spread = float(offset @ ray), max(habit.spread, FINEST_PLACE)
    if along <= 0:
        return np.inf, nowhere
    aside = float(np.linalg.norm(offset - along * ray)) / spread
    size = np.log(distance / along) / np.hypot(SIZE, spread / along)
    points = np.where(seen[:, None], center + distance * direction, np.nan)
    return float(np.hypot(aside, size)), points


def _believed(free: _Free, found: Bool[np.ndarray, "person frame"], views: int) -> Bool[np.ndarray, "detection person"]:
    """Of which people each detection's view is believed: one that shows somebody more in their place as often while
    they are found elsewhere shows somebody else.
    """
    likely = (free.off <= FARTHEST) & (free.off <= free.off.min(1, keepdims=True, initial=np.inf))
    believed = likely.copy()
    for person, there in enumerate(found):
        for view in range(views):
            mine = (free.view == view) & likely[:, person]
            more, alone = (
                len(np.unique(free.row[mine & (there[free.row] == with_others)])) for with_others in (True, False)
            )
            others = more / max(int(there.sum()), 1) * int((~there).sum())
            believed[mine, person] = others <= OTHERS * alone
    return believed


def _chosen(
    row: Int[np.ndarray, " detection"], off: Float[np.ndarray, "detection person"]
) -> Int[np.ndarray, " detection"]:
    """Whose each detection is (−1: nobody's), at most one of a frame anybody's."""
    chosen = np.full(len(row), -1)
    gain = np.where(off < FARTHEST, FARTHEST - off, 0.0)
    for each in np.unique(row[(gain > 0).any(1)]):
        here = np.flatnonzero(row == each)
        detection, person = linear_sum_assignment(gain[here], maximize=True)
        good = gain[here[detection], person] > 0
        chosen[here[detection[good]]] = person[good]
    return chosen
