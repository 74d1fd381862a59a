"""MAMMA's YAML, written by its documented schema."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import read_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]


def quaternion(rotation: np.ndarray) -> list[float]:
    """w x y z of a rotation by less than half a turn."""
    w = np.sqrt(1 + np.trace(rotation)) / 2
    skew = rotation - rotation.T
    return [w, skew[2, 1] / (4 * w), skew[0, 2] / (4 * w), skew[1, 0] / (4 * w)]


def document(rig: CameraRig, convention: str = "cam2world", order: str = "wxyz", said: bool = True) -> str:
    text = f"extrinsics_convention: {convention}\nquaternion_order: {order}\n" if said else "# made up\n"
    return text + "cameras:\n" + "".join(_entry(camera, convention, order) for camera in rig)


def _entry(camera: Camera, convention: str, order: str) -> str:
    given = camera.cam_from_world if convention == "world2cam" else camera.cam_from_world.inverse()
    turn = quaternion(given.rotation.numpy())
    turn = turn if order == "wxyz" else [*turn[1:], turn[0]]
    m = camera.matrix
    return f"""  {camera.name}:
    camera_model: pinhole
    distortion_model: radtan
    intrinsics: {[m[0, 0].item(), m[1, 1].item(), m[0, 2].item(), m[1, 2].item()]}
    distortion_coeffs: {camera.distortion.tolist()}
    resolution: {list(camera.size or ())}
    translation: {given.translation.tolist()}
    rotation_quaternion: {[float(value) for value in turn]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "calib.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("convention", ["cam2world", "world2cam"])
@pytest.mark.parametrize("order", ["wxyz", "xyzw"])
def test_round_trip(convention: str, order: str, tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    rig = ring(names=("A001", "B001", "01"), distortion=(-0.1, 0.03, 1e-3, -5e-4))
    loaded = read_rig(write(tmp_path, document(rig, convention, order)))
    same_rig(loaded.rig, rig, 1e-12)
    assert (loaded.format, loaded.units, loaded.warnings) == ("MAMMA yaml", "m", ())


def test_pose_is_the_cameras_where_nothing_is_said(tmp_path: Path, ring: RigMaker) -> None:
    """A camera 1.5 m high, 4 m away, that looks level along +y: x right, z down in the world's terms."""
    half = np.sqrt(0.5)
    text = f"""cameras:
  A:
    distortion_model: radtan
    intrinsics: [1000, 1000, 640, 360]
    distortion_coeffs: [0, 0, 0, 0]
    resolution: [1280, 720]
    translation: [0, -4, 1.5]
    rotation_quaternion: [{half}, {-half}, 0, 0]
"""
    rig = read_rig(write(tmp_path, text)).rig
    pixels, depth = project(rig.stacked(), torch.tensor([[0.0, 0.0, 1.5], [0.4, 0.0, 1.9]], dtype=torch.float64))
    np.testing.assert_allclose(depth.numpy(), [[4, 4]])
    np.testing.assert_allclose(pixels[0].numpy(), [[640, 360], [740, 260]], atol=1e-9)


def test_vicons_lens_is_the_one_of_vicons_files(tmp_path: Path, ring: RigMaker) -> None:
    text = document(ring(names=("A", "B"), distortion=(0.0, 0.0, 0.0, 0.0)))
    text = text.replace("radtan", "vicon_radial_2").replace("[0.0, 0.0, 0.0, 0.0]", "[643, 357, 5e-8, 1e-14, 0]")
    camera = read_rig(write(tmp_path, text)).rig["A"]
    seen = np.array([1200.0, 80.0])
    offset = seen - [643, 357]
    square = (offset**2).sum()
    ideal = np.array([643, 357]) + offset * (1 + 5e-8 * square + 1e-14 * square**2)
    ray = np.linalg.solve(camera.matrix, [*ideal, 1])
    world = camera.cam_from_world.inverse().apply(torch.from_numpy(3 * ray)[None])
    pixels, _ = project(CameraRig((camera,)).stacked(), world)
    np.testing.assert_allclose(pixels[0, 0].numpy(), seen, atol=0.01)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cam2world", "camera", "'extrinsics_convention' must be cam2world or world2cam"),
        ("wxyz", "zyxw", "'quaternion_order' must be"),
        ("radtan", "kannala", "distortion_model must be radtan or vicon_radial_2"),
        ("pinhole", "omni", "camera_model must be pinhole"),
        ("rotation_quaternion: [", "rotation_quaternion: [9", "unit quaternion w x y z"),
        ("resolution", "size", "camera 'A': 'resolution' is missing"),
        ("cameras:\n", "cameras: [rotation_quaternion]\nothers:\n", "must hold cameras by their names"),
    ],
)
def test_broken_files_are_refused(old: str, new: str, told: str, tmp_path: Path, ring: RigMaker) -> None:
    text = document(ring(names=("A", "B"), distortion=(0.0, 0.0, 0.0, 0.0)))
    assert old in text
    with pytest.raises(InputError) as problem:
        read_rig(write(tmp_path, text.replace(old, new)))
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)
