"""The classic optimizer solves the very same problem as the batched one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import angle_between, exp
from refit_mv.optimizers.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.optimizers.scipy_optimizer import Scipy, ScipyOptions, grouped_loss, predict
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.workshop.synthetic.session import SyntheticSession

# SciPy takes about half a second a frame and kernel: a handful must do.
HANDFUL = 3


def test_noise_free_markers_give_the_truth(
    body: BodyModel, draw: Callable, weak: CostOptions, pose_problem: Callable, joint_error: Callable
) -> None:
    session = draw(body, "markers67", "none", views=4, frames=HANDFUL, seed=41)[0]
    problem = pose_problem(body, session, weak)
    error = joint_error(body, Scipy().solve(problem, initialise(problem)).params, session.truth)
    assert float(error.max()) < 1e-3


@pytest.fixture(scope="module")
def noisy(body: BodyModel, draw: Callable) -> SyntheticSession:
    return draw(body, "coco23", "standard", views=3, frames=HANDFUL, seed=42)[0]


def test_both_optimizers_reach_the_same_cost(body: BodyModel, noisy: SyntheticSession, pose_problem: Callable) -> None:
    """From the truth, so that both are in the same valley: the lowest point there is one and the same."""
    problem = pose_problem(body, noisy)
    classic = Scipy(ScipyOptions(kernels=(1.0,))).solve(problem, noisy.truth)
    batched = GaussNewton(GaussNewtonOptions(iterations=60, annealing=0)).solve(problem, noisy.truth)
    torch.testing.assert_close(classic.cost, batched.cost, rtol=0.01, atol=0)
    difference = (posed_joints(body, classic.params).positions - posed_joints(body, batched.params).positions).norm(
        dim=-1
    )
    # A cost equal to 1e-6 of itself leaves flat directions open by about a millimetre.
    assert float(difference.max()) < 2e-3
    assert classic.status == batched.status


def test_missing_everything_is_survived(body: BodyModel, noisy: SyntheticSession, pose_problem: Callable) -> None:
    problem = pose_problem(body, noisy)
    confidence = problem.confidence.clone()
    confidence[1] = 0
    problem = problem.with_rays(confidence=confidence)
    quick = ScipyOptions(kernels=(1.0,), evaluations=4)
    result = Scipy(quick).solve(problem, initialise(problem))
    assert bool(torch.isfinite(result.params.rotations).all())
    assert str(result.status[1]) == "absent"


def test_locked_shape_stays(body: BodyModel, noisy: SyntheticSession, pose_problem: Callable) -> None:
    problem = pose_problem(body, noisy, shape_mode="locked")
    start = replace(initialise(problem), shape=noisy.truth.shape)
    result = Scipy(ScipyOptions(kernels=(1.0,), evaluations=4)).solve(problem, start)
    assert bool((result.params.shape == noisy.truth.shape).all())


def test_time_term_holds_a_frame_without_evidence_on_its_course(
    body: BodyModel, noisy: SyntheticSession, pose_problem: Callable
) -> None:
    """A pelvis at constant velocity, the last frame unseen: it must be where the velocity leads."""
    problem: FitProblem = replace(pose_problem(body, noisy, shape_mode="locked"), time_step=1 / 30)
    still = noisy.truth[torch.tensor([0, 0, 0])]
    moving = replace(still, pelvis=still.pelvis + torch.tensor([[0.0], [0.02], [0.04]], dtype=torch.float64))
    nothing = problem.with_rays(confidence=torch.zeros_like(problem.confidence)).frames(slice(2, 3))
    nothing = replace(nothing, time_step=1 / 30, preceding=moving[:2])
    result = Scipy(ScipyOptions(kernels=(1.0,))).solve(nothing, initialise(nothing))
    # The term on velocity holds back a hundredth of the frame's 20 mm.
    assert float((result.params.pelvis[0] - moving.pelvis[2]).abs().max()) < 5e-4
    # The pose prior pulls a little against the course, by its own share.
    assert float(angle_between(result.params.rotations[0, 0], moving.rotations[2, 0])) < 1e-3


def test_prediction_is_constant_velocity() -> None:
    turn = exp(torch.tensor([0.0, 0.3, 0.0], dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64)

    def at(place: float, rotation: torch.Tensor) -> BodyParams:
        pelvis = torch.tensor([[place, 0.0, 0.0]], dtype=torch.float64)
        return BodyParams(pelvis, rotation.expand(1, 2, 3, 3), torch.zeros(1, 2, dtype=torch.float64))

    assert predict([]) is None
    first, second = at(1.0, eye), at(1.5, turn)
    assert predict([first]) is first
    guess = predict([first, second])
    assert guess is not None
    assert float(guess.pelvis[0, 0]) == pytest.approx(2.0)
    assert float((guess.rotations - turn @ turn).abs().max()) < 1e-12


def test_grouped_loss_is_the_kernel_on_norms() -> None:
    """Sum and slope of least_squares' loss equal those of Geman–McClure on whole observations, identity beyond."""
    rng = np.random.default_rng(8)
    residual, kernel = rng.normal(size=12), np.array([0.5, 1.0, 2.0])
    loss = grouped_loss(9, kernel)
    value, first, second = loss(residual**2)
    squared = (residual[:9].reshape(3, 3) ** 2).sum(-1)
    assert value.sum() == pytest.approx((squared / (1 + squared / kernel**2)).sum() + (residual[9:] ** 2).sum())
    assert (second == 0).all()
    step = 1e-6
    for index in range(12):
        ends = []
        for sign in (1, -1):
            moved = residual.copy()
            moved[index] += sign * step
            ends.append(loss(moved**2)[0].sum())
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(2 * residual[index] * first[index], abs=1e-6)
