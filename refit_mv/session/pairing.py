"""Which frame of every view shows the same instant: by the numbers in the file names, or by time stamps."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float, Int

from refit_mv.errors import InputError
from refit_mv.session.between import Between

DEFAULT_FPS = 30.0
# More empty frames than this many times the existing ones mean that the numbers in the names count something else (a
# clock, a serial number).
LARGEST_SPREAD = 10
SPREAD_ALLOWANCE = 1000
# A month of frames: larger numbers are clock times.
LARGEST_NUMBER = 10**8
# Rates that differ by more drift a whole frame within a minute at 30 frames per second; less is how encoders round.
RATE_TOLERANCE = 5e-4
# Views that are apart by less than half a frame are still nearest to each other.
HARMLESS_DRIFT = 0.5


@dataclass(frozen=True, eq=False)
class FramePairing:
    """``source_numbers`` is each view's own frame number (file number, video index) for every paired frame, −1 where
    the view has none. Where clocks are known it is the nearest, and ``between`` says where exactly the instant lies."""

    frame_numbers: Int[np.ndarray, " frame"]
    source_numbers: Int[np.ndarray, "frame view"]
    fps: float
    warnings: tuple[str, ...]
    between: Between | None = None


def checked(frames: slice | None) -> slice:
    """A selection of frames with its defaults filled in.

    Raises:
        InputError: it selects nothing.
    """
    chosen = frames or slice(None)
    start, stop, step = chosen.start or 0, chosen.stop, chosen.step or 1
    if start < 0 or step < 1 or (stop is not None and stop <= start):
        raise InputError(
            f"frames {start}:{'' if stop is None else stop}:{step} select nothing; give start:stop with 0 <= "
            "start < stop"
        )
    return slice(start, stop, step)


def pair_by_number(
    numbers: Mapping[str, Int[np.ndarray, " file"]],
    frames: slice | None,
    rates: Mapping[str, float | None],
    fps: float | int | None,
) -> FramePairing:
    """Pair frames of equal number. The result spans all numbers of all views evenly, or has those alone that there are
    where they are few and far between; a view without a file has −1 there.

    ``numbers`` are each view's file numbers, ascending; ``frames`` selects by number (stop exclusive). ``fps`` (else
    the videos' common rate, else 30 with a warning) is the rate at which the numbers count.

    Raises:
        InputError: a selection outside the recording, videos of different rates, numbers that are clock times.
    """
    warnings: list[str] = []
    everything = reduce(np.union1d, numbers.values())
    chosen = checked(frames)
    first, last = int(everything[0]), int(everything[-1])
    step = int(np.gcd.reduce(np.diff(everything))) if len(everything) > 1 else 1
    sparse = sparsely_numbered(everything)
    if sparse and last > LARGEST_NUMBER:
        raise InputError(
            f"the {len(everything)} frame numbers run from {first} to {last}: they do not count frames; renumber "
            "the files consecutively"
        )
    if fps is None:
        # Equal numbers are one instant at the first of them.
        fps = _common_rate(rates, last - first if chosen.stop is None else min(last, chosen.stop - 1) - first, warnings)
    if step > 1:
        warnings.append(
            f"only every {step}th frame number exists: the rate becomes {fps / step:.4g} of {fps:.4g} frames per second"
        )
    grid = everything if sparse else np.arange(first, last + 1, step)
    if sparse:
        warnings.append(
            f"{len(everything)} frames are numbered from {first} to {last}: most have no neighbours, and each is "
            "fitted alone; number the files consecutively if they are a film"
        )
    grid = grid[(grid >= chosen.start) & ((grid < chosen.stop) if chosen.stop is not None else True)][:: chosen.step]
    if len(grid) == 0:
        raise InputError(
            f"no frames selected: the recording has frames {first} to {last}, asked for {chosen.start}:{chosen.stop}"
        )
    sources = np.stack([np.where(np.isin(grid, own), grid, -1) for own in numbers.values()], axis=1)
    starts = {view: int(own[0]) for view, own in numbers.items()}
    if len(set(starts.values())) > 1:
        listed = ", ".join(f"{view} from {start}" for view, start in starts.items())
        warnings.append(
            f"views start at different frame numbers ({listed}); frames were paired by number: equal numbers are taken "
            "as the same instant. If they only count differently (from 0 and from 1), renumber the files"
        )
    warnings += _missing(tuple(numbers), grid, sources)
    return FramePairing(grid, sources, fps / (step * chosen.step), tuple(warnings))


def sparsely_numbered(everything: Int[np.ndarray, " frame"]) -> bool:
    """Whether numbers (ascending, each once) are few and far between."""
    step = int(np.gcd.reduce(np.diff(everything))) if len(everything) > 1 else 1
    span = (int(everything[-1]) - int(everything[0])) // step + 1
    return span > LARGEST_SPREAD * len(everything) + SPREAD_ALLOWANCE


def _missing(views: tuple[str, ...], grid: np.ndarray, sources: np.ndarray) -> list[str]:
    found = []
    for view, column in zip(views, sources.T, strict=True):
        absent = grid[column < 0]
        if len(absent):
            found.append(
                f"view {view}: {len(absent)} of {len(grid)} frames have no file (first: {absent[0]}); they count "
                "as not detected"
            )
    return found


def _common_rate(rates: Mapping[str, float | None], length: int, warnings: list[str]) -> float:
    """The rate of all views, which may differ by what does not matter over ``length`` frames."""
    known = {view: rate for view, rate in rates.items() if rate}
    if not known:
        warnings.append(
            f"no video or time stamps tell the frame rate: {DEFAULT_FPS:.0f} frames per second assumed; give "
            "--fps if it is another"
        )
        return DEFAULT_FPS
    apart = max(known.values()) / min(known.values()) - 1
    drift = apart * length
    listed = ", ".join(f"{view} {rate:.6g}" for view, rate in known.items())
    told = f"videos run at different rates ({listed} frames per second)"
    if apart > RATE_TOLERANCE and drift >= HARMLESS_DRIFT:
        raise InputError(
            f"{told}: {drift:.1f} frames apart at the end, so equal frame numbers are not the same instant;"
            " run refit-mv sync, add timestamps.csv (cam_id, frame_time), or give --fps if the rates in the files are "
            "wrong"
        )
    if drift >= HARMLESS_DRIFT:
        warnings.append(
            f"{told}: if they are true, equal numbers are {drift:.1f} frames apart at the end; "
            "add timestamps.csv (cam_id, frame_time) if views drift apart"
        )
    elif apart > RATE_TOLERANCE:
        warnings.append(f"{told}: {drift:.2f} frames apart at the end, which is harmless in so short a recording")
    return float(np.median(list(known.values())))


def pair_by_time(
    numbers: Mapping[str, Int[np.ndarray, " file"]],
    times: Mapping[str, Float[np.ndarray, " row"]],
    frames: slice | None,
) -> FramePairing:
    """Pair frames by time: an even time line over the views' common span, and on it each view's nearest frame within
    half a step.

    The time line follows the first of the fastest views (its phase and its mean rate). ``frames`` selects positions on
    it.

    Raises:
        InputError: files that the table does not cover, views that never run at the same time, a selection outside.
    """
    warnings: list[str] = []
    own_times: dict[str, np.ndarray] = {}
    own_numbers: dict[str, np.ndarray] = {}
    for view, own in numbers.items():
        own_times[view], own_numbers[view] = table_times(view, own, times[view], warnings), own
    rates = {
        view: (len(values) - 1) / float(values[-1] - values[0]) for view, values in times.items() if view in numbers
    }
    fps = max(rates.values())
    leader = next(view for view, rate in rates.items() if rate > fps * (1 - RATE_TOLERANCE))
    fps = rates[leader]
    begin, end = max(values[0] for values in own_times.values()), min(values[-1] for values in own_times.values())
    lead = own_times[leader]
    inside = lead[(lead >= begin - 0.5 / fps) & (lead <= end + 0.5 / fps)]
    if len(inside) == 0:
        spans = ", ".join(f"{view} {values[0]:.3f}-{values[-1]:.3f} s" for view, values in own_times.items())
        raise InputError(f"the views never run at the same time: {spans}; check the time stamps")
    count = round((inside[-1] - inside[0]) * fps) + 1
    # The phase is the leader's median offset, so that one late frame at the start does not push all its frames to the
    # edge of their steps.
    phase = float(np.median((inside - inside[0]) * fps - np.round((inside - inside[0]) * fps)))
    line = inside[0] + (np.arange(count) + phase) / fps
    sources = np.stack([_nearest(line, fps, own_times[view], own_numbers[view]) for view in numbers], axis=1)
    for view, rate in rates.items():
        if view not in numbers or abs(rate / fps - 1) * count <= 0.5:
            continue
        warnings.append(
            f"view {view} runs at {rate:.4f} against {fps:.4f} frames per second of {leader}: "
            f"{abs(rate / fps - 1) * count:.1f} frames apart"
            " over the recording; paired by time, so each frame is right, but some have no partner"
        )
    chosen = checked(frames)
    picked = np.arange(count)[chosen]
    if len(picked) == 0:
        raise InputError(
            f"no frames selected: the paired recording has frames 0 to {count - 1}, asked for "
            f"{chosen.start}:{chosen.stop}"
        )
    sources = sources[picked]
    warnings += _missing(tuple(numbers), picked, sources)
    return FramePairing(picked, sources, fps / chosen.step, tuple(warnings))


def table_times(
    view: str, own: Int[np.ndarray, " file"], times: Float[np.ndarray, " row"], warnings: list[str]
) -> Float[np.ndarray, " file"]:
    """When a view's frames of these numbers were taken, by its rows of a table.

    Raises:
        InputError: files that the table does not cover.
    """
    shift = 0
    if own[0] == 1 and own[-1] == len(times):
        shift = 1
        warnings.append(
            f"view {view}: files are numbered from 1; number 1 is taken as the first row of the time stamps"
        )
    if own[-1] - shift >= len(times):
        raise InputError(
            f"view {view} has frame {own[-1]}, but the time stamps list only {len(times)} frames; are "
            "they of this recording?"
        )
    return times[own - shift]


def _nearest(line: np.ndarray, fps: float, times: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Each frame goes to its nearest instant of the line; of two at one instant the nearer stays."""
    position = np.rint((times - line[0]) * fps).astype(np.int64)
    off = np.abs((times - line[0]) * fps - position)
    result = np.full(len(line), -1, dtype=np.int64)
    order = np.argsort(-off, kind="stable")  # nearer frames are written last and stay
    order = order[(position[order] >= 0) & (position[order] < len(line))]
    result[position[order]] = numbers[order]
    return result
