"""The classic optimizer on frames that are neighbours in time: what it gains, and what it must not lose."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.priors import load_pose_prior
from refit_mv.optimizers.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.solve.initialise import initialise
from refit_mv.solve.over_time import SequenceOptions
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.status import FrameStatus, Presence
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

FRAMES, LOST = 48, slice(20, 29)


@pytest.fixture(scope="module")
def take(body: BodyModel) -> SyntheticSession:
    """0.8 s at 60 frames a second before two cameras."""
    motion = sampled_motion(load_pose_prior(), seed=5, frames=FRAMES, fps=60.0)
    return synthesise(body, "coco23", motion, ring_rig(2), detector_noise("standard"), seed=6)


@pytest.fixture(scope="module")
def problem(body: BodyModel, take: SyntheticSession, pose_problem: Callable) -> FitProblem:
    """Shape known; for 0.15 s nobody saw anything."""
    whole = pose_problem(body, take, shape_mode="locked", time_step=1 / 60)
    confidence = whole.confidence.clone()
    confidence[LOST] = 0
    return whole.with_rays(confidence=confidence)


@pytest.fixture(scope="module")
def tied(problem: FitProblem, take: SyntheticSession) -> FitResult:
    return GaussNewton().solve(problem, replace(initialise(problem), shape=take.truth.shape))


def places(body: BodyModel, result: FitResult) -> Tensor:
    return posed_joints(body, result.params).positions


def shaking(points: Tensor) -> float:
    return float(points.diff(n=2, dim=0).norm(dim=-1).mean())


def test_neighbours_make_frames_better_and_calmer(body: BodyModel, take: SyntheticSession, tied: FitResult) -> None:
    truth = posed_joints(body, take.truth).positions
    assert tied.per_frame is not None
    alone = posed_joints(body, tied.per_frame).positions
    kept = torch.ones(FRAMES, dtype=torch.bool)
    kept[LOST] = False
    before, after = ((points - truth).norm(dim=-1)[kept].mean() for points in (alone, places(body, tied)))
    assert float(after) < 0.85 * float(before)
    assert shaking(places(body, tied)[:20] - truth[:20]) < 0.4 * shaking(alone[:20] - truth[:20])


def test_what_nobody_saw_is_carried_and_less_and_less_sure(
    body: BodyModel, take: SyntheticSession, tied: FitResult
) -> None:
    assert [index for index, status in enumerate(tied.status) if status is FrameStatus.BRIDGED] == list(range(20, 29))
    assert tied.status[24].presence is Presence.BRIDGED
    miss = (places(body, tied) - posed_joints(body, take.truth).positions).norm(dim=-1)[LOST]
    assert float(miss.mean()) < 0.08
    sigma = tied.joint_sigma.mean(-1)
    assert float(sigma[24]) > 1.5 * float(sigma[15:19].mean())
    assert int(sigma[18:31].argmax()) in (5, 6, 7)


def test_windows_leave_no_seams(body: BodyModel, problem: FitProblem, take: SyntheticSession, tied: FitResult) -> None:
    """Three windows instead of one: the same motion, to less than its own uncertainty by far."""
    options = GaussNewtonOptions(sequence=SequenceOptions(core_frames=16, halo_frames=14, fade_frames=4))
    cut = GaussNewton(options).solve(problem, replace(initialise(problem), shape=take.truth.shape))
    difference = places(body, cut) - places(body, tied)
    seen = torch.ones(FRAMES, dtype=torch.bool)
    seen[LOST] = False
    assert float(difference.norm(dim=-1)[seen].mean()) < 0.002
    # No step at a border: differences between the two change as slowly as they do elsewhere.
    assert shaking(difference) < 0.001


def test_a_sequence_goes_on_from_what_precedes_it(
    body: BodyModel, problem: FitProblem, take: SyntheticSession, tied: FitResult
) -> None:
    """The last part alone, told of the two frames before it, is the last part of the whole."""
    part = replace(problem.frames(slice(32, None)), preceding=tied.params[30:32])
    initial = replace(initialise(part), shape=take.truth.shape[32:])
    result = GaussNewton().solve(part, initial)
    difference = (places(body, result) - places(body, tied)[32:]).norm(dim=-1)
    assert float(difference.mean()) < 0.002
    assert len(result.status) == len(result.params) == FRAMES - 32


def test_frames_that_are_not_neighbours_are_left_alone(problem: FitProblem, take: SyntheticSession) -> None:
    chosen = torch.tensor([1, 5, 9])
    some = problem.frames(chosen)
    assert some.time_step is None
    assert problem.frames(slice(3, 9)).time_step == problem.time_step
    result = GaussNewton().solve(some, replace(initialise(some), shape=take.truth.shape[chosen]))
    assert result.per_frame is None
    assert result.swapped is None
