"""Cameras refuse what cannot be a camera, and rigs are addressed by name."""

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform

MATRIX = np.array([[800.0, 0.0, 320.0], [0.0, 810.0, 240.0], [0.0, 0.0, 1.0]])


def camera(name: str = "a", **changes: object) -> Camera:
    fields: dict[str, object] = {
        "name": name,
        "size": (640, 480),
        "matrix": MATRIX,
        "distortion": np.zeros(5),
        "cam_from_world": RigidTransform(
            rotations.exp(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)),
            torch.tensor([0.1, 0.2, 3.0], dtype=torch.float64),
        ),
    }
    return Camera(**(fields | changes))  # type: ignore[arg-type]


def turned(matrix: torch.Tensor) -> RigidTransform:
    return RigidTransform(matrix, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"matrix": np.where(MATRIX == 800, np.nan, MATRIX)}, "finite"),
        ({"matrix": -MATRIX}, "positive focal"),
        ({"distortion": np.zeros(3)}, "coefficients"),
        ({"distortion": np.array([np.inf, 0, 0, 0])}, "finite"),
        ({"distortion": np.zeros(5), "lens": "fisheye"}, "fisheye distortion takes"),
        ({"size": (640, 0)}, "size"),
        ({"cam_from_world": turned(torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64)))}, "mirrored"),
        ({"cam_from_world": turned(2 * torch.eye(3, dtype=torch.float64))}, "not a rotation"),
        ({"cam_from_world": turned(torch.full((3, 3), torch.nan, dtype=torch.float64))}, "not finite"),
    ],
)
def test_impossible_cameras_are_refused_by_name(changes: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told) as problem:
        camera("left", **changes)
    assert "'left'" in str(problem.value)
    assert "\n" not in str(problem.value)


def test_center_is_where_the_camera_stands() -> None:
    one = camera()
    at_center = one.cam_from_world.apply(one.center)
    torch.testing.assert_close(at_center, torch.zeros(3, dtype=torch.float64), atol=1e-15, rtol=0)


def test_rig_is_addressed_by_name_in_any_order() -> None:
    rig = CameraRig((camera("a"), camera("b"), camera("c")))
    assert rig.subset(["c", "a"]).names == ("c", "a")
    assert rig["b"].name == "b"
    with pytest.raises(InputError, match=r"no camera 'd'.*a, b, c"):
        rig["d"]
    with pytest.raises(InputError, match="repeated: a"):
        CameraRig((camera("a"), camera("a")))
    with pytest.raises(InputError, match="at least one"):
        CameraRig(())


def test_scaling_moves_centers_and_nothing_else() -> None:
    rig = CameraRig((camera("a"),))
    small = rig.scaled(0.001)
    torch.testing.assert_close(small["a"].center, rig["a"].center * 0.001)
    torch.testing.assert_close(small["a"].cam_from_world.rotation, rig["a"].cam_from_world.rotation, atol=0, rtol=0)
    assert small["a"].matrix is rig["a"].matrix or (small["a"].matrix == rig["a"].matrix).all()
