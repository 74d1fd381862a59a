"""Crops: the way there and back, what lies where in the picture that is cut, and the direction of their turn."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit_mv.detect.crop import Crop, crop_up_to, cut

CROPS = st.builds(
    Crop, st.floats(-500, 2000), st.floats(-500, 2000), st.floats(1, 3000), st.floats(-7, 7, allow_subnormal=False)
)


@given(CROPS, st.integers(0, 2**32 - 1))
def test_points_go_there_and_back(crop, seed):
    points = np.random.default_rng(seed).uniform(-1, 2, (3, 5, 2))
    assert np.allclose(crop.from_picture(crop.to_picture(points)), points, atol=1e-9)
    # The middle is the centre, and opposite corners are a diagonal apart.
    assert np.allclose(crop.to_picture(np.array([0.5, 0.5])), [crop.x, crop.y])
    corners = crop.to_picture(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert np.linalg.norm(corners[1] - corners[0]) == pytest.approx(np.sqrt(2) * crop.size)


def test_an_upright_crop_begins_half_a_pixel_before_its_first_pixel():
    # Ten pixels, from the outer edge of the first to that of the last.
    crop = Crop(4.5, 4.5, 10.0)
    assert np.allclose(crop.to_picture(np.array([[0.0, 0.0], [1.0, 1.0]])), [[-0.5, -0.5], [9.5, 9.5]])
    picture = np.random.default_rng(0).integers(0, 255, (10, 10, 3), dtype=np.uint8)
    assert np.array_equal(cut(picture, crop, 10), picture)
    assert np.array_equal(cut(picture, Crop(5.5, 4.5, 10.0), 10)[:, :-1], picture[:, 1:])
    assert (cut(picture, Crop(5.5, 4.5, 10.0), 10)[:, -1] == 0).all()


@given(CROPS.filter(lambda crop: crop.size > 50), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
def test_a_spot_lies_in_the_cut_picture_where_its_point_does(crop, across, down):
    crop = Crop(crop.x % 300 + 100, crop.y % 200 + 100, 60 + crop.size % 100, crop.rotation)
    y, x = np.mgrid[0:400, 0:500]
    at = crop.to_picture(np.array([across, down]))
    spot = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 3.0**2))
    seen = cut(np.repeat(spot[..., None], 3, axis=2).astype(np.uint8), crop, 128)[..., 0].astype(float)
    y, x = np.mgrid[0:128, 0:128]
    middle = np.array([(seen * x).sum(), (seen * y).sum()]) / seen.sum()
    # In the cut picture, too, pixel centres lie half a pixel inside.
    assert np.abs((middle + 0.5) / 128 - [across, down]).max() < 0.004


def test_a_turned_crop_shows_the_person_upright():
    # Head to the right of the hips: the crop's up is the picture's right.
    crop = crop_up_to(np.array([50.0, 50.0]), np.array([70.0, 50.0]), 1.5)
    assert crop is not None
    assert (crop.size, crop.rotation) == (pytest.approx(60.0), pytest.approx(np.pi / 2))
    assert np.allclose(crop.from_picture(np.array([70.0, 50.0])), [0.5, 0.5 - 20 / 60])
    picture = np.zeros((100, 100, 3), dtype=np.uint8)
    cv2.circle(picture, (70, 50), 3, (255, 255, 255), -1)
    y, x, _ = np.nonzero(cut(picture, crop, 60))
    assert abs(x.mean() - 29.5) < 0.5 and abs(y.mean() - 9.5) < 0.5
    assert crop_up_to(np.zeros(2), np.zeros(2), 1.5) is None
    upright = crop_up_to(np.array([50.0, 50.0]), np.array([50.0, 30.0]), 1.5)
    assert upright is not None and upright.rotation == 0
