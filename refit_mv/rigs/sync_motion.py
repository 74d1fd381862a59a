"""The clocks of all views from what all of them show or hear, before anything is known of cameras: pairs of views
first, then all of them at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from refit_mv.rigs.sync_pair import Peak, canonical, correlate, directions, find_peak
from refit_mv.rigs.sync_signals import Movement, movement
from refit_mv.session.clocks import ViewClock
from refit_mv.session.own_frames import OwnFrames

# Takes up to so many seconds are short.
SHORT = 10.0
# What another lag reaches, as information (-log(1 - r²)) of what the best one has: of a movement that repeats itself,
# all of it, but for noise; of other people's mostly more than half; of two views that fit 0.5 at most in three seconds.
MOST_RUNNER_UP = 0.6
# Pairs of views contradict each other from so many seconds on.
CONTRADICTION = 0.1
# Once clocks are known roughly: lags still in question, and how long windows are (of a long take, its share).
CLOSE, SHORT_WINDOW, MOST_WINDOWS, FEWEST_WINDOWS = 0.4, 2.0, 120, 8
# Of a take this long are the errors of models.
MODEL_SECONDS = 10.0
ROUNDS = 4
# Points of a parabola through a peak, to either side.
PARABOLA = 3
# Drifts of real clocks, as a share: of those that rates in files may be wrong by, and of crystals, which is believed
# where a take is too short to tell.
USUAL_DRIFT, CRYSTAL_DRIFT = 0.002, 1e-4
# A take tells no drift where its deviation is beyond this and the drift below so many of them.
OPEN_DRIFT, SURE_DRIFT = 5e-4, 3.0


@dataclass(frozen=True, eq=False)
class Compared:
    """What is found. ``clocks`` are of the views that it settles, the reference among them, on whose time ``middle``
    is; ``covariance`` of their offsets at ``middle`` (first) and drifts (then); ``said`` is why others are not settled.
    """

    clocks: tuple[ViewClock, ...]
    covariance: Float[np.ndarray, "unknown unknown"]
    middle: float
    said: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    first: int
    second: int
    peak: Peak
    problem: str | None


@dataclass(frozen=True)
class Kind:
    """What is compared: how it is called in ``sync.yaml`` and in sentences, how far off it may be for reasons that no
    scatter shows (seconds, of a take of ten), and the least correlation, of takes and of short ones.
    """

    by: str
    word: str
    model_error: float
    least: float
    least_of_short: float


# Two views of one person reach a canonical correlation of 0.8 to 0.97. A detector's noise about somebody who stands
# still reaches 0.04 in a minute, and 0.14 in five seconds; people who move otherwise 0.53 in half a minute, 0.72 in six
# seconds.
MOTION = Kind("motion", "motion", 0.003, 0.5, 0.7)


def by_motion(
    views: Sequence[OwnFrames], reference: int, near: Sequence[ViewClock | None] | None = None, slack: float = 0.0
) -> Compared:
    """Measure all clocks against the reference's by how people move. ``near``: clocks known beforehand, within
    ``slack`` seconds; only there is looked.
    """
    return compared([movement(view) for view in views], reference, MOTION, near, slack)


def compared(
    moving: Sequence[Movement],
    reference: int,
    kind: Kind,
    near: Sequence[ViewClock | None] | None = None,
    slack: float = 0.0,
) -> Compared:
    """Measure all clocks against the reference's; see :func:`by_motion`."""
    middle = float(np.mean([(each.times[0] + each.times[-1]) / 2 for each in moving]))
    names = [each.view for each in moving]
    pairs = _pairs(moving, kind, near, slack)
    reached, said = _connected(names, pairs, reference)
    first = _solved(pairs, reached, reference, names, middle)
    settled = [view for view in range(len(moving)) if view in reached]
    said += _contradictions(pairs, first, names, middle)
    clocks = [replace(first[view], by="reference" if view == reference else kind.by) for view in settled]
    if len(settled) < 2:
        return Compared(tuple(clocks), np.zeros((2, 2)), middle, tuple(said))
    some, place = [moving[view] for view in settled], settled.index(reference)
    rough = clocks
    clocks, covariance = refined(some, rough, place, middle, USUAL_DRIFT)
    if drifts_open(clocks, covariance):
        rough = [replace(clock, offset=clock.offset + clock.drift * middle, drift=0.0) for clock in rough]
        clocks, covariance = refined(some, rough, place, middle, CRYSTAL_DRIFT)
    span = max(each.times[-1] - each.times[0] for each in moving)
    off = [view for view, clock in enumerate(clocks) if clock.view != names[reference]]
    covariance[off, off] += kind.model_error**2 * MODEL_SECONDS / span
    return Compared(tuple(clocks), covariance, middle, tuple(said))


def _pairs(
    moving: Sequence[Movement], kind: Kind, near: Sequence[ViewClock | None] | None, slack: float
) -> list[_Pair]:
    found = []
    for first, second in combinations(range(len(moving)), 2):
        reach = None
        one, two = (None, None) if near is None else (near[first], near[second])
        if one is not None and two is not None:
            apart = one.offset - two.offset
            reach = (apart - slack, apart + slack)
        peak = find_peak(correlate(moving[first], moving[second], reach))
        names = f"{moving[first].view} and {moving[second].view}"
        problem = None
        if peak is None:
            found.append(_Pair(first, second, _NOTHING, f"{names} have too little in common"))
            continue
        shortest = min(float(np.ptp(each.times)) for each in (moving[first], moving[second]))
        least = kind.least_of_short if shortest < SHORT else kind.least
        if peak.height < least:
            problem = (
                f"too little {kind.word} that {names} share (correlation {peak.height:.2f}, {least:g} is the least)"
            )
        elif np.log1p(-(peak.runner_up**2)) < MOST_RUNNER_UP * np.log1p(-(peak.height**2)):
            problem = (
                f"{names} are as alike at {peak.lag:+.2f} s as at {peak.other_lag:+.2f} s (correlations "
                f"{peak.height:.2f} and {peak.runner_up:.2f}): the {kind.word} repeats itself, or is not one and "
                "the same"
            )
        found.append(_Pair(first, second, peak, problem))
    return found


_NOTHING = Peak(0.0, 0.0, 0.0, 0.0, 0.0)


def _connected(views: Sequence[str], pairs: Sequence[_Pair], reference: int) -> tuple[set[int], list[str]]:
    """The views that clear pairs lead to from the reference, and what stands between them and the others."""
    reached = {reference}
    while True:
        further = {
            each
            for pair in pairs
            if pair.problem is None and len(reached & {pair.first, pair.second}) == 1
            for each in (pair.first, pair.second)
        }
        if further <= reached:
            break
        reached |= further
    said = []
    for view in range(len(views)):
        if view in reached:
            continue
        mine = [pair for pair in pairs if view in (pair.first, pair.second) and pair.problem is not None]
        best = max(mine, key=lambda pair: pair.peak.height, default=None)
        said.append(f"{views[view]}: {best.problem if best is not None else 'no other view to compare with'}")
    return reached, said


def _solved(
    pairs: Sequence[_Pair], reached: set[int], reference: int, names: Sequence[str], middle: float
) -> dict[int, ViewClock]:
    """Offsets and drifts that fit all clear pairs, the few that contradict the others left behind (least absolute
    values by reweighting).
    """
    order = sorted(reached)
    clear = [pair for pair in pairs if pair.problem is None and {pair.first, pair.second} <= reached]
    rows = np.zeros((len(clear), len(order)))
    for row, pair in zip(rows, clear, strict=True):
        row[order.index(pair.first)], row[order.index(pair.second)] = 1.0, -1.0
    rows = np.delete(rows, order.index(reference), axis=1)
    solved: list[np.ndarray] = []
    for values in ([pair.peak.lag for pair in clear], [pair.peak.drift for pair in clear]):
        weight, answer = np.ones(len(clear)), np.zeros(rows.shape[1])
        for _ in range(20):
            answer = np.linalg.lstsq(rows * weight[:, None], np.array(values) * weight, rcond=None)[0]
            weight = 1 / np.sqrt(np.abs(rows @ answer - values) + 1e-3)
        solved.append(np.insert(answer, order.index(reference), 0.0))
    offsets, drifts = solved[0] - solved[1] * middle, solved[1]
    return {
        view: ViewClock(names[view], float(offsets[place]), float(drifts[place]), by="motion")
        for place, view in enumerate(order)
    }


def _contradictions(
    pairs: Sequence[_Pair], clocks: dict[int, ViewClock], names: Sequence[str], middle: float
) -> list[str]:
    said = []
    for pair in pairs:
        if pair.problem is not None or pair.first not in clocks or pair.second not in clocks:
            continue
        at = np.array([middle])
        one, two = (clocks[each].reference_time(at)[0] for each in (pair.first, pair.second))
        off = pair.peak.lag - (one - two)
        if abs(off) > CONTRADICTION:
            said.append(
                f"{names[pair.first]} and {names[pair.second]} contradict the other views by {off:+.2f} s: is one of "
                "them another recording, or do they show other people?"
            )
    return said


def drifts_open(clocks: Sequence[ViewClock], covariance: Float[np.ndarray, "unknown unknown"]) -> bool:
    """Whether a take is too short to tell drifts, and shows none."""
    sigma = np.sqrt(covariance.diagonal()[len(clocks) :])
    drift = np.abs([clock.drift for clock in clocks])
    return bool(sigma.max() > OPEN_DRIFT and (drift < SURE_DRIFT * sigma + 1e-12).all())


def refined(
    moving: Sequence[Movement], clocks: Sequence[ViewClock], reference: int, middle: float, belief: float
) -> tuple[list[ViewClock], Float[np.ndarray, "unknown unknown"]]:
    """All clocks at once, from where they are known roughly: Newton steps up the sum of all pairs' correlations. The
    covariance, of offsets at the middle and then drifts, is from how windows of time differ. ``belief``: how large
    drifts are, as a share.
    """
    clocks = list(clocks)
    free = [view for view in range(len(clocks)) if view != reference]
    covariance = np.zeros((2 * len(clocks), 2 * len(clocks)))
    columns = np.array([*free, *(view + len(clocks) for view in free)])
    for _ in range(ROUNDS):
        at = [replace(each, times=clock.reference_time(each.times)) for each, clock in zip(moving, clocks, strict=True)]
        slopes, hessian = _slopes(at, middle)
        slopes, hessian = slopes[:, columns], hessian[np.ix_(columns, columns)]
        held = np.zeros(len(columns))
        # A belief weighs against the noise of the slopes, which their own scatter tells.
        scatter = np.square(slopes[:, len(free) :]).sum(0)
        steep = hessian.diagonal()[len(free) :]
        held[len(free) :] = scatter / np.maximum(steep, 1e-12) / belief**2
        drifts = np.array([clocks[view].drift for view in free])
        pull = slopes.sum(0) - held * np.concatenate([np.zeros(len(free)), drifts])
        inverse = np.linalg.pinv(hessian + np.diag(held))
        change = inverse @ pull
        windows = len(slopes)
        inner = slopes - slopes.mean(0) if windows > 2 else slopes
        middling = inverse @ (inner.T @ inner * windows / max(windows - 2, 1) + np.diag(held**2 * belief**2)) @ inverse
        covariance[np.ix_(columns, columns)] = middling
        for place, view in enumerate(free):
            offset, drift = change[place], change[place + len(free)]
            clock = clocks[view]
            drift = (1 + clock.drift) * (1 + drift) - 1
            # The change is of the reference clock's time, about its middle.
            offset = clock.offset + offset + change[place + len(free)] * (clock.offset - middle)
            clocks[view] = replace(clock, offset=float(offset), drift=float(drift))
    return clocks, covariance


def _slopes(
    at: Sequence[Movement], middle: float
) -> tuple[Float[np.ndarray, "window unknown"], Float[np.ndarray, "unknown unknown"]]:
    """How all pairs' correlation rises with every view's offset and drift, window by window, and how it bends."""
    span = max(each.times[-1] - each.times[0] for each in at)
    seconds = max(min(SHORT_WINDOW, span / FEWEST_WINDOWS), span / MOST_WINDOWS)
    count = len(at)
    total: list[np.ndarray] = []
    hessian = np.zeros((2 * count, 2 * count))
    for first, second in combinations(range(count), 2):
        found = correlate(at[first], at[second], (-CLOSE, CLOSE), seconds)
        values = found.values.sum(0)
        common = found.counts.sum(0)
        place = int(np.abs(found.lags).argmin())
        if common[place] <= 0:
            continue
        left, height, right = np.linalg.svd(canonical(values[place], found.own.sum(0)[place]))
        one, two = directions(left[:, 0], right[0], found.own.sum(0)[place])
        likeness = min(float(height[0]), 0.98)
        near = slice(place - PARABOLA, place + PARABOLA + 1)
        along = np.einsum("a,wlab,b->wl", one, found.values[:, near], two)
        bend, slope, _ = np.polynomial.polynomial.polyfit(found.lags[near], along.T, 2)[::-1]
        worth = likeness / (1 - likeness**2)
        share = found.counts[:, place] / common[place]
        steep = -2 * worth * min(float(bend.sum()), 0.0) * share
        arm = found.middle - middle
        # The second view is read ``lag`` later: lag = first's time − second's.
        way = np.zeros((len(arm), 2 * count))
        way[:, first], way[:, second] = 1.0, -1.0
        way[:, first + count], way[:, second + count] = arm, -arm
        hessian += (way * steep[:, None]).T @ way
        part = way * (worth * slope)[:, None]
        while len(total) < len(part):
            total.append(np.zeros(2 * count))
        for window, row in enumerate(part):
            total[window] = total[window] + row
    return np.stack(total) if total else np.zeros((1, 2 * count)), hessian
