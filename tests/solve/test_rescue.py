"""Frames that their window leaves astray are put between their neighbours; nothing else is."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import pose_landmarks
from refit_mv.geometry.rotations import exp
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.solve.over_time import SequenceOptions, Window, fit_over_time
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

FRAMES, ASTRAY = 16, 7


@dataclass(frozen=True, eq=False)
class Given:
    """A window solver that knows the motion already."""

    motion: BodyParams

    def arranged(self, problem: FitProblem) -> FitProblem:
        return problem

    def solve(self, problem: FitProblem, start: BodyParams, window: Window) -> tuple[BodyParams, Tensor]:
        joints = self.motion.rotations.shape[1]
        return self.motion[window.frame], 1e-4 * torch.eye(3).double().expand(len(window.frame), joints, 3, 3)

    def again(self, params: BodyParams, seen: Tensor, bent: Tensor) -> "Given":
        return self


@pytest.fixture(scope="module")
def take(body: BodyModel) -> SyntheticSession:
    motion = sampled_motion(load_pose_prior(), seed=5, frames=FRAMES, fps=30.0)
    return synthesise(body, "coco23", motion, ring_rig(4), detector_noise("standard"), seed=6)


@pytest.fixture(scope="module")
def problem(body: BodyModel, take: SyntheticSession, pose_problem: Callable) -> FitProblem:
    return pose_problem(body, take, shape_mode="locked", time_step=1 / 30)


@pytest.fixture(scope="module")
def alone(problem: FitProblem, take: SyntheticSession) -> FitResult:
    return GaussNewton().solve(replace(problem, time_step=None), take.truth)


def raised(body: BodyModel, params: BodyParams, frame: int) -> BodyParams:
    """With the left arm somewhere else in that frame."""
    rotations = params.rotations.clone()
    shoulder = body.joint_names.index("left_shoulder")
    rotations[frame, shoulder] = rotations[frame, shoulder] @ exp(torch.tensor([0.5, 1.5, 0.8], dtype=torch.float64))
    return BodyParams(params.pelvis, rotations, params.shape)


def test_an_arm_astray_in_one_frame_is_brought_back(
    body: BodyModel, take: SyntheticSession, problem: FitProblem, alone: FitResult
) -> None:
    wrong = raised(body, take.truth, ASTRAY)
    found = fit_over_time(problem, alone, SequenceOptions(), Given(wrong)).params
    truth = posed_joints(body, take.truth).positions
    before, after = ((posed_joints(body, each).positions - truth).norm(dim=-1).amax(-1) for each in (wrong, found))
    assert float(before[ASTRAY]) > 0.3 and float(after[ASTRAY]) < 0.1
    others = torch.arange(FRAMES) != ASTRAY
    torch.testing.assert_close(found.rotations[others], take.truth.rotations[others])


def test_a_motion_that_does_not_follow_a_wrong_frame_stays(
    body: BodyModel, take: SyntheticSession, problem: FitProblem, alone: FitResult
) -> None:
    """Evidence of one frame is of a raised arm: alone it explains more, and the motion is right all the same."""
    wrong = raised(body, take.truth, ASTRAY)
    bearing, names = problem.bearing.clone(), problem.skin.landmark_names
    arm = [place for place, name in enumerate(names) if name in ("left_elbow", "left_wrist")]
    points = pose_landmarks(problem.skin, wrong).positions[ASTRAY, arm]
    bearing[ASTRAY][:, arm] = torch.nn.functional.normalize(points - problem.rig.center[:, None], dim=-1)
    spoilt = problem.with_rays(bearing=bearing)
    followed = replace(alone, params=wrong)
    found = fit_over_time(spoilt, followed, SequenceOptions(), Given(take.truth)).params
    truth, there = (posed_joints(body, each).positions[ASTRAY] for each in (take.truth, found))
    assert float((there - truth).norm(dim=-1).max()) < 0.05
