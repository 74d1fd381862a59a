"""Views find their cameras by name, loosely where that is safe and never by order."""

import itertools

import pytest

from refit_mv.errors import InputError
from refit_mv.session.name_matching import match_names

SERIALS = ("21322", "21323", "26094")


def four(form):
    return tuple(form.format(number) for number in range(1, 5))


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
        # One holds the other.
        (four("cam{:02}"), four("int_cam{:02}_img"), four("int_cam{:02}_img")),
        (("cam08", "cam09"), ("int_cam08_img", "int_cam09_img", "int_cam10_img"), ("int_cam08_img", "int_cam09_img")),
        (("cam1",), four("int_cam{:02}_img"), ("int_cam01_img",)),
        (four("pose_cam{:02}"), four("cam{:02}"), four("cam{:02}")),
        (four("Camera_{:03}_synchronized"), four("cam_{}"), four("cam_{}")),
        (four("Camera_{:03}_synchronized"), four("{}"), four("{}")),
        (four("Camera_{:03}_synchronized"), four("Camera_{:03}"), four("Camera_{:03}")),
        (("walk_Miqus_1_21322", "walk_Miqus_9_26094", "walk_Miqus_2_21323"), SERIALS, ("21322", "26094", "21323")),
        (
            SERIALS,
            ("Miqus_1_21322", "Miqus_9_26094", "Miqus_2_21323"),
            ("Miqus_1_21322", "Miqus_2_21323", "Miqus_9_26094"),
        ),
        # Both have words around.
        (four("pose_cam{}"), four("int_cam{:02}_img"), four("int_cam{:02}_img")),
        (("walk_left", "walk_right"), ("left_calib", "right_calib"), ("left_calib", "right_calib")),
        # A number that is all of a name.
        (four("GoPro{}"), four("{}"), four("{}")),
        (four("{}"), four("GoPro{}_img"), four("GoPro{}_img")),
        (four("cam{}_take2"), four("{}"), four("{}")),
        (("左", "右"), ("左_1080", "右_1080"), ("左_1080", "右_1080")),
    ],
)
def test_names_pair(views, cameras, expected):
    match = match_names(views, cameras)
    assert tuple(match.cameras.values()) == expected
    assert (match.note is None) == (views == expected)
    for view, camera in zip(views, expected, strict=True):
        assert match.note is None or f"{view} = {camera}" in match.note


def test_order_never_matters():
    views = ("cam1", "cam2", "cam10")
    for cameras in itertools.permutations(("cam_01", "cam_02", "cam_10", "cam_20")):
        assert match_names(views, cameras).cameras == {"cam1": "cam_01", "cam2": "cam_02", "cam10": "cam_10"}


@pytest.mark.parametrize(
    ("views", "cameras"),
    [
        (("cam1",), ("cam_1", "cam_01x", "CAM-1")),  # two cameras read alike
        (("cam1", "cam_1"), ("1", "2")),  # two views, one camera
        (("front", "back"), ("cam_0", "cam_1")),  # order would pair these; names do not
        (("cam1", "cam5"), ("cam_1", "cam_2")),
        (four("cam_{}"), ("cam_0", "cam_1", "cam_2", "cam_3")),  # from 1 and from 0
        (four("front{}"), four("back{}")),  # other things are counted
        (four("GoPro{}"), four("cam{}")),
        (("cam1_2", "cam2_1"), ("1", "2")),
        (("walk_left_right", "walk_right_left"), ("left", "right")),
        (("take1_a1", "take2_b2"), ("1", "2")),
    ],
)
def test_what_is_not_certain_is_refused_with_both_sides_and_the_way_out(views, cameras):
    with pytest.raises(InputError) as caught:
        match_names(views, cameras)
    for name in (*views, *cameras, "--map"):
        assert name in str(caught.value)


def test_the_lonely_view_is_named():
    with pytest.raises(InputError, match=r"no camera for view cam5"):
        match_names(("cam1", "cam5"), ("cam_1", "cam_2"))


# A file numbers its sections from 0 and calls its cameras from 1, as converters leave it.
SECTIONS = {f"cam_{number}": str(number + 1) for number in range(4)}
NAMES = tuple(SECTIONS.values())


def test_section_names_are_exact_names_after_the_cameras_own():
    views = tuple(SECTIONS)
    assert match_names(views, NAMES, sections=SECTIONS).cameras == SECTIONS
    assert match_names(NAMES, NAMES, sections=SECTIONS).cameras == dict(zip(NAMES, NAMES, strict=True))
    # All four can only be the names.
    assert match_names(four("cam_{}"), NAMES, sections=SECTIONS).cameras == dict(
        zip(four("cam_{}"), NAMES, strict=True)
    )


@pytest.mark.parametrize(
    ("views", "sections"),
    [
        (("cam_1", "cam_2", "cam_3"), SECTIONS),  # sections say 2, 3, 4; numbers say 1, 2, 3
        (("0", "1", "2", "3"), SECTIONS),  # a number is no section
        (("cam_0", "cam_1"), {"cam_0": "cam_1", "cam_1": "cam_2"}),  # cam_1 is a camera and another's section
    ],
)
def test_shifted_numbers_are_never_paired(views, sections):
    with pytest.raises(InputError, match="--map"):
        match_names(views, tuple(sections.values()), sections=sections)


def test_a_mapping_decides_and_the_rest_follows():
    cameras = ("cam_1", "cam_2", "cam_3")
    match = match_names(("front", "cam_2"), cameras, mapping={"front": "cam_3", "elsewhere": "cam_1"})
    assert match.cameras == {"front": "cam_3", "cam_2": "cam_2"}
    assert match.note is None
    by_section = match_names(("front",), NAMES, sections=SECTIONS, mapping={"front": "cam_0"})
    assert by_section.cameras == {"front": "1"}
    for mapping, expected in (
        ({"front": "cam_9"}, r"--map front=cam_9: no such camera in the calibration; there are cam_1"),
        ({"front": "cam_1", "back": "cam_1"}, "two views"),
    ):
        with pytest.raises(InputError, match=expected):
            match_names(("front", "back"), cameras, mapping=mapping)
