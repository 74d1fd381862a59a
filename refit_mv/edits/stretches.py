"""Which frames are solved anew around those that somebody corrected, and how much the new solution counts in each."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

# Beside the corrected frames so many seconds, and frames at least, belong to a stretch: the new motion counts less and
# less there, until the old one goes on as it was.
MARGIN_S, FEWEST_MARGIN_FRAMES = 0.4, 8
# What a correction changes in its own neighbours by way of the motion is kept in this share of the margin.
KEPT = 0.3
# Stretches nearer to each other than this are one: a stretch is held by two frames that stay, on either side.
APART = 4


def margin_frames(fps: float) -> int:
    """How many frames a stretch goes on beyond the corrected ones."""
    return max(round(MARGIN_S * fps), FEWEST_MARGIN_FRAMES)


@dataclass(frozen=True)
class Stretch:
    """Rows from ``start`` to ``stop`` (exclusive) that are solved together."""

    start: int
    stop: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    def __len__(self) -> int:
        return self.stop - self.start


def stretches(touched: Bool[np.ndarray, " frame"], margin: int) -> tuple[Stretch, ...]:
    """The stretches around the ``touched`` frames, in order, apart from each other."""
    found: list[Stretch] = []
    for row in np.flatnonzero(touched).tolist():
        start, stop = max(0, row - margin), min(len(touched), row + 1 + margin)
        if found and start - found[-1].stop < APART:
            found[-1] = Stretch(found[-1].start, stop)
        else:
            found.append(Stretch(start, stop))
    return tuple(found)


def share_of_new(touched: Bool[np.ndarray, " frame"], margin: int) -> Float[np.ndarray, " frame"]:
    """How much the new motion counts: 1 in the touched frames and next to them, from there down to 0 at the end of the
    margin, with continuous second derivatives, so that velocities and accelerations have no step.
    """
    if not touched.any():
        return np.zeros(len(touched))
    away = np.abs(_nearest(np.flatnonzero(touched), len(touched)) - np.arange(len(touched)))
    kept = round(KEPT * margin)
    left = np.clip(1 - (away - kept) / (margin + 1 - kept), 0, 1)
    return left**3 * (10 - 15 * left + 6 * left**2)


def _nearest(rows: Int[np.ndarray, " row"], count: int) -> Int[np.ndarray, " frame"]:
    """The nearest of the rows to each frame."""
    after = np.searchsorted(rows, np.arange(count)).clip(0, len(rows) - 1)
    before = (after - 1).clip(0)
    place = np.arange(count)
    return np.where(np.abs(rows[before] - place) <= np.abs(rows[after] - place), rows[before], rows[after])
