"""Views whose clocks are known: every instant of one even line, and where in each view's own frames it lies."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from refit_mv.errors import InputError
from refit_mv.session.between import between
from refit_mv.session.clocks import Clocks
from refit_mv.session.pairing import FramePairing, checked, sparsely_numbered, table_times


def own_times(
    numbers: Mapping[str, Int[np.ndarray, " file"]],
    rates: Mapping[str, float],
    table: Mapping[str, Float[np.ndarray, " row"]] | None,
) -> tuple[dict[str, Float[np.ndarray, " file"]], list[str]]:
    """Seconds of each view's own clock at which its frames were taken, by the table of time stamps (since its first
    row) or by the rates; and what should be known of them.
    """
    if table is None:
        return {view: own / rates[view] for view, own in numbers.items()}, []
    warnings: list[str] = []
    first = min(float(times[0]) for times in table.values())
    return {view: table_times(view, own, table[view], warnings) - first for view, own in numbers.items()}, warnings


def pair_by_clock(
    numbers: Mapping[str, Int[np.ndarray, " file"]],
    times: Mapping[str, Float[np.ndarray, " file"]],
    clocks: Clocks,
    frames: slice | None,
) -> FramePairing:
    """Pair frames by the time of the reference clock. The line runs at the reference view's own frames, where two views
    or more are there (or the only one), and keeps its numbers; with its time stamps, positions from 0.

    ``numbers`` are each view's own frames, ascending, and ``times`` seconds of its own clock. ``frames`` selects by the
    line's numbers.

    Raises:
        InputError: a view whose clock nobody knows, numbers that count no frames, views that never run together, a
        selection outside.
    """
    unknown = [view for view in numbers if view not in clocks]
    if unknown:
        raise InputError(
            f"the clocks say nothing of view {unknown[0]} (only of {', '.join(each.view for each in clocks.views)}); "
            "run refit-mv sync again, or add it"
        )
    everything = np.concatenate(list(numbers.values()))
    if sparsely_numbered(np.unique(everything)):
        raise InputError(
            f"{len(np.unique(everything))} frames are numbered from {everything.min()} to {everything.max()}: they are "
            "no film, and clocks say nothing of them; remove sync.yaml"
        )
    at = {view: clocks[view].reference_time(times[view]) for view in numbers}
    begin, end = _common_span(at)
    line, names, fps = _line(numbers, times, clocks, begin, end)
    if len(line) == 0:
        spans = ", ".join(f"{view} {values[0]:.3f}-{values[-1]:.3f} s" for view, values in at.items())
        raise InputError(f"by their clocks the views never run at the same time: {spans}; check sync.yaml")
    chosen = checked(frames)
    picked = (names >= chosen.start) & ((names < chosen.stop) if chosen.stop is not None else True)
    line, kept = line[picked][:: chosen.step], names[picked][:: chosen.step]
    if len(line) == 0:
        raise InputError(
            f"no frames selected: the paired recording has frames {names[0]} to {names[-1]}, asked for "
            f"{chosen.start}:{chosen.stop}"
        )
    placed = between(line, at, dict(numbers))
    nearest = placed.nearest
    said = []
    for view, column in zip(numbers, nearest.T, strict=True):
        absent = kept[column < 0]
        if len(absent):
            said.append(
                f"view {view} did not run at {len(absent)} of {len(kept)} frames, or has no files there (first: "
                f"{absent[0]}); they count as not detected"
            )
    return FramePairing(kept, nearest, fps / chosen.step, tuple(said), between=placed)


def _common_span(at: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """From when to when two views run, or the only one."""
    starts, ends = sorted(values[0] for values in at.values()), sorted(values[-1] for values in at.values())
    second = min(1, len(starts) - 1)
    return float(starts[second]), float(ends[-1 - second])


def _line(
    numbers: Mapping[str, np.ndarray], times: Mapping[str, np.ndarray], clocks: Clocks, begin: float, end: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Instants of the reference clock, their numbers, and how many there are in a second."""
    leader = clocks.reference if clocks.reference in numbers else next(iter(numbers))
    clock, own = clocks[leader], times[leader]
    if clock.fps is None:
        step = float(np.median(np.diff(own))) if len(own) > 1 else 1.0
        rate = (len(own) - 1) / float(own[-1] - own[0]) if len(own) > 1 else 1.0
        rate = 1 / step if abs(rate * step - 1) > 0.1 else rate
        first, stride = float(own[0]), 1
    else:
        rate, first = clock.fps, 0.0
        steps = np.diff(np.unique(numbers[leader]))
        stride = int(np.gcd.reduce(steps)) if len(steps) else 1
    low, high = (clock.own_time(np.array([begin, end])) - first) * rate
    origin = int(numbers[leader][0]) if clock.fps is not None else 0
    names = np.arange(int(np.ceil(low - 1e-6)), int(np.floor(high + 1e-6)) + 1)
    names = names[(names - origin) % stride == 0]
    names = names[names >= 0]
    return clock.reference_time(first + names / rate), names, rate / ((1 + clock.drift) * stride)
