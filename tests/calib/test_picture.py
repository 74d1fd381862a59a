"""What a person gets to see of a rig: the picture and the table."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from calib import describe, draw_rig, save_picture
from calib.picture import BACKGROUND, COLOURS
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]


def places_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    near = np.abs(picture.astype(int) - colour).max(-1) < 12
    rows, columns = np.nonzero(near[:, :720])
    return np.stack([columns, rows], 1)


def test_every_camera_is_drawn_where_it_stands(ring: RigMaker) -> None:
    rig = ring(names=("left", "right", "front", "back"))
    picture = draw_rig(rig)
    assert picture.shape == (720, 1440, 3)
    assert picture.dtype == np.uint8
    middles = np.array([np.median(places_of(picture, COLOURS[index]), axis=0) for index in range(4)])
    centers = np.array([camera.center.numpy()[:2] for camera in rig])
    # From above with z up, the page's right is x and its top is y: the same shape up to scale and the sign of y.
    page = (middles - middles.mean(0)) * [1, -1]
    world = centers - centers.mean(0)
    cosine = (page * world).sum() / np.linalg.norm(page) / np.linalg.norm(world)
    assert cosine > 0.95  # names and pyramids pull the medians a little


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ("A",)},
        {"names": ("A", "B"), "arc_degrees": 0.001},
        {"names": [f"相机 {index}" for index in range(31)]},
        {"radius": 300.0, "height": 40.0},
        {"size": None},
        {"distortion": (0.04, -0.01, 0.006, -0.001), "lens": "fisheye"},
        {"up": (0, -1, 0), "height": -2.0},
    ],
)
def test_odd_rigs_are_drawn_too(changes: dict[str, object], ring: RigMaker) -> None:
    picture = draw_rig(ring(**changes))
    drawn = (np.abs(picture.astype(int) - BACKGROUND).max(-1) > 20).mean(axis=0)
    assert drawn[:720].sum() > 0
    assert drawn[720:].sum() > 0


def test_up_can_be_given(ring: RigMaker) -> None:
    rig = ring()
    given = draw_rig(rig, torch.tensor([0.0, 0.0, 2.0]))
    assert np.array_equal(given, draw_rig(rig))
    assert not np.array_equal(given, draw_rig(rig, torch.tensor([0.0, 1.0, 0.0])))


def test_saved_picture_keeps_its_colours(tmp_path: Path, ring: RigMaker) -> None:
    picture = draw_rig(ring())
    save_picture(picture, tmp_path / "Übersicht.png")
    read = cv2.imdecode(np.frombuffer((tmp_path / "Übersicht.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], picture)
    for target, told in ((tmp_path / "rig.pdf", "PNG or JPEG"), (tmp_path / "missing" / "rig.png", "cannot write")):
        with pytest.raises(InputError, match=told):
            save_picture(picture, target)


def test_table_holds_what_matters(ring: RigMaker) -> None:
    rig = ring(names=("left", "right"), rolls=(0, 90), arc_degrees=180)
    text = describe(rig)
    header, left, right, apart, up = text.splitlines()
    assert header.split()[0] == "camera"
    assert left.startswith("left")
    assert right.startswith("right")
    assert "1280×720" in left
    assert "900" in left
    assert "-0.1 0.03 0.001" in left
    assert "pinhole" in left
    # Fields of view: 2 atan(640 / 900) = 70.8 and 2 atan(360 / 901.5) = 43.5 degrees, less half a pixel at each edge.
    assert "71×43" in left
    assert "+90" in right.split(")")[1]
    assert "+0" in left.split(")")[1]
    distance = float(np.linalg.norm(rig["left"].center.numpy() - rig["right"].center.numpy()))
    assert apart == f"2 cameras, {distance:.2f} to {distance:.2f} m apart"
    assert up.startswith("up: (0.00, 0.00, 1.00) (a world axis")
    assert "unknown" in describe(ring(size=None))
