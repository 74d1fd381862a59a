"""The same camera on pictures of another size."""

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.picture_size import resized_by, resized_to
from refit_mv.geometry.projection import project
from refit_mv.geometry.transforms import RigidTransform

MATRIX = np.array([[1100.0, 3.0, 950.0], [0.0, 1090.0, 540.0], [0.0, 0.0, 1.0]])


def camera(size: tuple[int, int] | None = (1920, 1080), lens: str = "brown_conrady") -> Camera:
    return Camera("a", size, MATRIX, np.array([-0.2, 0.05, 1e-3, -5e-4]), RigidTransform.identity(), lens)  # type: ignore[arg-type]


def pixels(seen_by: Camera) -> np.ndarray:
    points = torch.from_numpy(np.random.default_rng(0).uniform((-1, -0.5, 2), (1, 0.5, 4), (50, 3)))
    return project(CameraRig((seen_by,)).stacked(), points)[0][0].numpy()


@pytest.mark.parametrize("size", [(960, 540), (1280, 720), (3840, 2160)])
@pytest.mark.parametrize("lens", ["brown_conrady", "fisheye"])
def test_points_move_with_the_corner_of_the_picture(size: tuple[int, int], lens: str) -> None:
    factor = size[0] / 1920
    small = resized_to(camera(lens=lens), size)
    assert small.size == size
    np.testing.assert_allclose(pixels(small) + 0.5, (pixels(camera(lens=lens)) + 0.5) * factor, atol=1e-9)


def test_there_and_back_and_by_factor() -> None:
    back = resized_to(resized_to(camera(), (1280, 720)), (1920, 1080))
    np.testing.assert_allclose(back.matrix, MATRIX, atol=1e-9)
    assert resized_by(camera(), 2 / 3).size == (1280, 720)
    assert resized_by(camera(size=None), 0.5).size is None


@pytest.mark.parametrize(
    ("own", "size", "factor"),
    [
        ((1920, 1088), (960, 540), 0.5),  # padded to whole blocks when it was calibrated
        ((1920, 1080), (960, 544), 0.5),
        ((1080, 1920), (720, 1280), 2 / 3),
        ((1088, 1920), (540, 960), 0.5),
        ((1920, 1080), (853, 480), (853 / 1920 * 480 / 1080) ** 0.5),  # 853.3 rounded
    ],
)
def test_padding_and_rounding_do_not_stretch(own: tuple[int, int], size: tuple[int, int], factor: float) -> None:
    small = resized_to(camera(own), size)
    assert small.size == size
    assert small.matrix[0, 0] == pytest.approx(1100 * factor)
    assert small.matrix[1, 1] / small.matrix[0, 0] == pytest.approx(1090 / 1100)


@pytest.mark.parametrize(
    ("own", "size", "told"),
    [
        ((1920, 1080), (1080, 1920), "turned or cropped"),
        ((1920, 1080), (1440, 1080), "turned or cropped"),
        ((1920, 1080), (960, 720), "its width by 0.5, its height by 0.6667"),
        (None, (960, 540), "scale by a factor"),
    ],
)
def test_other_shapes_are_refused(own: tuple[int, int] | None, size: tuple[int, int], told: str) -> None:
    with pytest.raises(InputError, match=told) as problem:
        resized_to(camera(own), size)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("factor", [0.0, -1.0, 1e-3, 1e9, float("nan"), float("inf")])
def test_impossible_factors_are_refused(factor: float) -> None:
    with pytest.raises(InputError, match=r"scaled by 0\.01 to 100"):
        resized_by(camera(), factor)
