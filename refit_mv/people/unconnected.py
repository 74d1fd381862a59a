"""Who is who in frames that are no neighbours: whoever stands where somebody stood around then, and is built like them.

How much either tells is learned from the frames themselves: people who keep their places are told apart by these,
people who wander about by the lengths of their limbs. Names are given, places and lengths are averaged over everybody's
frames, and names are given again until nothing changes (k-means with one of each in a frame).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

# Places are compared with the mean over so many frames before and after, where that tells more than that over all: whom
# it helps are people who wander off in time.
AROUND = 10
# Names have always settled in fewer rounds.
MOST_ROUNDS = 20
# So many frames are begun from, by places and by limbs: a poor beginning ends in a poor agreement.
BEGINNINGS = 6
# Where somebody last was is so much what was thought before: they stand about.
KEPT = 0.5
# Nobody is told apart better than by this: metres, and logarithms of lengths.
FINEST_PLACE, FINEST_LIMB = 0.05, 0.02


def same_people(
    frame: Int[np.ndarray, " body"], points: Float[np.ndarray, "body joint 3"], limbs: Float[np.ndarray, "body limb"]
) -> list[list[int]]:
    """Which of the bodies are one person's, in order of their frames: as many people as a frame has at most.

    Args:
        frame: which frame each was found in.
        points: where, metres (NaN: unknown).
        limbs: logarithms of their limbs' lengths (NaN: unknown).
    """
    rows = np.unique(frame, return_inverse=True)[1]
    count = np.bincount(rows)
    place, order = np.zeros_like(rows), np.argsort(rows, kind="stable")
    place[order] = np.arange(len(frame)) - np.repeat(np.cumsum(count) - count, count)
    shape = (len(count), int(count.max(initial=0)))
    body = np.full(shape, -1)
    body[rows, place] = np.arange(len(frame))
    where, built = _filled(points, rows, place, shape), _filled(limbs, rows, place, shape)
    found = [
        _named(where, built, names, around) for names in _beginnings(where, built) for around in (AROUND, shape[0])
    ]
    _, names = min(found, key=lambda pair: pair[0])
    named = np.take_along_axis(body, names, axis=1)
    return [column[column >= 0].tolist() for column in named.T]


def _filled(values: np.ndarray, rows: np.ndarray, place: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    filled = np.full((*shape, *values.shape[1:]), np.nan)
    filled[rows, place] = values
    return filled


def _beginnings(
    where: Float[np.ndarray, "frame place joint 3"], built: Float[np.ndarray, "frame place limb"]
) -> list[Int[np.ndarray, "frame person"]]:
    """Names to begin with: whoever is most alike, by place or by limbs, the people of one frame that shows as many as
    any; of several such frames. And whoever is nearest to where they last were, from frame to frame.
    """
    known = np.isfinite(where[..., 0]).any(-1).sum(-1)
    full = np.flatnonzero(known == known.max())
    chosen = full[np.unique(np.linspace(0, len(full) - 1, BEGINNINGS).round().astype(np.int64))]
    found = []
    for values in (where, built[..., None]):
        for frame in chosen:
            away = _apart(values[:, :, None], values[frame][None, None])
            away = np.nan_to_num(away, nan=float(np.nanmax(away, initial=0.0)))
            found.append(np.stack([linear_sum_assignment(each.T)[1] for each in away]))
    return [*found, _followed(where)]


def _followed(where: Float[np.ndarray, "frame place joint 3"]) -> Int[np.ndarray, "frame person"]:
    last, names = where[0], []
    for here in where:
        away = _apart(here[:, None], last[None])
        names.append(linear_sum_assignment(np.nan_to_num(away, nan=float(np.nanmax(away, initial=0.0))).T)[1])
        found = here[names[-1]]
        known = np.where(np.isfinite(last), KEPT * last + (1 - KEPT) * found, found)
        last = np.where(np.isfinite(found), known, last)
    return np.stack(names)


def _named(
    where: Float[np.ndarray, "frame place joint 3"],
    built: Float[np.ndarray, "frame place limb"],
    names: Int[np.ndarray, "frame person"],
    around: int,
) -> tuple[float, Int[np.ndarray, "frame person"]]:
    """Names that no longer change, and how unlikely they are (negative logarithm), when places are compared with those
    in so many frames ``around``.
    """
    doubt = np.inf
    for _ in range(MOST_ROUNDS):
        mine, own = (
            np.take_along_axis(each, names[(..., *[None] * (each.ndim - 2))], axis=1) for each in (where, built)
        )
        way = _apart(where[:, :, None], mean_of_others(mine, around)[:, None])
        unlike = np.abs(built[:, :, None] - mean_of_others(own, len(own))[:, None])
        held = np.take_along_axis(way, names[:, None], axis=1)[:, 0]
        alike = np.take_along_axis(unlike, names[:, None, :, None], axis=1)[:, 0]
        place, limb = max(middle(held), FINEST_PLACE), max(middle(alike), FINEST_LIMB)
        # Of heavy tails: who changes places for once is told by their limbs.
        cost = 1.5 * np.log1p((way / place) ** 2)
        cost = np.nan_to_num(cost, nan=1.5 * np.log(2)) + np.nansum(np.log1p((unlike / limb) ** 2), axis=-1)
        chosen = np.stack([linear_sum_assignment(each.T)[1] for each in cost])
        known = np.isfinite(where[..., 0]).sum(-1) > 0
        doubt = _doubt(cost, chosen, known) + np.isfinite(held).sum() * 3 * np.log(place)
        doubt += np.isfinite(alike).sum() * np.log(limb)
        if (chosen == names).all():
            break
        names = chosen
    return float(doubt), names


def _doubt(cost: np.ndarray, names: np.ndarray, known: np.ndarray) -> float:
    return float(np.where(known, np.take_along_axis(cost, names[:, None], axis=1)[:, 0], 0.0).sum())


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far the middles of what both know are from each other; NaN where they have nothing in common."""
    between = one - other
    known = np.isfinite(between[..., 0])
    count = known.sum(-1)
    middle = np.where(known[..., None], between, 0).sum(-2) / np.maximum(count, 1)[..., None]
    return np.where(count > 0, np.linalg.norm(middle, axis=-1), np.nan)


def mean_of_others(values: Float[np.ndarray, "frame *batch"], around: int) -> Float[np.ndarray, "frame *batch"]:
    """The mean over the frames around each but itself; NaN where nothing is known."""
    known = np.isfinite(values)
    sums, counts = (
        np.cumsum(np.concatenate([each[:1] * 0, each]), axis=0) for each in (np.where(known, values, 0.0), known * 1.0)
    )
    frame = np.arange(len(values))
    first, stop = (frame - around).clip(0), (frame + around + 1).clip(max=len(values))
    total = sums[stop] - sums[first] - np.where(known, values, 0.0)
    count = counts[stop] - counts[first] - known
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def middle(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0
