"""Windows of maps say what the whole maps say, wherever the crop lies, and survive the disk."""

import numpy as np
import pytest

from refit_mv.detect.crop import Crop
from refit_mv.detect.heatmaps import near
from refit_mv.people.map_windows import MapWindows, packed, unpacked

CROP = Crop(120.0, 80.0, 200.0, 0.4)


def maps(places: np.ndarray, width: float = 0.03) -> np.ndarray:
    row, column = np.mgrid[:64, :64] / 64
    return np.stack([0.95 * np.exp(-0.5 * ((column - x) ** 2 + (row - y) ** 2) / width**2) for x, y in places])


def test_a_window_says_what_the_map_says():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.7, (12, 2))
    heat, asked = maps(truth), truth + rng.normal(0, 0.02, truth.shape)
    # The body has moved since the question was asked.
    expected, spread = asked + rng.normal(0, 0.02, truth.shape), np.full(12, 0.03)
    windows = MapWindows.around(heat, asked)
    told = windows.read(CROP, CROP.to_picture(expected), spread * CROP.size)
    whole = near(heat, expected, spread)
    assert np.abs(CROP.from_picture(told.middle) - whole.middle).max() < 1e-3
    assert told.spread / CROP.size == pytest.approx(whole.spread, rel=0.05)
    assert np.linalg.norm(whole.middle - truth, axis=1).max() < 0.03


def test_windows_beyond_the_map_hold_no_heat():
    heat = np.ones((3, 64, 64))
    windows = MapWindows.around(heat, np.array([[0.0, 0.0], [5.0, 0.5], [0.5, -9.0]]))
    assert windows.heat[0].sum() == 100 and windows.heat[1].sum() == 0 and windows.heat[2].sum() == 0
    told = windows.read(CROP, CROP.to_picture(np.array([[0.0, 0.0], [5.0, 0.5], [0.5, -9.0]])), np.full(3, 6.0))
    assert np.isfinite(told.middle).all() and np.isfinite(told.spread).all()


def test_windows_survive_the_disk():
    rng = np.random.default_rng(1)
    kept = [MapWindows.around(maps(rng.uniform(0, 1, (5, 2))), rng.uniform(0, 1, (5, 2))) for _ in range(3)]
    again = unpacked(packed(kept), 3)
    for one, other in zip(kept, again, strict=True):
        assert other is not None and other.cells == one.cells
        assert np.array_equal(one.corner, other.corner) and np.array_equal(one.heat, other.heat)
    assert packed([None, None]) == {} and unpacked({}, 2) == [None, None]
    with pytest.raises(ValueError, match="zip"):
        unpacked({**packed(kept), "map_end": np.array([1])}, 3)
