"""Views find their cameras by name, loosely where that is safe and never by order."""

import itertools

import pytest

from refit_mv.errors import InputError
from refit_mv.session.name_matching import match_names


@pytest.mark.parametrize(
    ("views", "cameras", "expected"),
    [
        (("cam01", "cam02"), ("cam_01", "cam_02"), ("cam_01", "cam_02")),
        (("cam1", "cam10", "cam2"), ("1", "2", "10"), ("1", "10", "2")),
        (("1", "2"), ("Camera_001", "Camera_002"), ("Camera_001", "Camera_002")),
        (("01", "1"), ("1", "01"), ("01", "1")),  # leading zeros are names where both exist
        (("GoPro-A",), ("gopro_a", "gopro_b"), ("gopro_a",)),
        (("c",), ("c", "cam"), ("c",)),
        (("port_0",), ("cam_0", "cam_1"), ("cam_0",)),
        (("0", "1"), ("cam_00", "cam_1"), ("cam_00", "cam_1")),
    ],
)
def test_names_pair(views, cameras, expected):
    assert tuple(match_names(views, cameras).values()) == expected


def test_order_never_matters():
    views = ("cam1", "cam2", "cam10")
    for cameras in itertools.permutations(("cam_01", "cam_02", "cam_10", "cam_20")):
        assert match_names(views, cameras) == {"cam1": "cam_01", "cam2": "cam_02", "cam10": "cam_10"}


@pytest.mark.parametrize(
    ("views", "cameras"),
    [
        (("cam1",), ("cam_1", "cam_01x", "CAM-1")),  # two cameras read alike
        (("cam1", "cam_1"), ("1", "2")),  # two views, one camera
        (("front", "back"), ("cam_0", "cam_1")),  # order would pair these; names do not
        (("cam1", "cam5"), ("cam_1", "cam_2")),
    ],
)
def test_what_is_not_certain_is_refused_with_both_sides(views, cameras):
    with pytest.raises(InputError) as caught:
        match_names(views, cameras)
    for name in (*views, *cameras):
        assert name in str(caught.value)


def test_the_lonely_view_is_named():
    with pytest.raises(InputError, match=r"no camera for view cam5"):
        match_names(("cam1", "cam5"), ("cam_1", "cam_2"))
