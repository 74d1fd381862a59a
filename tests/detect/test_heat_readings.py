"""Maps read where a point is expected: known maxima of products of Gaussians, and modes that must not win."""

import numpy as np
import pytest

from refit_mv.detect.heatmaps import SHARPNESS, claimed, heat_of, mirrored_back, near

CELLS = 64


def bump(places: list[tuple[float, float]], width: float, height: float = 0.9) -> np.ndarray:
    """One map with Gaussian bumps at shares (x, y) of the crop; a cell stands for its upper left corner."""
    row, column = np.mgrid[:CELLS, :CELLS] / CELLS
    return sum(height * np.exp(-0.5 * ((column - x) ** 2 + (row - y) ** 2) / width**2) for x, y in places)[None]


def test_a_reading_is_the_product_of_map_and_expectation():
    width, spread = 0.04, 0.05
    told = near(bump([(0.53, 0.41)], width), np.array([[0.5, 0.45]]), np.array([spread]))
    sharp = width**2 / SHARPNESS
    share = spread**2 / (spread**2 + sharp)
    assert told.middle[0] == pytest.approx([0.5 + 0.03 * share, 0.45 - 0.04 * share], abs=5e-4)
    # What the map alone leaves open.
    assert told.spread[0] == pytest.approx(np.sqrt(sharp), rel=0.05)


def test_another_mode_that_is_hotter_and_far_off_does_not_win():
    heat = np.maximum(bump([(0.8, 0.5)], 0.03, 0.99), bump([(0.4, 0.5)], 0.03, 0.5))
    told = near(heat, np.array([[0.42, 0.5]]), np.array([0.04]))
    assert told.middle[0] == pytest.approx([0.4, 0.5], abs=0.01)
    # Without the expectation the hotter one would have it.
    wide = near(heat, np.array([[0.42, 0.5]]), np.array([1.0]))
    assert wide.middle[0, 0] > 0.6


def test_a_cold_map_leaves_a_point_where_it_was_expected_and_makes_no_evidence_of_it():
    told = near(np.zeros((1, CELLS, CELLS)), np.array([[0.42, 0.51]]), np.array([0.05]))
    assert told.middle[0] == pytest.approx([0.42, 0.51], abs=1e-6)
    assert told.spread[0] > 1.0 and claimed(told.spread, np.zeros(1))[0] < 0.02
    outside = near(np.ones((1, CELLS, CELLS)), np.array([[40.0, -3.0]]), np.array([0.05]))
    assert outside.middle[0] == pytest.approx([40.0, -3.0]) and outside.spread[0] > 1.0


def test_a_mirrored_picture_has_its_points_where_the_picture_has_them():
    place = (0.3, 0.6)
    plain = bump([place], 0.04)
    mirrored = bump([(1 - place[0], place[1])], 0.04)
    assert mirrored_back(mirrored)[:, :, 1:] == pytest.approx(plain[:, :, 1:], abs=1e-6)


def test_heat_is_what_logits_say():
    logits = np.zeros((2, 3, 4), dtype=np.float32)
    logits[1, 2, 3] = 100.0
    heat = heat_of(logits)
    assert heat.shape == (4, 2, 3) and heat[3, 1, 2] == pytest.approx(1) and heat[0, 0, 0] == 0.5


def test_sharper_maps_claim_more():
    spread = np.array([0.02, 0.04, 0.08])
    claims = claimed(spread, np.full(3, 0.6))
    assert (np.diff(claims) < -0.05).all() and ((claims > 0) & (claims < 1)).all()
    sure = claimed(np.full(2, 0.04), np.array([0.2, 0.9]))
    assert sure[0] < sure[1]
