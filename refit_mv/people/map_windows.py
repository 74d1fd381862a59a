"""What a detector's maps say around a fitted body, kept small: of each map a window around where the point was
expected, read again whenever the body has moved.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from refit_mv.detect.crop import Crop
from refit_mv.detect.heatmaps import Places, near

# Cells of a window's side. In a crop that holds a standing person a cell is 33 mm wide: the widest reading reaches
# 80 mm (one standard deviation) to every side.
SIDE = 20
# Heat is kept in so many steps.
STEPS = 255


@dataclass(frozen=True, eq=False)
class MapWindows:
    """Windows of one crop's maps. ``corner`` is each window's first row and column, ``cells`` how many the map has
    (rows and columns); ``packed`` the heat, one byte a cell, compressed: 3.5 kB instead of 13 for 33 points.
    """

    corner: Int[np.ndarray, "joint 2"]
    cells: tuple[int, int]
    packed: bytes

    @staticmethod
    def around(heat: Float[np.ndarray, "joint row column"], expected: Float[np.ndarray, "joint 2"]) -> "MapWindows":
        """The windows around places given as shares of the crop; those far outside hold no heat."""
        rows, columns = heat.shape[1:]
        limits = np.array([rows, columns])
        corner = np.floor(expected[:, ::-1].clip(-1, 2) * limits).astype(np.int64) - SIDE // 2
        padded = np.pad(np.rint(heat * STEPS).astype(np.uint8), ((0, 0), (SIDE, SIDE), (SIDE, SIDE)))
        first = corner.clip(-SIDE, limits) + SIDE
        steps = np.arange(SIDE)
        joint = np.arange(len(heat))[:, None, None]
        cut = padded[joint, (first[:, :1] + steps)[:, :, None], (first[:, 1:] + steps)[:, None, :]]
        return MapWindows(first - SIDE, (rows, columns), zlib.compress(cut.tobytes(), 1))

    @property
    def heat(self) -> Float[np.ndarray, "joint row column"]:
        """The windows, 0 to 1."""
        kept = np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8)
        return kept.reshape(len(self.corner), SIDE, SIDE).astype(np.float64) / STEPS

    def read(self, crop: Crop, expected: Float[np.ndarray, "joint 2"], spread: Float[np.ndarray, " joint"]) -> Places:
        """:func:`near` in pixels of the picture, where the crop lies in it."""
        limits = np.array(self.cells[::-1])
        corner, window = self.corner[:, ::-1] / limits, SIDE / limits
        shares = (crop.from_picture(expected) - corner) / window
        # Cells are squares of the crop: both axes have the same scale.
        scale = crop.size * float(window[0])
        told = near(self.heat, shares, spread / scale)
        return Places(crop.to_picture(corner + told.middle * window), told.spread * scale)


def packed(windows: Sequence[MapWindows | None]) -> dict[str, np.ndarray]:
    """Arrays for an archive; none where no maps were asked for."""
    known = [each for each in windows if each is not None]
    if len(known) < len(windows) or not known:
        return {}
    return {
        "map_corner": np.stack([each.corner for each in known]).astype(np.int16),
        "map_cells": np.array([each.cells for each in known], dtype=np.int16),
        "map_end": np.cumsum([len(each.packed) for each in known]),
        "map_heat": np.frombuffer(b"".join(each.packed for each in known), dtype=np.uint8),
    }


def unpacked(arrays: Mapping[str, np.ndarray], count: int) -> list[MapWindows | None]:
    """The inverse of :func:`packed`, of ``count`` answers.

    Raises:
        ValueError, KeyError: arrays that do not fit together.
    """
    if "map_heat" not in arrays:
        return [None] * count
    heat, ends = arrays["map_heat"].tobytes(), arrays["map_end"].tolist()
    joined = zip(arrays["map_corner"], arrays["map_cells"].tolist(), [0, *ends[:-1]], ends, strict=True)
    return [MapWindows(corner.astype(np.int64), tuple(cells), heat[at:end]) for corner, cells, at, end in joined]
