"""The detector's anchors and windows: as many as the network answers for, and nobody outside every window."""

import numpy as np
import pytest

from refit_mv.detect.anchors import anchors, decoded
from refit_mv.detect.person_finder import windows


def test_there_are_2254_anchors_in_the_middles_of_their_cells():
    found = anchors()
    assert found.shape == (2254, 2)
    assert np.allclose(found[0], 4 / 224) and np.allclose(found[1], found[0])
    # Row by row: two anchors a cell, then the cell to the right.
    assert np.allclose(found[2], [12 / 224, 4 / 224])
    assert np.allclose(found[28 * 28 * 2], 8 / 224)
    assert np.allclose(found[-1], 208 / 224)
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert sorted(set(counts)) == [2, 6] and len(counts) == 28**2 + 14**2 + 7**2


def test_boxes_and_points_are_decoded_from_their_anchor():
    raw = np.zeros((2, 12), dtype=np.float32)
    raw[1, :6] = [22.4, 0, 44.8, 89.6, 11.2, -11.2]
    boxes, points = decoded(raw, np.array([[0.5, 0.5], [0.5, 0.25]]))
    assert boxes == pytest.approx(np.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.05, 0.7, 0.45]]))
    assert points.shape == (2, 4, 2)
    assert points[1, :2] == pytest.approx(np.array([[0.55, 0.2], [0.5, 0.25]]))
    empty = decoded(raw[:0], np.zeros((0, 2)))
    assert empty[0].shape == (0, 4) and empty[1].shape == (0, 4, 2)


@pytest.mark.parametrize("size", [(1088, 1920), (1280, 720), (640, 640), (100, 3000), (1, 1)])
def test_windows_cover_the_picture_and_overlap(size):
    found = windows(*size)
    assert len(set(found)) == len(found)
    assert found[0].size == max(size)
    for side in {window.size for window in found}:
        low = np.array([[window.x - side / 2, window.y - side / 2] for window in found if window.size == side])
        for axis, length in enumerate(size):
            starts = np.unique(low[:, axis])
            assert starts[0] <= -0.5 + 1e-9 and starts[-1] + side >= length - 0.5 - 1e-9
            assert (np.diff(starts) <= side / 2 + 1e-6).all()
            # A window that fits reaches over no edge.
            assert side > length or (starts[0] >= -0.5 - 1e-6 and starts[-1] + side <= length - 0.5 + 1e-6)
