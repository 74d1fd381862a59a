"""How alike two views' movements are for every offset and drift between their clocks: correlation in windows over the
take, added up along straight lines.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.fft import irfft, next_fast_len, rfft

from refit_mv.rigs.sync_signals import Movement

# Velocities are smooth over a tenth of a second: more samples a second say no more.
RATE = 30.0
# Correlation is added up in windows about so long; one drift of the largest size moves them by 80 ms meanwhile.
WINDOW_SECONDS = 8.0
LARGEST_DRIFT = 0.01
# Offsets are looked for within so many seconds.
REACH_SECONDS = 20.0
# An offset is judged where at least this share of the most common points is common.
LEAST_OVERLAP = 0.25
# Peaks nearer to the best than this are its own slopes, seconds.
OWN_SLOPE = 0.25


@dataclass(frozen=True, eq=False)
class Correlation:
    """Two views' movements against each other. ``values`` are sums of products of whitened velocities, over the points
    of a ``window`` of the first view, the second one read ``lags`` seconds later on its own clock; ``middle`` is the
    windows' middle on the first view's clock.
    """

    first: str
    second: str
    lags: Float[np.ndarray, " lag"]
    middle: Float[np.ndarray, " window"]
    values: Float[np.ndarray, "window lag 2 2"]
    counts: Float[np.ndarray, "window lag"]


@dataclass(frozen=True, eq=False)
class Peak:
    """Where two movements are most alike: ``lag`` seconds at the take's middle, and the ``drift``. ``height`` is the
    canonical correlation, ``runner_up`` the best of another lag, at ``other_lag``, and ``prominence`` how far the
    height stands out of all other lags', in their usual scatter. ``directions`` are those of the two pictures that
    agree (whitened).
    """

    lag: float
    drift: float
    height: float
    runner_up: float
    other_lag: float
    prominence: float
    directions: tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]


def whitened(velocity: Float[np.ndarray, "line joint 2"], seen: Float[np.ndarray, "line joint"]) -> np.ndarray:
    """Velocities of unit covariance over all points."""
    count = max(float(seen.sum()), 1.0)
    covariance = np.einsum("tja,tjb->ab", velocity, velocity) / count
    values, vectors = np.linalg.eigh(covariance + 1e-9 * max(np.trace(covariance), 1e-12) * np.eye(2))
    return velocity @ (vectors / np.sqrt(values)) @ vectors.T


def correlate(
    first: Movement,
    second: Movement,
    reach: tuple[float, float] | None = None,
    window_seconds: float = WINDOW_SECONDS,
) -> Correlation:
    """Correlate two views. ``reach`` bounds the lags, seconds; by default they go as far as the takes overlap by half,
    and no farther than ``REACH_SECONDS``.
    """
    step = 1 / RATE
    own, other = (np.arange(each.times[0], each.times[-1] + 1e-9, step) for each in (first, second))
    one, seen = first.at(own)
    two, other_seen = second.at(other)
    one, two = whitened(one, seen), whitened(two, other_seen)
    shortest = min(len(own), len(other)) * step
    apart = float(other[0] - own[0])
    if reach is None:
        most = min(REACH_SECONDS, shortest / 2)
        reach = (-most, most)
    low, high = int(np.floor(reach[0] / step)), int(np.ceil(reach[1] / step))
    windows = max(1, round(len(own) * step / window_seconds))
    bounds = np.linspace(0, len(own), windows + 1).round().astype(int)
    values, counts = [], []
    shift = round(apart / step)
    residue = apart - shift * step
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True):
        begin, end = start + low - shift, stop + high - shift
        values.append(_products(one[start:stop], _cut(two, begin, end), high - low + 1))
        counts.append(_products(seen[start:stop, :, None], _cut(other_seen[..., None], begin, end), high - low + 1))
    lags = (np.arange(high - low + 1) + low) * step + residue
    middle = own[0] + (bounds[:-1] + bounds[1:] - 1) / 2 * step
    return Correlation(first.view, second.view, lags, middle, np.stack(values), np.stack(counts)[..., 0, 0])


def _cut(values: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Rows begin to end, zeros where there are none."""
    found = np.zeros((end - begin, *values.shape[1:]))
    low, high = max(begin, 0), min(end, len(values))
    if low < high:
        found[low - begin : high - begin] = values[low:high]
    return found


def _products(one: np.ndarray, two: np.ndarray, lags: int) -> Float[np.ndarray, "lag channel channel"]:
    """Sums over time and joints of one's rows times two's rows so many later."""
    length = next_fast_len(len(two) + len(one), real=True)
    spectrum = np.einsum("fja,fjb->fab", rfft(one, length, axis=0).conj(), rfft(two, length, axis=0))
    return irfft(spectrum, length, axis=0)[:lags]


def find_peak(found: Correlation) -> Peak | None:
    """The best offset and drift; None where views have too little in common."""
    step = 1 / RATE
    middle = found.middle - found.middle.mean()
    span = float(np.ptp(found.middle)) + WINDOW_SECONDS
    drifts = np.arange(-LARGEST_DRIFT, LARGEST_DRIFT + 1e-12, min(step / span, LARGEST_DRIFT))
    drifts = np.unique(np.append(drifts, 0.0)) if len(middle) > 2 else np.zeros(1)
    scores = np.full((len(drifts), len(found.lags)), -np.inf)
    totals = np.zeros((len(drifts), len(found.lags), 2, 2))
    for row, drift in enumerate(drifts):
        shifts = np.round(drift * middle / step).astype(int)
        values, counts = (_along(each, shifts) for each in (found.values, found.counts))
        enough = counts >= LEAST_OVERLAP * found.counts.sum(0).max()
        totals[row] = values / np.maximum(counts, 1)[:, None, None]
        scores[row] = np.where(enough, np.linalg.norm(totals[row], ord=2, axis=(1, 2)), -np.inf)
    if not np.isfinite(scores).any():
        return None
    row, place = np.unravel_index(int(scores.argmax()), scores.shape)
    height = float(scores[row, place])
    left, _, right = np.linalg.svd(totals[row, place])
    by_lag = scores.max(0)
    others = np.isfinite(by_lag) & (np.abs(found.lags - found.lags[place]) > OWN_SLOPE)
    peaks = others & _local_peaks(by_lag)
    runner = int(np.where(peaks, by_lag, -np.inf).argmax()) if peaks.any() else place
    rest = by_lag[others]
    scatter = 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) if len(rest) else 1.0
    return Peak(
        float(found.lags[place]),
        float(drifts[row]),
        height,
        float(by_lag[runner]) if peaks.any() else 0.0,
        float(found.lags[runner]),
        (height - float(np.median(rest))) / max(scatter, 1e-9) if len(rest) else 0.0,
        (left[:, 0], right[0]),
    )


def _local_peaks(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, 1, constant_values=-np.inf)
    return (values >= padded[:-2]) & (values >= padded[2:])


def _along(values: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Sum of the windows' rows, each read so many lags later; nothing beyond the ends."""
    total = np.zeros(values.shape[1:])
    for window, shift in zip(values, shifts, strict=True):
        total += _cut(window, shift, shift + len(window))
    return total
