"""Figures of rendered people, from fits whose errors are planted."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry import rotations as so3
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.workshop.bench.detector_profiles import rendered_errors
from refit_mv.workshop.training.detector_pictures import Sightings

PEOPLE = 2


def sighted(body: BodyModel, found: list[bool], views: int) -> Sightings:
    """Exact points of people who stand 4 m before cameras that all stand at the same place."""
    keypoints, pictures = keypoint_set("coco17"), PEOPLE * views
    truth = body.rest(PEOPLE, torch.float64)
    places = pose_landmarks(landmark_skin(body, keypoints.keypoint_names), truth).positions.numpy()
    turned, away = np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 4.0])
    matrix = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]])
    flat = (places.repeat(views, 0) @ turned.T + away) @ matrix.T
    return Sightings(
        keypoints, views, flat[..., :2] / flat[..., 2:], np.ones(flat.shape[:2]), np.array(found),
        np.stack([matrix] * pictures), np.stack([turned] * pictures), np.stack([away] * pictures),
        np.full(pictures, 400.0), truth,
    )  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """Knows the truth, and moves or bends it."""

    truth: BodyParams
    moved: float = 0.0
    bent: float = 0.0
    name: str = "planted"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        rotations = self.truth.rotations[:1].clone()
        rotations[:, 16] = so3.exp(torch.tensor([0.0, 0.0, self.bent], dtype=torch.float64))
        pelvis = self.truth.pelvis[:1] + torch.tensor([0.0, 0.0, self.moved], dtype=torch.float64)
        params = replace(self.truth[:1], pelvis=pelvis, rotations=rotations)
        return FitResult.of(problem, params, torch.eye(3, dtype=torch.float64).expand(1, rotations.shape[1], 3, 3))


def test_whoever_is_only_misplaced_keeps_his_posture(body: BodyModel):
    seen = sighted(body, [True, True], 1)
    errors = rendered_errors(body, seen, None, Planted(seen.truth, moved=0.4))
    assert errors.mm == pytest.approx([400.0] * PEOPLE)
    assert errors.posture_mm == pytest.approx([0.0] * PEOPLE, abs=1e-6)
    bent = rendered_errors(body, seen, None, Planted(seen.truth, moved=0.4, bent=1.0))
    assert (bent.posture_mm > 20).all() and (bent.posture_mm < bent.mm).all()


def test_one_view_is_enough_where_there_is_only_one(body: BodyModel):
    assert [person for person, _ in sighted(body, [False, True], 1).well_found()] == [1]
    # Of two views both have to.
    assert [person for person, _ in sighted(body, [True, False, True, True], 2).well_found()] == [1]
