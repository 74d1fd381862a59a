"""A person's shape from one view: rendered truth, exact keypoints, planted faults."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project
from refit_mv.image.rasteriser import rasterise
from refit_mv.image.shape_fit import ShapeEvidence, ShapeOptions, fit_shape
from refit_mv.workshop.pictures.examples import POINTS
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import motion_params

SIZE = (480, 640)
FRAMES = 4


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def truth(body: BodyModel) -> BodyParams:
    motion = sampled_motion(load_pose_prior(), 4, FRAMES, 2.0)
    shape = torch.tensor([1.2, -0.8, 0.9, 0.4, -1.0, 0.5, 0.3, -0.6, 0.2, 0.7], dtype=torch.float64)
    return motion_params(body, motion, shape.expand(FRAMES, -1))


@pytest.fixture(scope="module")
def camera(truth: BodyParams) -> Camera:
    given = random_rig(3, 1, capture_radius=1.5, roll=0.0, portrait_share=1.0, distortion=True).cameras[0]
    scale = np.diag([SIZE[0] / 1080, SIZE[0] / 1080, 1.0])
    return replace(given, size=SIZE, matrix=scale @ given.matrix)


def keypoints(body: BodyModel, truth: BodyParams, camera: Camera) -> np.ndarray:
    points = pose_landmarks(landmark_skin(body, POINTS), truth).positions
    return project(CameraRig((camera,)).stacked(), points)[0][:, 0].numpy()


def silhouettes(body: BodyModel, truth: BodyParams, camera: Camera) -> list[np.ndarray]:
    pixels, depth = project(CameraRig((camera,)).stacked(), vertices(body, truth))
    faces = body.faces.numpy()
    return [rasterise(p[0].numpy(), d[0].numpy(), faces, SIZE).mask() for p, d in zip(pixels, depth, strict=True)]


def held(truth: BodyParams) -> BodyParams:
    """The true pose on the mean body."""
    return BodyParams(truth.pelvis, truth.rotations, torch.zeros_like(truth.shape))


def surface_error(body: BodyModel, truth: BodyParams, shape: np.ndarray) -> float:
    """Mean vertex distance, metres."""
    ours = BodyParams(truth.pelvis, truth.rotations, torch.from_numpy(shape).expand(len(truth), -1))
    return float((vertices(body, ours) - vertices(body, truth)).norm(dim=-1).mean())


def test_exact_keypoints_and_no_prior_give_what_keypoints_determine(
    body: BodyModel, truth: BodyParams, camera: Camera
) -> None:
    """18 points do not show girth, but where they are must be met exactly."""
    pixels = keypoints(body, truth, camera)
    evidence = ShapeEvidence(camera, POINTS, pixels, np.ones(pixels.shape[:2]), [None] * FRAMES)
    fit = fit_shape(body, held(truth), evidence, ShapeOptions(prior=100.0, iterations=20))
    shape = torch.from_numpy(fit.shape).expand(FRAMES, -1)
    fitted = BodyParams(truth.pelvis, truth.rotations, shape)
    assert np.abs(keypoints(body, fitted, camera) - pixels).max() < 0.02
    assert fit.cost[-1] < 1e-3 * fit.cost[0]
    # Held means held.
    assert np.abs(fit.offset).max() < 1e-6


def test_silhouettes_show_what_keypoints_do_not(body: BodyModel, truth: BodyParams, camera: Camera) -> None:
    pixels = keypoints(body, truth, camera)
    seen = np.ones(pixels.shape[:2])
    masks = silhouettes(body, truth, camera)
    errors = {}
    for name, shown in (("keypoints", [None] * FRAMES), ("both", masks)):
        fit = fit_shape(body, held(truth), ShapeEvidence(camera, POINTS, pixels, seen, shown), ShapeOptions())
        errors[name] = surface_error(body, truth, fit.shape)
    start = surface_error(body, truth, np.zeros(10))
    print(start, errors)
    assert errors["keypoints"] < 0.6 * start
    assert errors["both"] < 0.006
    assert errors["both"] < 0.8 * errors["keypoints"]


def test_silhouettes_alone_suffice(body: BodyModel, truth: BodyParams, camera: Camera) -> None:
    nothing = np.zeros((FRAMES, len(POINTS)))
    evidence = ShapeEvidence(
        camera, POINTS, np.zeros((FRAMES, len(POINTS), 2)), nothing, silhouettes(body, truth, camera)
    )
    fit = fit_shape(body, held(truth), evidence, ShapeOptions())
    print(surface_error(body, truth, fit.shape), fit.shape, fit.sigma)
    assert surface_error(body, truth, fit.shape) < 0.008


def test_a_pelvis_given_wrongly_is_found_where_that_is_allowed(
    body: BodyModel, truth: BodyParams, camera: Camera
) -> None:
    pixels = keypoints(body, truth, camera)
    wrong = replace(held(truth), pelvis=truth.pelvis + torch.tensor([0.03, -0.02, 0.02], dtype=torch.float64))
    evidence = ShapeEvidence(camera, POINTS, pixels, np.ones(pixels.shape[:2]), [None] * FRAMES)
    stiff = fit_shape(body, wrong, evidence, ShapeOptions())
    free = fit_shape(body, wrong, evidence, ShapeOptions(position=0.05))
    # In one view only two of the three coordinates are well seen; those come back.
    across = camera.cam_from_world.rotation.numpy() @ (free.offset - [-0.03, 0.02, -0.02]).mean(0)
    print(across, surface_error(body, truth, stiff.shape), surface_error(body, truth, free.shape))
    assert np.abs(across[:2]).max() < 0.01
    assert surface_error(body, truth, free.shape) < surface_error(body, truth, stiff.shape)


def test_one_gross_outlier_does_not_shape_a_person(body: BodyModel, truth: BodyParams, camera: Camera) -> None:
    pixels = keypoints(body, truth, camera)
    clean = ShapeEvidence(camera, POINTS, pixels, np.ones(pixels.shape[:2]), [None] * FRAMES)
    spoiled = pixels.copy()
    spoiled[1, POINTS.index("left_wrist")] += 150
    dirty = replace(clean, pixels=spoiled)
    first, second = (fit_shape(body, held(truth), each, ShapeOptions()).shape for each in (clean, dirty))
    assert np.abs(first - second).max() < 0.1


def test_nothing_to_fit_to_is_said(body: BodyModel, truth: BodyParams, camera: Camera) -> None:
    shape = (FRAMES, len(POINTS))
    evidence = ShapeEvidence(camera, POINTS, np.zeros((*shape, 2)), np.zeros(shape), [None] * FRAMES)
    with pytest.raises(InputError, match="nothing to fit a shape to"):
        fit_shape(body, held(truth), evidence, ShapeOptions())
