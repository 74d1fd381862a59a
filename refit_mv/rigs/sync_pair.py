"""How alike two views' movements are for every offset and drift between their clocks: correlation in windows over the
take, added up along straight lines.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy.fft import irfft, rfft
from scipy.fft import next_fast_len

from refit_mv.rigs.sync_signals import Movement

# Correlation is added up in windows about so long; one drift of the largest size moves them by 80 ms meanwhile.
WINDOW_SECONDS = 8.0
LARGEST_DRIFT = 0.01
# The largest drift must explain more than none, by this share: one event alone fits them all.
DOUBT_OF_DRIFT = 0.02
# Offsets are looked for within so many seconds.
REACH_SECONDS = 20.0
# Nor do they reach beyond this share of the take.
REACH_SHARE = 0.5
# An offset is judged where at least this share of the most common points is common.
LEAST_OVERLAP = 0.4
# Peaks nearer to the best than this are its own slopes, seconds.
OWN_SLOPE = 0.25


@dataclass(frozen=True, eq=False)
class Correlation:
    """Two views' movements against each other. ``values`` are sums of products of whitened velocities, over the points
    of a ``window`` of the first view, the second one read ``lags`` seconds later on its own clock, ``counts`` how many
    points, and ``own`` each view's products with itself over the same points. ``middle`` is the windows' middle on the
    first view's clock.
    """

    first: str
    second: str
    lags: Float[np.ndarray, " lag"]
    middle: Float[np.ndarray, " window"]
    values: Float[np.ndarray, "window lag 2 2"]
    counts: Float[np.ndarray, "window lag"]
    own: Float[np.ndarray, "window lag view 2 2"]


@dataclass(frozen=True, eq=False)
class Peak:
    """Where two movements are most alike: ``lag`` seconds at the take's middle, and the ``drift``. ``height`` is the
    canonical correlation there, ``runner_up`` the best one of another lag, ``other_lag``.
    """

    lag: float
    drift: float
    height: float
    runner_up: float
    other_lag: float


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
    """Correlate two views. ``reach`` bounds the lags, seconds; by default they go as far as ``REACH_SECONDS``, or a
    share of the take.
    """
    step = 1 / first.rate
    line, other = (np.arange(each.times[0], each.times[-1] + 1e-9, step) for each in (first, second))
    one, seen = first.at(line)
    two, other_seen = second.at(other)
    one, two = whitened(one, seen), whitened(two, other_seen)
    shortest = min(len(line), len(other)) * step
    apart = float(other[0] - line[0])
    if reach is None:
        most = min(REACH_SECONDS, REACH_SHARE * shortest)
        reach = (-most, most)
    low, high = int(np.floor(reach[0] / step)), int(np.ceil(reach[1] / step))
    windows = max(1, round(len(line) * step / window_seconds))
    bounds = np.linspace(0, len(line), windows + 1).round().astype(int)
    values, counts, own = [], [], []
    shift = round(apart / step)
    residue = apart - shift * step
    for start, stop in pairwise(bounds.tolist()):
        begin, end = start + low - shift, stop + high - shift
        values.append(_products(one[start:stop], _cut(two, begin, end), high - low + 1))
        # What both show, and each one's products with itself where the other one shows something.
        weights = _products(
            _squares(one, seen)[start:stop], _cut(_squares(two, other_seen), begin, end), high - low + 1
        )
        counts.append(weights[:, 0, 0])
        own.append(np.stack([_symmetric(weights[:, 1:, 0]), _symmetric(weights[:, 0, 1:])], 1))
    lags = (np.arange(high - low + 1) + low) * step + residue
    middle = line[0] + (bounds[:-1] + bounds[1:] - 1) / 2 * step
    return Correlation(first.view, second.view, lags, middle, *map(np.stack, (values, counts, own)))


def _cut(values: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Rows begin to end, zeros where there are none."""
    found = np.zeros((end - begin, *values.shape[1:]))
    low, high = max(begin, 0), min(end, len(values))
    if low < high:
        found[low - begin : high - begin] = values[low:high]
    return found


def _products(one: np.ndarray, two: np.ndarray, lags: int) -> Float[np.ndarray, "lag channel channel"]:
    """Sums over time and joints of one's rows times two's rows so many later."""
    length = next_fast_len(len(two) + len(one), True)
    spectrum = np.einsum("fja,fjb->fab", rfft(one, length, axis=0).conj(), rfft(two, length, axis=0))
    return irfft(spectrum, length, axis=0)[:lags]


def find_peak(found: Correlation) -> Peak | None:
    """The best offset and drift; None where views have too little in common."""
    step = float(found.lags[1] - found.lags[0])
    middle = found.middle - found.middle.mean()
    span = float(np.ptp(found.middle)) + WINDOW_SECONDS
    drifts = np.arange(-LARGEST_DRIFT, LARGEST_DRIFT + 1e-12, min(step / span, LARGEST_DRIFT))
    drifts = np.unique(np.append(drifts, 0.0)) if len(middle) > 2 else np.zeros(1)
    likely, alike = (np.full((len(drifts), len(found.lags)), -np.inf) for _ in range(2))
    for row, drift in enumerate(drifts):
        shifts = np.round(drift * middle / step).astype(int)
        values, counts, own = (_along(each, shifts) for each in (found.values, found.counts, found.own))
        share = counts / max(float(found.counts.sum(0).max()), 1.0)
        height = np.linalg.norm(canonical(values, own), ord=2, axis=(1, 2)).clip(0, 0.9999)
        enough = share >= LEAST_OVERLAP
        alike[row] = np.where(enough, height, -np.inf)
        # Likeness of few points says less: the likelihood ratio of Gaussians.
        likely[row] = np.where(enough, -share * np.log1p(-(height**2)), -np.inf) * (
            1 - DOUBT_OF_DRIFT * (drift / LARGEST_DRIFT) ** 2
        )
    if not np.isfinite(likely).any():
        return None
    row, place = np.unravel_index(int(likely.argmax()), likely.shape)
    by_lag = alike.max(0)
    others = _local_peaks(by_lag) & np.isfinite(by_lag) & (np.abs(found.lags - found.lags[place]) > OWN_SLOPE)
    runner = int(np.where(others, by_lag, -np.inf).argmax()) if others.any() else place
    return Peak(
        float(found.lags[place]),
        float(drifts[row]),
        float(alike[row, place]),
        float(by_lag[runner]) if others.any() else 0.0,
        float(found.lags[runner]),
    )


def canonical(
    values: Float[np.ndarray, "*lag 2 2"], own: Float[np.ndarray, "*lag view 2 2"]
) -> Float[np.ndarray, "*lag 2 2"]:
    """Products of two velocities as correlations of whitened ones: singular values are canonical correlations."""
    one, two = (_whitener(own[..., view, :, :]) for view in (0, 1))
    return one @ values @ np.swapaxes(two, -1, -2)


def directions(
    left: Float[np.ndarray, " 2"], right: Float[np.ndarray, " 2"], own: Float[np.ndarray, "view 2 2"]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    """The two components that correlate, for velocities as they are instead of whitened ones."""
    return _whitener(own[0]).T @ left, _whitener(own[1]).T @ right


def _whitener(covariance: Float[np.ndarray, "*lag 2 2"]) -> Float[np.ndarray, "*lag 2 2"]:
    trace = np.trace(covariance, axis1=-2, axis2=-1)
    held = covariance + (1e-6 * trace + 1e-9)[..., None, None] * np.eye(2)
    return np.linalg.inv(np.linalg.cholesky(held))


def _squares(velocity: np.ndarray, seen: np.ndarray) -> Float[np.ndarray, "line joint 4"]:
    """Whether a point is seen, and the three different products of its velocity with itself."""
    across, down = velocity[..., 0], velocity[..., 1]
    return np.stack([seen, across * across, across * down, down * down], -1)


def _symmetric(products: Float[np.ndarray, "lag 3"]) -> Float[np.ndarray, "lag 2 2"]:
    return products[:, [0, 1, 1, 2]].reshape(-1, 2, 2)


def _local_peaks(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, 1, constant_values=-np.inf)
    return (values >= padded[:-2]) & (values >= padded[2:])


def _along(values: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Sum of the windows' rows, each read so many lags later; nothing beyond the ends."""
    total = np.zeros(values.shape[1:])
    for window, shift in zip(values, shifts.tolist(), strict=True):
        total += _cut(window, shift, shift + len(window))
    return total
