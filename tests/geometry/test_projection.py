"""Projection and its inverse against OpenCV, for every lens model, and where numbers get extreme."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig, StackedRig
from refit_mv.geometry.projection import bearings, camera_bearings, in_pictures, project, project_camera
from refit_mv.geometry.transforms import RigidTransform

MATRIX = np.array([[1100.0, 3.0, 630.0], [0.0, 1090.0, 370.0], [0.0, 0.0, 1.0]])
LENSES: dict[str, tuple[str, list[float]]] = {
    "none": ("brown_conrady", []),
    "four": ("brown_conrady", [-0.21, 0.07, 1.1e-3, -0.8e-3]),
    "five": ("brown_conrady", [-0.25, 0.11, -0.9e-3, 1.2e-3, -0.02]),
    "pincushion": ("brown_conrady", [0.12, 0.03, 2e-3, 1e-3, 0.01]),
    "eight": ("brown_conrady", [0.31, 0.12, 1e-3, -5e-4, 0.012, 0.52, 0.19, 0.03]),
    "thin prism": ("brown_conrady", [0.31, 0.12, 1e-3, -5e-4, 0.012, 0.52, 0.19, 0.03, 4e-3, -2e-3, -3e-3, 1e-3]),
    "fisheye": ("fisheye", [0.04, -0.012, 0.006, -0.0015]),
    "fisheye plain": ("fisheye", []),
}
WORLD = RigidTransform(
    rotations.exp(torch.tensor([0.4, -0.9, 0.2], dtype=torch.float64)),
    torch.tensor([0.3, -0.2, 3.0], dtype=torch.float64),
)


def make_camera(name: str, lens: str, coefficients: list[float], cam_from_world: RigidTransform = WORLD) -> Camera:
    matrix = MATRIX.copy()
    if lens == "fisheye":
        matrix[0, 1] = 0.0  # cv2.fisheye takes skew as a parameter of its own
    return Camera(name, (1280, 720), matrix, np.array(coefficients), cam_from_world, lens)  # type: ignore[arg-type]


def stacked(lens: str, coefficients: list[float], dtype: torch.dtype = torch.float64) -> StackedRig:
    return CameraRig((make_camera("a", lens, coefficients, RigidTransform.identity()),)).stacked(dtype)


def pixel_grid(columns: int = 17, rows: int = 11) -> np.ndarray:
    u, v = np.meshgrid(np.linspace(0, 1279, columns), np.linspace(0, 719, rows))
    return np.stack([u.ravel(), v.ravel()], -1)


def opencv_pixels(camera: Camera, p_world: np.ndarray) -> np.ndarray:
    """OpenCV's pixels; its pinhole model knows no skew, which is applied afterwards."""
    rvec = rotations.log(camera.cam_from_world.rotation).numpy()
    tvec = camera.cam_from_world.translation.numpy()
    coefficients = camera.distortion if camera.distortion.size else np.zeros(4)
    if camera.lens == "fisheye":
        pixels, _ = cv2.fisheye.projectPoints(p_world[:, None], rvec, tvec, camera.matrix, coefficients)
        return pixels.reshape(-1, 2)
    normalised, _ = cv2.projectPoints(p_world[:, None], rvec, tvec, np.eye(3), coefficients)
    homogeneous = np.concatenate([normalised.reshape(-1, 2), np.ones((len(p_world), 1))], 1)
    return (homogeneous @ camera.matrix.T)[:, :2]


def points_in_view(camera: Camera, count: int = 300) -> np.ndarray:
    """World points within a cone of 28 degrees, where all the lenses above are well inside their valid range."""
    generator = np.random.default_rng(0)
    slope = generator.uniform(-0.53, 0.53, (count, 2))
    depth = generator.uniform(0.5, 8.0, (count, 1))
    p_cam = torch.from_numpy(np.concatenate([slope, np.ones((count, 1))], 1) * depth)
    return camera.cam_from_world.inverse().apply(p_cam).numpy()


@pytest.mark.parametrize("lens", LENSES)
def test_project_equals_opencv(lens: str) -> None:
    camera = make_camera("a", *LENSES[lens])
    p_world = points_in_view(camera)
    pixels, depth = project(CameraRig((camera,)).stacked(), torch.from_numpy(p_world))
    expected = opencv_pixels(camera, p_world)
    assert np.abs(pixels[0].numpy() - expected).max() < 1e-6  # pixels: the same formulas in the same precision
    assert (depth > 0).all()


@pytest.mark.parametrize("lens", LENSES)
def test_bearings_equal_opencv_undistortion(lens: str) -> None:
    model, coefficients = LENSES[lens]
    camera = make_camera("a", model, coefficients)
    pixels = pixel_grid()
    direction, valid = camera_bearings(CameraRig((camera,)).stacked(), torch.from_numpy(pixels)[None])
    assert valid.all()
    ideal = direction[0, :, :2] / direction[0, :, 2:]
    padded = np.array(coefficients) if coefficients else np.zeros(4)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-14)
    if model == "fisheye":
        expected = cv2.fisheye.undistortPoints(pixels[:, None], camera.matrix, padded, criteria=criteria)
    else:
        # OpenCV reads no skew; handing it points that are already normalised takes the matrix out of the comparison.
        homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], 1)
        normalised = (homogeneous @ np.linalg.inv(camera.matrix).T)[:, :2]
        expected = _undistorted(normalised, padded, criteria)
    # 1e-6 px at a focal length of 1100 px.
    assert np.abs(ideal.numpy() - expected.reshape(-1, 2)).max() < 1e-6 / 1100


def _undistorted(normalised: np.ndarray, coefficients: np.ndarray, criteria: tuple[int, int, float]) -> np.ndarray:
    # OpenCV 4 gives the overload with criteria a name of its own.
    iterated = getattr(cv2, "undistortPointsIter", None)
    if iterated is not None:
        return iterated(normalised[:, None], np.eye(3), coefficients, np.eye(3), np.eye(3), criteria)
    return cv2.undistortPoints(normalised[:, None], np.eye(3), coefficients, criteria=criteria)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_over_the_whole_picture(lens: str, dtype: torch.dtype) -> None:
    rig = stacked(*LENSES[lens], dtype=dtype)
    pixels = torch.from_numpy(pixel_grid(33, 19))[None].to(dtype)
    direction, valid = camera_bearings(rig, pixels)
    if dtype == torch.float64:
        assert valid.all()
    torch.testing.assert_close(direction.norm(dim=-1), torch.ones_like(direction[..., 0]))
    back, _ = project_camera(rig, 3.7 * direction)
    # float32 holds 1280 to 1e-4, times the slope of the lens.
    assert (back - pixels).abs().max() < (2e-3 if dtype == torch.float32 else 1e-7)


def test_fisheye_sees_beyond_half_a_circle() -> None:
    rig = stacked("fisheye", [])
    wide = torch.tensor([[[1.0, 0.0, -0.2]]], dtype=torch.float64)  # 101 degrees off axis
    pixels, depth = project_camera(rig, wide)
    assert pixels[0, 0, 0] == pytest.approx(630 + 1100 * np.arctan2(1, -0.2), abs=1e-6)
    assert depth[0, 0] < 0
    direction, valid = camera_bearings(rig, pixels)
    assert valid.all()
    torch.testing.assert_close(direction, torch.nn.functional.normalize(wide, dim=-1), atol=1e-12, rtol=0)


def test_where_the_lens_folds_there_is_no_ray() -> None:
    # Strong barrel distortion, r(1 - 0.4 r²): no point of the world is seen beyond 2/3 of r = 0.913, that is 0.609
    # focal lengths.
    rig = stacked("brown_conrady", [-0.4, 0.0, 0.0, 0.0])
    radius = torch.tensor([0.2, 0.5, 0.6, 0.62, 0.8], dtype=torch.float64)
    pixels = torch.stack([630 + 1100 * radius, torch.full_like(radius, 370.0)], -1)[None]
    direction, valid = camera_bearings(rig, pixels)
    assert valid[0].tolist() == [True, True, True, False, False]
    assert direction.isfinite().all()


def test_world_rays_start_at_the_center_and_pass_through_the_point() -> None:
    camera = make_camera("a", *LENSES["five"])
    rig = CameraRig((camera,)).stacked()
    p_world = torch.from_numpy(points_in_view(camera, 50))
    pixels, _ = project(rig, p_world)
    direction, valid = bearings(rig, pixels)
    offset = p_world - camera.center
    assert valid.all()
    torch.testing.assert_close(direction[0], torch.nn.functional.normalize(offset, dim=-1), atol=1e-10, rtol=0)


def test_views_of_different_lenses_do_not_mix() -> None:
    cameras = tuple(make_camera(name.replace(" ", "_"), *LENSES[name]) for name in LENSES)
    p_world = points_in_view(cameras[0], 40)
    together, _ = project(CameraRig(cameras).stacked(), torch.from_numpy(p_world).expand(2, 3, 40, 3))
    assert together.shape == (2, 3, len(cameras), 40, 2)
    for view, camera in enumerate(cameras):
        assert np.abs(together[1, 2, view].numpy() - opencv_pixels(camera, p_world)).max() < 1e-6


@pytest.mark.parametrize("lens", LENSES)
def test_gradient_of_projection(lens: str) -> None:
    rig = stacked(*LENSES[lens])
    p_cam = torch.tensor(
        [[[0.3, -0.2, 2.0], [-0.5, 0.4, 1.5], [0.0, 0.0, 2.0]]], dtype=torch.float64, requires_grad=True
    )
    assert torch.autograd.gradcheck(
        lambda p: project_camera(rig, p)[0], (p_cam,), atol=1e-4
    )  # pixels per metre: about 1000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lens", LENSES)
def test_values_and_gradients_stay_finite_at_the_worst_points(lens: str, dtype: torch.dtype) -> None:
    """On the optical axis, on the camera plane, at the centre, behind: a NaN gradient there would spoil a whole
    batch.
    """
    rig = stacked(*LENSES[lens], dtype=dtype)
    worst = [
        [0, 0, 2.0],
        [0, 0, 0],
        [1, 1, 0],
        [1, -1, 1e-12],
        [1, 1, -1e-8],
        [3, 1, -2.0],
        [0, 0, -1.0],
        [1e-10, 0, 1],
    ]
    p_cam = torch.tensor([worst], dtype=dtype, requires_grad=True)
    pixels, _ = project_camera(rig, p_cam)
    pixels.sum().backward()
    assert pixels.isfinite().all()
    assert p_cam.grad is not None
    assert p_cam.grad.isfinite().all()


def test_compiled_bearings_are_the_tensors(both: Callable[..., tuple]) -> None:
    rig = CameraRig(tuple(make_camera(name.replace(" ", "_"), *LENSES[name]) for name in LENSES)).stacked()
    pixels = torch.from_numpy(pixel_grid())[None].expand(len(LENSES), -1, -1)
    (direction, valid), (by_tensors, valid_too) = both(lambda: camera_bearings(rig, pixels))
    assert valid.all()
    assert valid_too.all()
    torch.testing.assert_close(direction, by_tensors, atol=1e-12, rtol=0)


@pytest.mark.parametrize("lens", [*LENSES.values(), ("brown_conrady", [-0.3, 0.0, 0.0, 0.0, 0.0])])
def test_what_a_lens_folds_back_is_in_no_picture(lens: tuple[str, list[float]]) -> None:
    camera = Camera("cam", (1260, 740), MATRIX, np.array(lens[1]), RigidTransform.identity(), lens[0])  # type: ignore[arg-type]
    rig = CameraRig((camera,))
    angle, around = torch.rand(2, 20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    angle, around = 1.5 * angle, 2 * torch.pi * around
    points = torch.stack([angle.sin() * around.cos(), angle.sin() * around.sin(), angle.cos()], dim=-1)
    pixels, _, inside = in_pictures(rig, 3 * points)
    # Seen is what its pixel leads back to.
    back, valid = camera_bearings(rig.stacked(), pixels)
    within = ((pixels >= 0) & (pixels < torch.tensor([1260.0, 740.0]))).all(-1)
    seen = valid & within & ((back - points).norm(dim=-1) < 1e-5)
    assert bool(seen.any()) and bool((inside | ~seen).all())
    # Just beside the picture, where it has no corner, what folds back may be taken for seen.
    assert float(angle[inside[0]].max()) < float(angle[seen[0]].max()) + 0.04
    assert not bool(in_pictures(rig, torch.tensor([[1.8, 0.1, 1.0], [1.2, 0.8, 0.3]], dtype=torch.float64))[2].any())
