"""Vicon's XCP: its lens model runs from seen pixels to ideal ones, so the truth here is that model, inverted
numerically.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import describe, examine, read_rig
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project

RigMaker = Callable[..., CameraRig]
RADIAL = (6e-8, 1.2e-14, 3e-21)  # per pixel², ⁴, ⁶: 3 % at the corner of 1280×720


def camera_xml(
    camera: Camera, radial: str | None = None, kind: str = 'TYPE="VueVideo" DISPLAY_TYPE="Vue"', frames: int = 1
) -> str:
    w, x, y, z = rotations.quaternion(camera.cam_from_world.rotation).tolist()
    px, py, pz = (1000 * camera.center).tolist()
    assert camera.size is not None
    m = camera.matrix
    if radial is None:
        radial = f'VICON_RADIAL2="Vicon3Parameter {m[0, 2]:.17g} {m[1, 2]:.17g} {RADIAL[0]} {RADIAL[1]} {RADIAL[2]}"'
    frame = (
        f'<KeyFrame FOCAL_LENGTH="{m[0, 0]:.17g}" FRAME="0" ORIENTATION="{x:.17g} {y:.17g} {z:.17g} {w:.17g}"'
        f' POSITION="{px:.17g} {py:.17g} {pz:.17g}" PRINCIPAL_POINT="{m[0, 2]:.17g} {m[1, 2]:.17g}" {radial} '
        'WORLD_ERROR="0.3"/>'
    )
    return (
        f'<Camera DEVICEID="{camera.name}" PIXEL_ASPECT_RATIO="1" SENSOR_SIZE="{camera.size[0]} {camera.size[1]}" '
        f'SKEW="0" {kind}>'
        f"<ThresholdGrid/><ControlFrames/><KeyFrames>{frame * frames}</KeyFrames></Camera>"
    )


def write(folder: Path, cameras: Sequence[str]) -> Path:
    path = folder / "take.xcp"
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n<Cameras VERSION="1.0">{"".join(cameras)}</Cameras>'
    )
    return path


def square_pixels(rig: CameraRig) -> CameraRig:
    cameras = []
    for camera in rig:
        matrix = camera.matrix.copy()
        matrix[1, 1] = matrix[0, 0]
        cameras.append(Camera(camera.name, camera.size, matrix, np.zeros(0), camera.cam_from_world))
    return CameraRig(tuple(cameras))


def seen(ideal: np.ndarray, center: np.ndarray, radial: Sequence[float]) -> np.ndarray:
    """Pixels that Vicon's polynomial takes to ``ideal``: fixed-point iteration to convergence."""
    offset = ideal - center
    at = offset.copy()
    for _ in range(200):
        r2 = (at**2).sum(-1, keepdims=True)
        at = offset / (1 + radial[0] * r2 + radial[1] * r2**2 + radial[2] * r2**3)
    return at + center


def test_pixels_are_vicons(tmp_path: Path, ring: RigMaker) -> None:
    rig = square_pixels(ring(names=("2111", "2112", "301")))
    loaded = read_rig(write(tmp_path, [camera_xml(camera) for camera in rig]))
    assert loaded.format == "Vicon xcp"
    assert loaded.units == "mm"
    assert loaded.warnings == ()
    assert loaded.rig.names == ("301", "2111", "2112")
    points = torch.from_numpy(np.random.default_rng(0).normal((0, 0, 1), 0.5, (300, 3)))
    for camera in rig:
        read = loaded.rig[camera.name]
        assert read.size == camera.size
        np.testing.assert_allclose(read.matrix, camera.matrix, atol=1e-9)
        np.testing.assert_allclose(
            read.cam_from_world.matrix().numpy(), camera.cam_from_world.matrix().numpy(), atol=1e-9
        )
        ideal = project(CameraRig((camera,)).stacked(), points)[0][0].numpy()
        truth = seen(ideal, camera.matrix[:2, 2], RADIAL)
        inside = ((truth >= 0) & (truth <= [1279, 719])).all(1)
        assert inside.sum() > 100
        pixels = project(CameraRig((read,)).stacked(), points)[0][0].numpy()
        # A fit of three coefficients to the inverse of three: thousandths of a pixel at this strength.
        assert np.abs(pixels - truth)[inside].max() < 0.01
        assert np.abs(pixels - ideal)[inside].max() > 1.0, "without the lens the test would pass for nothing"


def test_older_radial_attribute(tmp_path: Path, ring: RigMaker) -> None:
    rig = square_pixels(ring(names=("1", "2")))
    older = f'VICON_RADIAL="{RADIAL[0]} {RADIAL[1]}"'
    newer = read_rig(write(tmp_path, [camera_xml(camera) for camera in rig])).rig["1"].distortion
    read = read_rig(write(tmp_path, [camera_xml(camera, older) for camera in rig])).rig["1"].distortion
    np.testing.assert_allclose(read[0], newer[0], rtol=0.02)  # it differs by k3, which the older attribute lacks
    plain = read_rig(write(tmp_path, [camera_xml(camera, 'VICON_RADIAL="0 0"') for camera in rig])).rig["1"]
    assert not plain.distortion.any()


def test_strong_lens_off_center_is_reported_in_pixels(tmp_path: Path, ring: RigMaker) -> None:
    rig = square_pixels(ring(names=("1", "2")))
    strong = 'VICON_RADIAL2="Vicon3Parameter 600 380 4e-7 3e-13 0"'
    loaded = read_rig(write(tmp_path, [camera_xml(rig["1"], strong), camera_xml(rig["2"])]))
    assert any("camera '1': its lens model is met to" in warning for warning in loaded.warnings)


def test_marker_and_uncalibrated_cameras_are_left_out_aloud(tmp_path: Path, ring: RigMaker) -> None:
    rig = square_pixels(ring(names=("1", "2", "3", "4")))
    texts = [
        camera_xml(rig["1"]),
        camera_xml(rig["2"]),
        camera_xml(rig["3"], kind='TYPE="DxCore160" DISPLAY_TYPE="T160"'),
        camera_xml(rig["4"], frames=0),
    ]
    loaded = read_rig(write(tmp_path, texts))
    assert loaded.rig.names == ("1", "2")
    assert any("1 marker cameras left out" in warning for warning in loaded.warnings)
    assert any("not calibrated, left out: 4" in warning for warning in loaded.warnings)


def test_moving_camera_is_refused_and_still_one_is_not(tmp_path: Path, ring: RigMaker) -> None:
    rig = square_pixels(ring(names=("1", "2")))
    assert len(read_rig(write(tmp_path, [camera_xml(rig["1"], frames=3), camera_xml(rig["2"])])).rig) == 2
    one, two = camera_xml(rig["1"]), camera_xml(rig["2"])
    second_frame = two[two.index("<KeyFrame ") : two.index("</KeyFrames>")]
    moving = one.replace("</KeyFrames>", second_frame + "</KeyFrames>")
    with pytest.raises(InputError, match="camera '1': moves"):
        read_rig(write(tmp_path, [moving, two]))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<KeyFrame ", "<Frame ", "none of its 1 cameras is calibrated"),
        ('DEVICEID="A"', "", "no DEVICEID"),
        ("FOCAL_LENGTH", "FOCAL", "camera 'A': 'FOCAL_LENGTH' is missing"),
        ('FOCAL_LENGTH="', 'FOCAL_LENGTH="-', "must be positive"),
        ('ORIENTATION="', 'ORIENTATION="1 ', "camera 'A': 'ORIENTATION' must be numbers (4)"),
        ("Vicon3Parameter", "Vicon9Parameter", "unknown lens model"),
        ('SENSOR_SIZE="1280 720"', 'SENSOR_SIZE="1280"', "camera 'A': 'SENSOR_SIZE'"),
        ("</Cameras>", "", "not well-formed XML"),
    ],
)
def test_broken_files_are_refused(old: str, new: str, told: str, tmp_path: Path, ring: RigMaker) -> None:
    path = write(tmp_path, [camera_xml(square_pixels(ring())["A"])])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as problem:
        read_rig(path)
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


def test_quaternion_that_is_none_is_refused(tmp_path: Path, ring: RigMaker) -> None:
    path = write(tmp_path, [camera_xml(square_pixels(ring())["A"])])
    start, end = path.read_text().split('ORIENTATION="')
    path.write_text(start + 'ORIENTATION="0 0 0 2"' + end[end.index('"') + 1 :])
    with pytest.raises(InputError, match="unit quaternion"):
        read_rig(path)


def test_up_is_z_by_definition_however_cameras_hang(tmp_path: Path, ring: RigMaker) -> None:
    rolled = ring(names=("1", "2", "3", "4"), rolls=(90, 60, 36, 54))
    loaded = read_rig(write(tmp_path, [camera_xml(camera) for camera in square_pixels(rolled)]))
    assert loaded.up == (0, 0, 1)
    assert "up: (0.00, 0.00, 1.00) (by definition)" in describe(loaded.rig, loaded.up)
    # 90 degrees are a camera in portrait, not one on its head.
    assert not any("on its head" in note for note in examine(loaded.rig, loaded.up))


def test_cameras_that_all_say_otherwise_are_heard(tmp_path: Path, ring: RigMaker) -> None:
    turned = ring(names=("1", "2", "3", "4"), up=(0, 1, 0))
    loaded = read_rig(write(tmp_path, [camera_xml(camera) for camera in square_pixels(turned)]))
    assert loaded.up == (0, 0, 1)
    assert any("as if it were (0.00, 1.00, 0.00), 90° off" in warning for warning in loaded.warnings)
