"""Motions with planted feet: what stands stands still, on its level, and when is known."""

import numpy as np
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import sole_skin
from refit_mv.geometry.rotations import exp
from refit_mv.workshop.synthetic.planted import plant
from tests.stepping import stepping

FPS = 60.0


def slipping(body: BodyModel, params: BodyParams) -> BodyParams:
    """The motion with hips that sway, so that feet slide and sink."""
    rotations = params.rotations.clone()
    time = torch.arange(len(params), dtype=torch.float64) / FPS
    for number, side in enumerate(("left", "right")):
        vectors = torch.zeros(len(params), 3, dtype=torch.float64)
        vectors[:, 0] = 0.03 * torch.sin(4.0 * time + number)
        vectors[:, 2] = 0.02 * torch.cos(3.0 * time + number)
        hip = body.joint_names.index(f"{side}_hip")
        rotations[:, hip] = rotations[:, hip] @ exp(vectors)
    return BodyParams(params.pelvis, rotations, params.shape)


def test_feet_that_slide_are_planted_where_they_stand(body: BodyModel) -> None:
    truth, stands = stepping(body, 1.4, FPS)
    before = slipping(body, truth)
    planted = plant(body, before, FPS)
    agreed = 2 * (planted.contact & stands).sum() / (planted.contact.sum() + stands.sum())
    assert agreed > 0.9
    both = planted.contact[1:] & planted.contact[:-1]
    places = [pose_landmarks(sole_skin(body), each).positions.numpy() for each in (before, planted.params)]
    slide = [np.median(np.linalg.norm(np.diff(each[:, :4], axis=0), axis=-1)[both]) for each in places]
    assert slide[0] > 1e-3 and slide[1] < 2e-4
    height = places[1][:, :4, 1][planted.contact] - planted.floor
    assert np.abs(height).max() < 0.021 and np.percentile(np.abs(height), 90) < 0.004
    assert planted.floor - places[1][..., 1].min() < 0.004
    again = plant(body, before, FPS)
    assert torch.equal(again.params.rotations, planted.params.rotations)


def test_who_stands_on_two_levels_stands_on_both(body: BodyModel) -> None:
    """Half of the motion is half a metre higher."""
    truth, _ = stepping(body, 2.8, FPS)
    half = len(truth) // 2
    truth.pelvis[half:, 1] += 0.5
    planted = plant(body, truth, FPS)
    heights = pose_landmarks(sole_skin(body), planted.params).positions.numpy()[:, :4, 1]
    assert abs(planted.floor) < 0.01
    high = heights[half + 20 :][planted.contact[half + 20 :]]
    assert len(high) > 50 and abs(np.median(high) - 0.5) < 0.01
