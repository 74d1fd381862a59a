"""Joints that nothing shows: said so, and known no better than people's poses tell."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit import ReFit
from refit_mv.solve.gaps import landmark_age
from refit_mv.solve.initialise import initialise
from refit_mv.solve.lasting import lasting_covariance
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.solve.uncertainty import joint_covariance
from refit_mv.solve.visibility import seen_joints
from refit_mv.status import FrameStatus
from refit_mv.workshop.synthetic.session import SyntheticSession

PEOPLE = 64
LEGS, ARMS = ("knee", "ankle", "toe", "heel"), ("elbow", "wrist", "knuckle", "finger", "thumb")
FACE = ("nose", "eye", "ear")
OPTIMIZERS: tuple[Optimizer, ...] = (ReFit(), GaussNewton())
INFERRED = {LEGS: ("knee", "ankle", "foot"), ARMS: ("elbow", "wrist", "hand"), ("knee",): ("knee",)}


@pytest.fixture(scope="module")
def session(body: BodyModel, draw: Callable[..., list[SyntheticSession]]) -> SyntheticSession:
    return draw(body, "coco17", "standard", views=4, frames=PEOPLE)[0]


@pytest.fixture(scope="module")
def problem(body: BodyModel, session: SyntheticSession, pose_problem: Callable[..., FitProblem]) -> FitProblem:
    return pose_problem(body, session)


def hidden(problem: FitProblem, words: tuple[str, ...], rows: slice = slice(None)) -> FitProblem:
    confidence = problem.confidence.clone()
    places = [k for k, name in enumerate(problem.skin.landmark_names) if any(word in name for word in words)]
    for place in places:
        confidence[rows, :, place] = 0
    return problem.with_rays(confidence=confidence)


def joints(body: BodyModel, words: tuple[str, ...]) -> list[int]:
    return [place for place, name in enumerate(body.joint_names) if any(word in name for word in words)]


def solved(optimizer: Optimizer, problem: FitProblem) -> FitResult:
    return optimizer.solve(problem, initialise(problem))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.name)
@pytest.mark.parametrize("words", INFERRED, ids=lambda words: words[0])
def test_error_bars_of_hidden_limbs_are_as_long_as_their_errors(
    body: BodyModel, session: SyntheticSession, problem: FitProblem, words: tuple[str, ...], optimizer: Optimizer
) -> None:
    result, places = solved(optimizer, hidden(problem, words)), joints(body, INFERRED[words])
    others = [place for place in range(body.joint_count) if place not in places]
    assert not bool(result.joint_seen[:, places].any()) and float(result.joint_seen[:, others].float().mean()) > 0.98
    error = (posed_joints(body, result.params).positions - posed_joints(body, session.truth).positions)[:, places]
    ratio = error.abs() / result.joint_sigma[:, places, None]
    assert 0.5 < float((ratio < 1).double().mean()) < 0.9
    assert float(ratio.flatten().quantile(0.95)) < 3
    if words is LEGS:
        # The learned optimizer's own were 25 mm.
        assert float(result.joint_sigma[:, joints(body, ("ankle",))].median()) > 0.1
    assert set(result.status) == {FrameStatus.FITTED}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: each.name)
def test_a_face_alone_does_not_fix_a_body(body: BodyModel, problem: FitProblem, optimizer: Optimizer) -> None:
    everything_else = tuple(name for name in problem.skin.landmark_names if not any(word in name for word in FACE))
    result = solved(optimizer, hidden(problem, everything_else))
    assert FrameStatus.FITTED not in result.status and FrameStatus.CLASSIC not in result.status
    assert not bool(result.joint_seen[:, joints(body, ("pelvis", "knee", "wrist"))].any())
    assert bool(result.joint_seen[:, joints(body, ("head",))].all())


def test_what_is_seen_keeps_the_optimizers_own_error_bars(body: BodyModel, problem: FitProblem) -> None:
    sure = problem.with_rays(confidence=(problem.confidence > 0).double())
    result = solved(GaussNewton(), sure)
    assert bool(result.joint_seen.all())
    own = joint_covariance(sure, result.params) + lasting_covariance(sure, result.params)
    torch.testing.assert_close(result.joint_covariance, own)
    legless = hidden(sure, LEGS)
    again = FitResult.of(legless, result.params, result.joint_covariance)
    assert torch.equal(again.joint_covariance[again.joint_seen], result.joint_covariance[again.joint_seen])


def test_a_limb_hidden_for_moments_is_known_less_and_less(body: BodyModel, problem: FitProblem) -> None:
    sure = problem.with_rays(confidence=torch.ones_like(problem.confidence))
    steady = replace(hidden(sure, LEGS, slice(10, 50)), time_step=1 / 60)
    params = solved(GaussNewton(), sure).params[:1]
    params = params[torch.zeros(PEOPLE, dtype=torch.long)]
    own = 1e-6 * torch.eye(3, dtype=torch.float64).expand(PEOPLE, body.joint_count, 3, 3)
    result = FitResult.of(steady, params, own)
    ankle = joints(body, ("left_ankle",))[0]
    seen, sigma = result.joint_seen[:, ankle], result.joint_sigma[:, ankle]
    # A point that blinks is still seen.
    assert bool(seen[:11].all()) and not bool(seen[12:48].any()) and bool(seen[49:].all())
    assert bool((sigma[12:29].diff() > 0).all()) and float(sigma[29]) > 0.08


def test_time_counts_to_the_nearest_sight() -> None:
    confidence = torch.tensor([[0.9, 0.9, 0.0], [0.9, 0.1, 0.0], [0.9, 0.0, 0.0], [0.9, 0.0, 0.2], [0.9, 0.8, 0.0]])
    age = landmark_age(confidence[:, None], 0.1)
    assert torch.allclose(age[:, 1], torch.tensor([0.0, 0.1, 0.2, 0.1, 0.0])) and bool(age[:, 2].isinf().all())
    assert bool((landmark_age(confidence[:, None], None)[1:4, 1]).isinf().all())
    # A detector that is sure of nothing is believed what it is surest of.
    assert float(landmark_age(torch.tensor([[[0.2, 0.15, 0.02]]]), None)[0, 1]) == 0


def test_frames_that_nobody_saw_keep_what_time_says_of_them(problem: FitProblem) -> None:
    confidence = torch.ones_like(problem.confidence)
    confidence[20:26] = 0
    steady = replace(problem.with_rays(confidence=confidence), time_step=1 / 60)
    assert bool(seen_joints(steady).all())
