"""Which frames to use where there are more than needed: those that show the board where, and as, no other does."""

import numpy as np
from jaxtyping import Float, Int

from calib.board.scene import Sightings

# Cells of a picture along its width and height.
CELLS = (8, 6)
_TILTS = 9


def spread_frames(
    seen: Sightings, sizes: tuple[tuple[int, int], ...], tilts: Int[np.ndarray, " view"], most: int
) -> Int[np.ndarray, " chosen"]:
    """At most ``most`` frames (ascending): greedily the one that adds most to what has been seen least, cells of each
    camera's picture and tilts of the board in it, each further time counting less. Frames of several cameras add to
    all of them, and so come first.
    """
    frames = np.unique(seen.frame)
    if len(frames) <= most:
        return frames
    features = _features(seen, sizes, tilts, frames)
    count = np.zeros(features.shape[1])
    left = np.ones(len(frames), bool)
    chosen = []
    for _ in range(most):
        gain = np.where(left, features @ (1 / (1 + count) ** 2), -1.0)
        best = int(gain.argmax())
        left[best] = False
        count += features[best]
        chosen.append(frames[best])
    return np.sort(np.array(chosen))


def _features(
    seen: Sightings, sizes: tuple[tuple[int, int], ...], tilts: np.ndarray, frames: np.ndarray
) -> Float[np.ndarray, "frame feature"]:
    per_camera = CELLS[0] * CELLS[1] + _TILTS
    features = np.zeros((len(frames), len(sizes) * per_camera))
    row = np.searchsorted(frames, seen.frame)
    for view in range(len(seen)):
        camera = seen.camera[view]
        cells = np.unique(cells_of(seen.pixels[view][seen.seen[view]], sizes[camera]))
        base = camera * per_camera
        features[row[view], base + cells] = 1
        features[row[view], base + CELLS[0] * CELLS[1] + tilts[view]] = 3
    return features


def cells_of(pixels: Float[np.ndarray, "point 2"], size: tuple[int, int]) -> Int[np.ndarray, " point"]:
    """Numbers of the cells that pixels lie in, row by row."""
    cell = (pixels / np.array(size) * np.array(CELLS)).astype(int).clip(0, np.array(CELLS) - 1)
    return cell[:, 1] * CELLS[0] + cell[:, 0]


def coverage(seen: Sightings, camera: int, size: tuple[int, int]) -> float:
    """Share of a picture's cells in which a camera saw the board."""
    rows = seen.camera == camera
    cells = cells_of(seen.pixels[rows][seen.seen[rows]], size)
    return len(np.unique(cells)) / (CELLS[0] * CELLS[1])
