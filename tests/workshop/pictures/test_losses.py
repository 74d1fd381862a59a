"""The paper's losses against their formulas, written once more in NumPy; and measures of error on known errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry.rotations import exp, to_6d
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.estimate import Estimate
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import FeedbackBody, feedback_body
from refit_mv.workshop.pictures.batches import Batch, Truth
from refit_mv.workshop.pictures.evaluation import picture_errors
from refit_mv.workshop.pictures.examples import HIPS, POINTS
from refit_mv.workshop.pictures.losses import ImageLossOptions, Losses

CROPS = 5


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def feedback(body: BodyModel) -> FeedbackBody:
    return feedback_body(body, ImageNetworkOptions()).to(torch.float32)


def people(seed: int) -> BodyParams:
    generator = torch.Generator().manual_seed(seed)
    rotations = exp(0.3 * torch.randn(CROPS, 24, 3, generator=generator))
    facing = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    rotations[:, 0] = facing @ rotations[:, 0]
    pelvis = torch.tensor([0.1, 0.0, 4.0]) + 0.2 * torch.randn(CROPS, 3, generator=generator)
    return BodyParams(pelvis, rotations, torch.randn(CROPS, 10, generator=generator))


@pytest.fixture(scope="module")
def crops() -> CropCamera:
    spread = torch.linspace(0, 1, CROPS)
    return CropCamera(
        1000 + 100 * spread,
        torch.full((CROPS, 2), 500.0),
        torch.stack([520 + 20 * spread, 500 - 30 * spread], 1),
        400 + 50 * spread,
    )


@pytest.fixture(scope="module")
def batch(body: BodyModel, crops: CropCamera) -> Batch:
    params = people(0)
    places = pose_landmarks(landmark_skin(body, POINTS).to(torch.float32, "cpu"), params).positions
    pixels = crops.focal[:, None, None] * places[..., :2] / places[..., 2:] + crops.principal[:, None]
    confidence = torch.rand(CROPS, len(POINTS), 1, generator=torch.Generator().manual_seed(1))
    held = places - places[:, list(HIPS)].mean(1, keepdim=True)
    truth = Truth(
        params,
        has_pose=torch.tensor([True, True, False, True, True]),
        has_shape=torch.tensor([True, False, False, True, True]),
        has_position=torch.tensor([True, True, False, False, True]),
        points=torch.cat([pixels, confidence], -1),
        points_3d=torch.cat([held, confidence], -1),
    )
    return Batch(torch.zeros(CROPS, 3, 64, 64), crops, truth, None)


def estimate_of(params: BodyParams, crops: CropCamera, feedback: FeedbackBody) -> Estimate:
    camera = crops.camera_of(params.pelvis - feedback.rest_pelvis(params.shape))
    return Estimate(to_6d(params.rotations), params.shape, camera)


def test_the_truth_costs_nothing(body: BodyModel, feedback: FeedbackBody, batch: Batch) -> None:
    losses = Losses(body, feedback, ImageLossOptions(skin=1.0, position=1.0))
    total, terms = losses([estimate_of(batch.truth.params, batch.crops, feedback)] * 3, batch)
    assert float(total) < 1e-4
    assert set(terms) == {"pixels", "points", "rotations", "shape", "skin", "position"}


def test_terms_are_the_papers(body: BodyModel, feedback: FeedbackBody, batch: Batch) -> None:
    other = people(7)
    options = ImageLossOptions(skin=2.0, position=3.0)
    found = Losses(body, feedback, options).terms(estimate_of(other, batch.crops, feedback), batch.crops, batch.truth)
    truth, crops = batch.truth, batch.crops
    places = pose_landmarks(landmark_skin(body, POINTS), other.to(torch.float64)).positions.numpy()
    confidence = truth.points[..., 2:].numpy().astype(np.float64)

    pixels = crops.focal.numpy()[:, None, None] * places[..., :2] / places[..., 2:] + crops.principal.numpy()[:, None]
    half = crops.box_side.numpy()[:, None, None] / 2
    center = crops.box_center.numpy()[:, None]
    gap = (pixels - center) / half - (truth.points[..., :2].numpy() - center) / half
    assert float(found["pixels"]) == pytest.approx(5 * (confidence * gap**2).mean(), rel=1e-3)

    held = places - places[:, list(HIPS)].mean(1, keepdims=True)
    gap = held - truth.points_3d[..., :3].numpy()
    assert float(found["points"]) == pytest.approx(5 * (confidence * gap**2).mean(), rel=1e-3)

    turned = ((other.rotations - truth.params.rotations) ** 2).numpy().reshape(CROPS, -1).mean(1)
    assert float(found["rotations"]) == pytest.approx(turned[[0, 1, 3, 4]].mean(), rel=1e-4)
    shape = ((other.shape - truth.params.shape) ** 2).numpy().mean(1)
    assert float(found["shape"]) == pytest.approx(0.001 * shape[[0, 3, 4]].mean(), rel=1e-4)
    moved = ((other.pelvis - truth.params.pelvis) / truth.params.pelvis[:, 2:]).numpy() ** 2
    assert float(found["position"]) == pytest.approx(3 * moved.mean(1)[[0, 1, 4]].mean(), rel=1e-3)


def test_later_predictions_count_more(body: BodyModel, feedback: FeedbackBody, batch: Batch) -> None:
    losses = Losses(body, feedback, ImageLossOptions(pixels=0.0, points=0.0, rotations=0.0, shape=1.0))
    right = estimate_of(batch.truth.params, batch.crops, feedback)
    wrong = replace(right, shape=right.shape + 1)
    first, last = (float(losses(each, batch)[0]) for each in ([wrong, right, right], [right, right, wrong]))
    assert last == pytest.approx(60, rel=1e-5)
    assert first == pytest.approx(60 * 0.85**2, rel=1e-5)


def test_maps_are_asked_for_their_markers(body: BodyModel, feedback: FeedbackBody, batch: Batch) -> None:
    losses = Losses(body, feedback, ImageLossOptions(maps=1.0))
    points, _ = feedback.pose(batch.truth.params)
    place = (batch.crops.project(points, 64) / 4).round().long()
    flat = torch.zeros(CROPS, points.shape[1], 16, 16)
    assert float(losses.map_loss(flat, batch)) == pytest.approx(np.log(256), rel=1e-5)
    peaked = flat.clone()
    for crop in range(CROPS):
        for point, (x, y) in enumerate(place[crop].tolist()):
            if 0 <= x < 16 and 0 <= y < 16:
                peaked[crop, point, y, x] = 20.0
    assert float(losses.map_loss(peaked, batch)) < 1e-3
    # Row and column are not confused.
    assert float(losses.map_loss(peaked.transpose(-1, -2), batch)) > 3


def test_errors_are_measured_as_the_field_does(body: BodyModel) -> None:
    truth = people(3).to(torch.float64)
    same = picture_errors(body, truth, truth)
    assert max(same.mpjpe, same.pa_mpjpe, same.pve, same.position) < 1e-6
    moved = picture_errors(body, replace(truth, pelvis=truth.pelvis + torch.tensor([0.03, 0.0, 0.04])), truth)
    assert moved.position == pytest.approx(50, abs=1e-4) and moved.mpjpe < 1e-6 and moved.pve < 1e-6
    turned = truth.rotations.clone()
    turned[:, 0] = exp(torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)) @ turned[:, 0]
    spun = picture_errors(body, replace(truth, rotations=turned), truth)
    assert spun.pa_mpjpe < 1e-3 and spun.mpjpe > 50 and spun.people == CROPS
