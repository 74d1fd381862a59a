"""Rigs made up for the tests, with an answer that is known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform

RigMaker = Callable[..., CameraRig]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors slow down many times over when threads fight for them."""
    torch.set_num_threads(1)


def looking_at(center: np.ndarray, target: np.ndarray, up: np.ndarray, roll_degrees: float = 0.0) -> RigidTransform:
    """cam_from_world of a camera at ``center`` that is level, then rolled so that up turns clockwise in the picture."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, up) / np.linalg.norm(np.cross(forward, up))
    down = np.cross(forward, right)
    c, s = np.cos(np.radians(roll_degrees)), np.sin(np.radians(roll_degrees))
    rotation = np.stack([c * right - s * down, s * right + c * down, forward])
    return RigidTransform(torch.from_numpy(rotation), torch.from_numpy(-rotation @ center))


def make_ring(
    names: Sequence[str] = ("A", "B", "C", "D"),
    radius: float = 3.5,
    height: float = 2.0,
    rolls: Sequence[float] | None = None,
    up: Sequence[float] = (0.0, 0.0, 1.0),
    arc_degrees: float = 360.0,
    target_height: float = 1.0,
    size: tuple[int, int] | None = (1280, 720),
    distortion: Sequence[float] = (-0.1, 0.03, 1e-3, -5e-4, 0.01),
    lens: str = "brown_conrady",
) -> CameraRig:
    """Cameras on an arc around the origin, all looking at ``target_height`` above it, ``up`` being any direction of the
    world.
    """
    axis = np.array(up) / np.linalg.norm(up)
    first = np.eye(3)[(int(np.abs(axis).argmax()) + 1) % 3]
    first = first - (first @ axis) * axis
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    cameras = []
    for index, name in enumerate(names):
        angle = np.radians(20 + arc_degrees * index / len(names))
        center = radius * (np.cos(angle) * first + np.sin(angle) * second) + (height + 0.2 * np.sin(2.3 * index)) * axis
        width, tall = size or (1280, 720)
        matrix = np.array([[900.0 + index, 0, width / 2 + 3.25], [0, 901.5 + index, tall / 2 - 2.5], [0, 0, 1]])
        roll = rolls[index] if rolls is not None else 0.0
        placed = looking_at(center, target_height * axis, axis, roll)
        cameras.append(Camera(name, size, matrix, np.array(distortion), placed, lens))  # type: ignore[arg-type]
    return CameraRig(tuple(cameras))


@pytest.fixture
def ring() -> RigMaker:
    return make_ring


def assert_same_rig(actual: CameraRig, expected: CameraRig, tolerance: float) -> None:
    """Same names, whatever their order, and the same numbers within ``tolerance``."""
    assert sorted(actual.names) == sorted(expected.names)
    for camera in expected:
        other = actual[camera.name]
        assert other.size == camera.size
        assert other.lens == camera.lens
        np.testing.assert_allclose(other.matrix, camera.matrix, atol=tolerance, rtol=0)
        longest = max(other.distortion.size, camera.distortion.size)
        np.testing.assert_allclose(
            np.pad(other.distortion, (0, longest - other.distortion.size)),
            np.pad(camera.distortion, (0, longest - camera.distortion.size)),
            atol=tolerance,
            rtol=0,
        )
        for part in ("rotation", "translation"):
            np.testing.assert_allclose(
                getattr(other.cam_from_world, part).numpy(),
                getattr(camera.cam_from_world, part).numpy(),
                atol=tolerance,
                rtol=0,
            )


@pytest.fixture
def same_rig() -> Callable[[CameraRig, CameraRig, float], None]:
    return assert_same_rig
