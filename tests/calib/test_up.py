"""Which way is up: cameras tilted, rolled, in portrait, on their heads, in worlds of any orientation."""

from collections.abc import Callable

import numpy as np
import pytest

from calib import estimate_up
from calib.view import roll_degrees
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]


def degrees_off(rig: CameraRig, up: object) -> float:
    truth = np.array(up, dtype=float) / np.linalg.norm(np.array(up, dtype=float))
    return float(np.degrees(np.arccos(np.clip(estimate_up(rig).up.numpy() @ truth, -1, 1))))


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (0, 0, -1)])
@pytest.mark.parametrize("height", [0.3, 1.5, 4.0])
def test_world_axes_are_found_exactly(up: tuple[int, int, int], height: float, ring: RigMaker) -> None:
    estimate = estimate_up(ring(up=up, height=height))
    np.testing.assert_array_equal(estimate.up.numpy(), up)
    assert estimate.snapped
    assert estimate.confidence == 1.0


@pytest.mark.parametrize("count", [2, 3, 4, 9])
@pytest.mark.parametrize("arc", [120, 360])
def test_level_cameras_give_any_direction(count: int, arc: float, ring: RigMaker) -> None:
    up = (0.5, -0.6, 0.62)
    rig = ring(names=[str(i) for i in range(count)], up=up, arc_degrees=arc)
    if count == 2 and arc == 360:
        pytest.skip("two cameras face to face: their tilt cannot be told from up")
    assert degrees_off(rig, up) < 1e-4  # no camera rolls: the horizons meet in it
    assert not estimate_up(rig).snapped


def test_rolls_average_out(ring: RigMaker) -> None:
    up = (0.2, 0.3, 0.9)
    rig = ring(names=[str(i) for i in range(8)], up=up, rolls=(3, -2, 1, -4, 2, 4, -3, -1))
    assert degrees_off(rig, up) < 3.0  # rms roll of 2.7 degrees
    assert estimate_up(rig).confidence == 1.0


def test_slightly_rolled_cameras_in_a_levelled_world_are_snapped(ring: RigMaker) -> None:
    estimate = estimate_up(ring(rolls=(4, -3, 5, -2)))
    assert estimate.snapped
    assert estimate.up.tolist() == [0, 0, 1]


def test_a_world_that_is_off_level_by_more_than_the_cameras_is_left_alone(ring: RigMaker) -> None:
    up = (0.0, np.sin(np.radians(8)), np.cos(np.radians(8)))
    estimate = estimate_up(ring(up=up))
    assert not estimate.snapped
    assert degrees_off(ring(up=up), up) < 1e-4


@pytest.mark.parametrize(
    "rolls",
    [
        (90, 90, 90, 90),
        (-90, -90, -90, -90),
        (0, 90, 0, -90),
        (0, 180, 0, 0),
        (88, -91, 92, 90),
        (13, -3, -3, -26),  # a rig of a public demo recording
        (0, 0, 0, 45),
    ],
)
def test_portrait_upside_down_and_crooked_cameras(rolls: tuple[float, ...], ring: RigMaker) -> None:
    rig = ring(rolls=rolls)
    assert degrees_off(rig, (0, 0, 1)) < 5.0
    up = estimate_up(rig).up.numpy()
    for camera, roll in zip(rig, rolls, strict=True):
        assert abs((roll_degrees(camera, up) - roll + 180) % 360 - 180) < 8.0


def test_portrait_cameras_over_a_quarter_circle(ring: RigMaker) -> None:
    rig = ring(rolls=(90, 90, 90, 90), arc_degrees=90)
    assert degrees_off(rig, (0, 0, 1)) < 1.0


def test_one_camera_and_parallel_cameras_say_little(ring: RigMaker) -> None:
    one = estimate_up(ring(names=("A",)))
    assert one.confidence <= 0.5
    assert one.up.tolist() == [0, 0, 1]
    tilted = ring(names=("A",), up=(0.5, -0.6, 0.62), height=2.5)
    assert degrees_off(tilted, (0.5, -0.6, 0.62)) < 30  # its tilt remains in the answer
    assert estimate_up(tilted).confidence <= 0.5


def test_confidence_falls_with_disagreement(ring: RigMaker) -> None:
    straight = estimate_up(ring()).confidence
    # Rolls of 30 and -30 would be a tilted world: cameras face to face that roll the same way are truly crooked.
    crooked = estimate_up(ring(rolls=(0, 30, 0, 30))).confidence
    assert straight == 1.0
    assert crooked <= 0.5


def test_turning_the_world_turns_the_answer(ring: RigMaker) -> None:
    names = [str(i) for i in range(5)]
    rolls = (2, -3, 1, 88, 0)
    for up in ((0.5, -0.6, 0.62), (-0.3, 0.5, -0.7)):
        off = degrees_off(ring(names=names, rolls=rolls, up=up), up)
        assert off < 3.0
