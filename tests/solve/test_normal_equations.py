"""One cost, three descriptions of it: the function, its normal equations, its rows."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import angle_between, exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.solve import normal_equations
from refit_mv.solve.normal_equations import (
    frame_cost,
    fuse_views,
    limit_excess,
    linearise,
    pose_tangent,
    robust_weight,
    rows,
    step,
)
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.unknowns import ParameterVector
from refit_mv.workshop.synthetic.session import SyntheticSession, moved

STEP = 1e-5
Case = tuple[FitProblem, BodyParams, SyntheticSession]


@pytest.fixture(scope="module")
def case(body: BodyModel, draw: Callable, pose_problem: Callable, shaken: Callable) -> Case:
    """Noisy evidence of three views and a guess some degrees off, so that outliers, priors and limits all pull."""
    session = draw(body, "coco23", "strong", views=3, frames=4)[0]
    problem = pose_problem(body, session)
    return problem, shaken(session.truth, angle=0.25), session


def slope(problem: FitProblem, params: BodyParams, with_shape: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of the cost by the normal equations and by central differences."""
    kernel = problem.options.kernel
    analytic = 2 * linearise(problem, params, problem.feedback(params), kernel, with_shape).gradient
    columns = []
    for index in range(analytic.shape[1]):
        delta = torch.zeros_like(analytic)
        delta[:, index] = STEP
        ends = [step(problem, params, sign * delta) for sign in (1, -1)]
        after, before = (frame_cost(problem, end, problem.feedback(end), kernel) for end in ends)
        columns.append((after - before) / (2 * STEP))
    return analytic, torch.stack(columns, dim=-1)


@pytest.mark.parametrize("with_shape", [True, False])
def test_gradient_is_the_slope_of_the_cost(case: Case, with_shape: bool) -> None:
    problem, params, _ = case
    assert bool((limit_excess(problem, pose_tangent(problem, params)) != 0).any())
    analytic, measured = slope(problem, params, with_shape)
    # Costs are some thousands: rounding alone makes 1e-16 · 1e4 / 1e-5 = 1e-7 of slopes around 1e3.
    assert float((analytic - measured).abs().max()) < 1e-6 * float(analytic.abs().max())


def test_a_wrong_jacobian_would_be_noticed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    right = normal_equations.landmark_jacobian
    monkeypatch.setattr(normal_equations, "landmark_jacobian", lambda *given: -right(*given))
    problem, params, _ = case
    analytic, measured = slope(problem, params, True)
    assert float((analytic - measured).abs().max()) > 0.1 * float(analytic.abs().max())


@pytest.mark.parametrize("with_shape", [True, False])
def test_rows_give_the_same_normal_equations(case: Case, with_shape: bool) -> None:
    problem, params, _ = case
    feedback, kernel = problem.feedback(params), problem.options.kernel
    normal = linearise(problem, params, feedback, kernel, with_shape)
    stacked = rows(problem, params, with_shape)
    weight = robust_weight(feedback, kernel).flatten(1).repeat_interleave(3, dim=1)[..., None]
    data, prior = stacked.data_jacobian, stacked.prior_jacobian
    hessian = data.transpose(-1, -2) @ (weight * data) + prior.transpose(-1, -2) @ prior
    gradient = data.transpose(-1, -2) @ (weight * stacked.data[..., None])
    gradient = (gradient + prior.transpose(-1, -2) @ stacked.prior[..., None])[..., 0]
    # The same sums in another order.
    assert float((hessian - normal.hessian).abs().max()) < 1e-10 * float(normal.hessian.abs().max())
    assert float((gradient - normal.gradient).abs().max()) < 1e-10 * float(normal.gradient.abs().max())
    squared = (stacked.data.view(len(problem), -1, 3) ** 2).sum(-1)
    scale = problem.observation_weight.flatten(1)
    robust = squared / (1 + squared / (kernel**2 * scale.clamp_min(1e-9)))
    cost = robust.sum(-1) + (stacked.prior**2).sum(-1)
    expected = frame_cost(problem, params, feedback, kernel)
    if not with_shape:
        expected = expected - problem.options.shape_prior * (params.shape**2).sum(-1)
    torch.testing.assert_close(cost, expected, rtol=1e-10, atol=0)


def test_views_may_come_in_any_order(case: Case) -> None:
    problem, params, _ = case
    feedback = problem.feedback(params)
    weight = problem.observation_weight * robust_weight(feedback, problem.options.kernel)
    order = torch.tensor([2, 0, 1])
    shuffled = replace(
        feedback,
        residual=feedback.residual[:, order],
        toward=feedback.toward[:, order],
        gain=feedback.gain[:, order],
        confidence=feedback.confidence[:, order],
    )
    for one, other in zip(fuse_views(feedback, weight), fuse_views(shuffled, weight[:, order]), strict=True):
        assert float((one - other).abs().max()) < 1e-12 * float(one.abs().max())


def test_fused_information_is_that_of_rays(case: Case) -> None:
    """One view alone knows nothing along its own ray, two views know everything."""
    problem, params, _ = case
    feedback = problem.feedback(params)
    weight = torch.ones_like(problem.confidence)
    alone = weight.clone()
    alone[:, 1:] = 0
    single = torch.linalg.eigvalsh(fuse_views(feedback, alone)[0])
    both = torch.linalg.eigvalsh(fuse_views(feedback, weight)[0])
    assert float(single[..., 0].abs().max()) < 1e-12
    assert float(both[..., 0].min()) > 1e-3


def test_cost_does_not_depend_on_the_world_frame(body: BodyModel, case: Case, pose_problem: Callable) -> None:
    problem, params, session = case
    new_from_old = RigidTransform(
        exp(torch.tensor([0.7, -1.1, 2.0], dtype=torch.float64)), torch.tensor([5.0, -3.0, 1.0], dtype=torch.float64)
    )
    elsewhere = pose_problem(body, moved(session, new_from_old))
    there = moved(replace(session, truth=params), new_from_old).truth
    here = frame_cost(problem, params, problem.feedback(params), 0.1)
    # Where the person roughly is comes from a solve with a floor of 1e-6 that pulls towards the rig's middle.
    torch.testing.assert_close(frame_cost(elsewhere, there, elsewhere.feedback(there), 0.1), here, rtol=1e-6, atol=0)


def test_missing_points_weigh_nothing(case: Case) -> None:
    problem, params, _ = case
    gone = problem.confidence == 0
    assert bool(gone.any())
    nonsense = torch.where(gone[..., None], torch.full_like(problem.bearing, 0.6), problem.bearing)
    same = replace(problem, bearing=nonsense)
    before = linearise(problem, params, problem.feedback(params), 0.1, True)
    after = linearise(same, params, same.feedback(params), 0.1, True)
    assert bool((before.hessian == after.hessian).all() and (before.gradient == after.gradient).all())


def test_steps_stay_on_the_manifold_and_zero_stays_put(case: Case) -> None:
    problem, params, _ = case
    size = linearise(problem, params, problem.feedback(params), 0.1, True).gradient.shape[1]
    still = step(problem, params, torch.zeros(len(problem), size, dtype=torch.float64))
    assert float(angle_between(still.rotations, params.rotations).max()) < 1e-7
    large = step(problem, params, torch.full((len(problem), size), 0.7, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64)
    assert float((large.rotations @ large.rotations.transpose(-1, -2) - eye).abs().max()) < 1e-12
    without = step(problem, params, torch.full((len(problem), size - params.shape.shape[1]), 0.7, dtype=torch.float64))
    assert bool((without.shape == params.shape).all())


@pytest.mark.parametrize("with_shape", [True, False])
def test_parameter_vectors_round_trip(case: Case, shaken: Callable, with_shape: bool) -> None:
    problem, params, _ = case
    other = shaken(params, angle=0.4, seed=9)
    other = other if with_shape else replace(other, shape=params.shape)
    chart = ParameterVector(params, problem.pose_term.mean, with_shape)
    vector = chart.pack(other)
    assert vector.shape == (len(problem), chart.size)
    back = chart.unpack(vector)
    for one, expected in ((back.pelvis, other.pelvis), (back.rotations, other.rotations), (back.shape, other.shape)):
        assert float((one - expected).abs().max()) < 1e-12


def test_parameter_vectors_carry_jacobians(case: Case, shaken: Callable) -> None:
    """What least_squares is given must be the slope of what it is given."""
    problem, params, _ = case
    chart = ParameterVector(params, problem.pose_term.mean, with_shape=True)
    at = chart.pack(shaken(params, angle=0.4, seed=9))
    stacked = rows(problem, chart.unpack(at), True)
    analytic = chart.chain(at, stacked.data_jacobian)
    for index in (0, 3, 4, 5, 6, 20, 40, chart.size - 1):
        delta = torch.zeros_like(at)
        delta[:, index] = STEP
        after, before = (rows(problem, chart.unpack(at + sign * delta), True).data for sign in (1, -1))
        measured = (after - before) / (2 * STEP)
        # The residual also bends away along the ray, where the analytic Jacobian is exact too: only rounding is left.
        assert float((analytic[..., index] - measured).abs().max()) < 1e-6 * float(analytic.abs().max())
