"""How people's points move in one view: a signal that other views share, whatever they see it from.

Two cameras far enough from what they film are affine, and two affine pictures of one point agree along one direction
each (their epipolar lines are parallel; Koenderink & van Doorn, 1991). So of every point's image velocity one component
is the same in two views, up to scale, whichever way the cameras are turned; upright ones share the vertical.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import convolve1d, median_filter

from refit_mv.session.between import same_people
from refit_mv.session.own_frames import OwnFrames

# Velocities are smooth over a tenth of a second: more samples a second say no more.
RATE = 30.0
# Slopes are taken over this long (standard deviation of a Gaussian, seconds): detectors' jitter is quicker, people are
# slower.
SMOOTH = 0.05
# A slope needs this share of its window's frames.
LEAST_SHARE = 0.4
# Sizes of people change slowly: they are smoothed over this long, seconds.
SIZE_SECONDS = 1.0
# Faster points than this many times the usual are a detector's errors.
FASTEST = 4.0


@dataclass(frozen=True, eq=False)
class Movement:
    """Image velocities in sizes of the person a second at ``times`` of the view's own clock, people added up. ``seen``
    is 0 where nothing is known. Sound and light are compared as movements too, their bands in the place of joints;
    ``rate`` is how many samples a second hold all that there is.
    """

    view: str
    times: Float[np.ndarray, " own"]
    velocity: Float[np.ndarray, "own joint 2"]
    seen: Float[np.ndarray, "own joint"]
    rate: float = RATE

    def at(self, times: Float[np.ndarray, " line"]) -> tuple[np.ndarray, np.ndarray]:
        """Velocity (line, joint, 2) and whether it is known, at any times: straight between those that there are."""
        after = np.searchsorted(self.times, times).clip(1, len(self.times) - 1)
        before = after - 1
        width = self.times[after] - self.times[before]
        share = ((times - self.times[before]) / width)[:, None]
        inside = ((share >= 0) & (share <= 1))[:, 0]
        seen = self.seen[before] * self.seen[after] * inside[:, None]
        way = self.velocity[before] * (1 - share[..., None]) + self.velocity[after] * share[..., None]
        return way * seen[..., None], seen


def movement(frames: OwnFrames) -> Movement:
    """The movement of everybody in a view. People are followed from picture to picture, not told apart: those of other
    views need not be the same ones in the same order.
    """
    pixels, confidence = _in_slots(frames.pixels.astype(np.float64), frames.confidence.astype(np.float64))
    seen = (confidence > 0).astype(np.float64)
    speed = np.zeros((*seen.shape[:1], seen.shape[2], 2))
    known = np.zeros((seen.shape[0], seen.shape[2]))
    for person in range(seen.shape[1]):
        own, there = _velocity(frames.times, pixels[:, person], seen[:, person], frames.step)
        size = _size(pixels[:, person], seen[:, person], frames.step)
        own = np.where(size[:, None, None] > 0, own / np.maximum(size, 1e-9)[:, None, None], 0.0)
        there = there * (size > 0)[:, None]
        speed += own * there[..., None]
        known = np.maximum(known, there)
    return Movement(frames.view, frames.times, _tamed(speed, known), known)


def _in_slots(pixels: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """People in the same place of the person axis from one picture to the next."""
    frames, people = confidence.shape[:2]
    if people == 1:
        return pixels, confidence
    partner = same_people(pixels[:-1], confidence[:-1], pixels[1:], confidence[1:])
    order = np.tile(np.arange(people), (frames, 1))
    for frame in range(1, frames):
        # Who was in a slot before stays there; the others take what is free.
        follows = partner[frame - 1][order[frame - 1]]
        rest = iter([each for each in range(people) if each not in follows])
        order[frame] = [each if each >= 0 else next(rest) for each in follows]
    return (
        np.take_along_axis(pixels, order[:, :, None, None], axis=1),
        np.take_along_axis(confidence, order[:, :, None], axis=1),
    )


def _velocity(
    times: np.ndarray, pixels: Float[np.ndarray, "own joint 2"], seen: Float[np.ndarray, "own joint"], step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of straight lines through the points nearby, pixels a second, and where there are enough of them."""
    steady = _without_spikes(pixels, seen)
    seen = seen * steady
    width = max(SMOOTH / step, 0.8)
    reach = int(np.ceil(2.5 * width))
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    time = (times - times.mean())[:, None]

    def summed(values: np.ndarray) -> np.ndarray:
        return convolve1d(values, window, axis=0, mode="constant")

    count, first, second = summed(seen), summed(seen * time), summed(seen * time**2)
    of_place = summed(seen[..., None] * pixels)
    of_both = summed((seen * time)[..., None] * pixels)
    spread = count * second - first**2
    full = (window * (np.arange(-reach, reach + 1) * step) ** 2).sum() * window.sum()
    enough = (count >= LEAST_SHARE * window.sum()) & (spread > LEAST_SHARE**2 * full)
    slope = (count[..., None] * of_both - first[..., None] * of_place) / np.where(enough, spread, 1.0)[..., None]
    return np.where(enough[..., None], slope, 0.0), enough.astype(np.float64)


def _without_spikes(pixels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Where a point is not far from the middle of its neighbours in time."""
    known = np.where(seen[..., None] > 0, pixels, np.nan)
    filled = _held(known)
    off = np.linalg.norm(filled - median_filter(filled, size=(7, 1, 1), mode="nearest"), axis=-1)
    usual = np.nanmedian(np.where(seen > 0, off, np.nan)) if (seen > 0).any() else 1.0
    return (off <= 6 * max(usual, 1e-6)).astype(np.float64)


def _held(values: np.ndarray) -> np.ndarray:
    """NaN replaced by the last value before (or the first there is)."""
    frames = len(values)
    place = np.where(np.isfinite(values[..., 0]), np.arange(frames)[:, None], -1)
    last = np.maximum.accumulate(place, axis=0)
    first = np.where((place >= 0).any(0), (place >= 0).argmax(0), 0)
    held = np.take_along_axis(values, np.where(last < 0, first, last)[..., None], axis=0)
    return np.nan_to_num(held)


def _size(pixels: np.ndarray, seen: np.ndarray, step: float) -> Float[np.ndarray, " own"]:
    """How large the person is in the picture: the root mean square distance of their points from their middle, the
    usual one of about a second; 0 where nobody knows.
    """
    count = np.maximum(seen.sum(1), 1)
    middle = (pixels * seen[..., None]).sum(1) / count[:, None]
    apart = (np.square(pixels - middle[:, None]).sum(-1) * seen).sum(1) / count
    size = np.where(seen.sum(1) >= 4, np.sqrt(apart), np.nan)
    if not np.isfinite(size).any():
        return np.zeros(len(size))
    held = _held(np.stack([size, size], axis=-1)[:, None])[:, 0, 0]
    length = 2 * int(SIZE_SECONDS / step / 2) + 1
    return np.asarray(median_filter(held, size=min(length, 2 * len(held) - 1), mode="nearest"))


def _tamed(velocity: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Points that are far too fast are slowed down."""
    speed = np.linalg.norm(velocity, axis=-1)
    if not (seen > 0).any():
        return velocity
    limit = FASTEST * float(np.sqrt(np.mean(np.square(np.minimum(speed, np.quantile(speed[seen > 0], 0.9)))[seen > 0])))
    return velocity * np.minimum(1.0, limit / np.maximum(speed, 1e-12))[..., None]
