"""The adjustment against derivatives by differences, SciPy's optimum, and known truths."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from board_rigs import SIZE, MadeRig, made_rig
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from calib.board.belief import belief
from calib.board.bundle import (
    CAMERA,
    Adjusted,
    Freedom,
    Problem,
    Scene,
    Smear,
    adjust,
    covariance,
    residuals,
    total_cost,
)
from calib.board.gauge import camera_covariance
from calib.board.lens import NUMBERS, Lens, linearised, project, undistorted
from refit_mv.geometry.camera import LensModel

MODELS: tuple[LensModel, ...] = ("brown_conrady", "fisheye")


def lens_of(model: LensModel) -> np.ndarray:
    bend = [0.05, -0.01, 0.002, -0.001, 0] if model == "fisheye" else [-0.2, 0.05, 0.001, -0.002, 0.01]
    return np.array([700.0, 710, 640, 360, *bend])


@pytest.mark.parametrize("model", MODELS)
def test_lenses_are_opencvs_and_their_derivatives_true(model: LensModel) -> None:
    numbers, rng = lens_of(model), np.random.default_rng(0)
    points = rng.normal(size=(40, 3)) * [0.5, 0.5, 0.2] + [0, 0, 1.5]
    pixels, by_point, by_number = linearised(model, numbers, points)
    lens = Lens(model, numbers, SIZE)
    shown = cv2.fisheye.projectPoints if model == "fisheye" else cv2.projectPoints
    theirs = shown(points[:, None], np.zeros(3), np.zeros(3), lens.matrix, lens.coefficients)[0]
    assert np.allclose(pixels, theirs.reshape(-1, 2), atol=1e-9)
    step = 1e-6
    for axis in range(3):
        off = step * np.eye(3)[axis]
        difference = (project(model, numbers, points + off) - project(model, numbers, points - off)) / (2 * step)
        assert np.allclose(by_point[..., axis], difference, atol=1e-4)
    for axis in range(NUMBERS - (model == "fisheye")):
        off = step * np.eye(NUMBERS)[axis]
        difference = (project(model, numbers + off, points) - project(model, numbers - off, points)) / (2 * step)
        assert np.allclose(by_number[..., axis], difference, atol=1e-4)
    assert np.allclose(undistorted(lens, pixels), points[:, :2] / points[:, 2:], atol=1e-9)


def disturbed(made: MadeRig, seed: int = 5) -> tuple[Scene, Problem]:
    """A start near the truth, and the problem with the first camera held."""
    rng, scene = np.random.default_rng(seed), made.scene
    count, frames = len(scene.models), len(scene.boards.rotation)
    off = rng.normal(0, 0.01, (count, 6))
    off[0] = 0
    lenses = scene.lenses * np.where(np.arange(NUMBERS) < 2, 1.02, 1.0)
    start = Scene(scene.models, lenses, scene.cameras.moved(off), scene.boards.moved(rng.normal(0, 0.01, (frames, 6))))
    free = np.ones((count, CAMERA), bool)
    free[0, NUMBERS:] = False
    free[:, 8] = [model != "fisheye" for model in scene.models]
    beliefs = tuple(belief(model, lens[0], SIZE) for model, lens in zip(scene.models, lenses, strict=True))
    return start, Problem(made.seen, Freedom(free, np.ones(frames, bool)), beliefs, 0.2)


def test_scipy_finds_the_same_optimum() -> None:
    """An independent optimizer with numeric derivatives, on the same robust cost, gains nothing on ours."""
    made = made_rig(3, ("brown_conrady", "fisheye"), frames=5)
    start, problem = disturbed(made)
    found = adjust(start, problem)
    problem = replace(problem, sigma=found.sigma)
    beliefs, free = problem.beliefs, problem.free.cameras
    assert beliefs is not None

    def unpacked(x: np.ndarray) -> Scene:
        cameras = np.zeros(free.shape)
        cameras[free] = x[: free.sum()]
        scene = found.scene
        return Scene(
            scene.models,
            scene.lenses + cameras[:, :NUMBERS],
            scene.cameras.moved(cameras[:, NUMBERS:]),
            scene.boards.moved(x[free.sum() :].reshape(-1, 6)),
        )

    def off(x: np.ndarray) -> np.ndarray:
        scene = unpacked(x)
        left = residuals(scene, problem.seen)[problem.seen.seen] / problem.sigma
        length = np.linalg.norm(left, axis=-1, keepdims=True)
        # Half the square of this is Huber's cost.
        huber = np.where(length > 2.0, np.sqrt(np.maximum(4 * length - 4.0, 0)) / np.maximum(length, 1e-9), 1.0)
        held = [each.linearised(lens)[0] for each, lens in zip(beliefs, scene.lenses, strict=True)]
        return np.concatenate([(left * huber).ravel(), *held])

    zero = np.zeros(int(free.sum()) + 6 * len(found.scene.boards.rotation))
    assert np.isclose(0.5 * (off(zero) ** 2).sum(), total_cost(found.scene, problem))
    theirs = least_squares(off, zero, x_scale="jac", method="trf", ftol=1e-12, xtol=1e-12, max_nfev=15)
    assert theirs.cost > 0.5 * (off(zero) ** 2).sum() - 1e-5
    moved = unpacked(theirs.x)
    assert np.abs(moved.cameras.translation - found.scene.cameras.translation).max() < 3e-4


def test_without_noise_the_truth_comes_back() -> None:
    made = made_rig(1, ("brown_conrady", "fisheye", "brown_conrady"), frames=25, noise=0.0)
    start, problem = disturbed(made)
    found = adjust(start, replace(problem, beliefs=None)).scene
    assert np.abs(found.cameras.translation - made.scene.cameras.translation).max() < 1e-5
    assert np.abs(found.lenses[:, :4] - made.scene.lenses[:, :4]).max() < 1e-2


def test_outliers_move_little() -> None:
    made = made_rig(2, frames=30)
    pixels = made.seen.pixels.copy()
    wrong = np.random.default_rng(0).random(made.seen.seen.shape) < 0.03
    pixels[wrong] += 40
    start, problem = disturbed(made)
    clean = adjust(start, problem).scene
    dirty = adjust(start, replace(problem, seen=replace(made.seen, pixels=pixels))).scene
    assert np.abs(clean.cameras.translation - dirty.cameras.translation).max() < 0.015


def steps_of(found: Adjusted, free: np.ndarray) -> np.ndarray:
    """The covariance of all cameras' pose steps, zeros where one was held."""
    count, chosen = len(free), np.flatnonzero(free.ravel())
    whole = np.zeros((count * CAMERA, count * CAMERA))
    whole[np.ix_(chosen, chosen)] = found.covariance
    return whole.reshape(count, CAMERA, count, CAMERA)[:, NUMBERS:, :, NUMBERS:].reshape(6 * count, 6 * count)


def test_stated_uncertainty_is_true() -> None:
    """The errors of all numbers of all cameras, whitened by their stated covariance, have a variance of one."""
    squares, count = 0.0, 0
    for seed in range(6):
        made = made_rig(seed, frames=30)
        start, problem = disturbed(made, seed)
        found = adjust(start, problem)
        ours, true = found.scene, made.scene
        turned = Rotation.from_matrix(ours.cameras.rotation @ true.cameras.rotation.transpose(0, 2, 1)).as_rotvec()
        shifted = ours.cameras.translation - true.cameras.translation
        off = np.concatenate([ours.lenses - true.lenses, turned, shifted], 1)[problem.free.cameras]
        squares += off @ np.linalg.solve(found.covariance, off)
        count += len(off)
    # One standard deviation of the mean of 306 such squares is 0.08.
    assert 0.75 < squares / count < 1.3


def test_uncertainty_within_the_rig_does_not_depend_on_the_camera_that_is_held() -> None:
    made = made_rig(4, frames=25)
    start, problem = disturbed(made)
    found = adjust(start, problem)
    known = camera_covariance(found.scene.cameras, steps_of(found, problem.free.cameras), "rig")
    free = problem.free.cameras.copy()
    free[0, NUMBERS:], free[2, NUMBERS:] = True, False
    other = Freedom(free, problem.free.boards)
    again = replace(found, covariance=covariance(found.scene, replace(problem, free=other, sigma=found.sigma)))
    moved = camera_covariance(found.scene.cameras, steps_of(again, free), "rig")
    assert np.allclose(known.position, moved.position, rtol=1e-4, atol=1e-10)
    assert np.allclose(known.rotation, moved.rotation, rtol=1e-4, atol=1e-10)
    assert (known.position_sigma > 1e-4).all()


def test_a_late_view_is_explained_by_its_time() -> None:
    """Whitening takes out just what the motion explains, and leaves what is across it."""
    motion = np.zeros((1, 3, 2))
    motion[..., 0] = 100.0
    smear = Smear(motion, np.zeros(1), 0.05)
    along, across = np.zeros((1, 3, 2)), np.zeros((1, 3, 2))
    along[..., 0], across[..., 1] = 5.0, 5.0
    assert np.abs(smear.whitened(along[..., None], np.full(1, 0.2))).max() < 0.2
    assert np.allclose(smear.whitened(across[..., None], np.full(1, 0.2))[..., 0], across)
