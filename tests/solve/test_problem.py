"""One cost, three descriptions of it, term by term: the function, its normal equations, its rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import angle_between, exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.scipy_optimizer import Scipy
from refit_mv.solve import system
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.limits import JointLimits
from refit_mv.solve.terms.rays import fuse_views, robust_weight
from refit_mv.solve.terms.term import EveryFrame, Guess, Linearisation, NormalEquations, Rows, Term
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


def sought(problem: FitProblem, with_shape: bool) -> FitProblem:
    return problem if with_shape else replace(problem, shape_mode="locked")


def slope(problem: FitProblem, params: BodyParams) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of the cost by the normal equations and by central differences."""
    here = problem.linearise(params)
    analytic = 2 * problem.normal_equations(here).gradient
    columns = []
    for index in range(analytic.shape[1]):
        delta = torch.zeros_like(analytic)
        delta[:, index] = STEP
        ends = [problem.unknowns.moved(params, here.tangent, sign * delta) for sign in (1, -1)]
        after, before = (problem.cost(problem.look(end)) for end in ends)
        columns.append((after - before) / (2 * STEP))
    return analytic, torch.stack(columns, dim=-1)


@pytest.mark.parametrize("with_shape", [True, False])
def test_gradient_is_the_slope_of_the_cost(case: Case, with_shape: bool) -> None:
    problem, params, _ = case
    assert bool((problem.term(JointLimits).excess(problem.unknowns.tangent(params)) != 0).any())
    analytic, measured = slope(sought(problem, with_shape), params)
    # Costs are some thousands: rounding alone makes 1e-16 · 1e4 / 1e-5 = 1e-7 of slopes around 1e3.
    assert float((analytic - measured).abs().max()) < 1e-6 * float(analytic.abs().max())


def test_a_wrong_jacobian_would_be_noticed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    right = system._linearised
    monkeypatch.setattr(system, "_linearised", lambda *given: (*right(*given)[:-1], -right(*given)[-1]))
    problem, params, _ = case
    analytic, measured = slope(problem, params)
    assert float((analytic - measured).abs().max()) > 0.1 * float(analytic.abs().max())


def test_the_terms_one_by_one_give_the_same_normal_equations(case: Case) -> None:
    """The compiled sum of all terms is what each adds by itself."""
    problem, params, _ = case
    here = problem.linearise(params)
    whole = problem.normal_equations(here)
    alone = NormalEquations.zero(len(problem), whole.gradient.shape[1], whole.gradient)
    for term in problem.terms:
        term.add(here, alone, problem.options.kernel)
    torch.testing.assert_close(alone.hessian, whole.hessian, rtol=1e-10, atol=1e-6)
    torch.testing.assert_close(alone.gradient, whole.gradient, rtol=1e-10, atol=1e-6)


@dataclass(frozen=True, eq=False)
class HighPelvis(EveryFrame):
    """A made-up term: somebody knows that the pelvis is a metre above the origin, to a centimetre."""

    def cost(self, guess: Guess, kernel: float) -> torch.Tensor:
        return ((guess.params.pelvis[:, 1] - 1.0) / 0.01) ** 2

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        normal.hessian[:, 1, 1] += 0.01**-2
        normal.gradient[:, 1] += (here.params.pelvis[:, 1] - 1.0) / 0.01**2

    def rows(self, here: Linearisation) -> Rows:
        jacobian = here.jacobian.new_zeros(len(here.tangent), 1, here.jacobian.shape[-1])
        jacobian[:, 0, 1] = 100.0
        return Rows((here.params.pelvis[:, 1:2] - 1.0) / 0.01, jacobian)

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "HighPelvis":
        return self


def test_a_term_is_added_by_adding_it(case: Case) -> None:
    """Nothing else is told of it, and both classic optimizers obey it."""
    problem, params, _ = case
    assert isinstance(HighPelvis(), Term)
    more = problem.with_term(HighPelvis())
    analytic, measured = slope(more, params)
    assert float((analytic - measured).abs().max()) < 1e-6 * float(analytic.abs().max())
    few = more.frames(slice(0, 1))
    for optimizer in (GaussNewton(), Scipy()):
        before = optimizer.solve(problem.frames(slice(0, 1)), params[:1]).params.pelvis[0, 1]
        after = optimizer.solve(few, params[:1]).params.pelvis[0, 1]
        assert abs(float(after) - 1.0) < 0.5 * abs(float(before) - 1.0)


@pytest.mark.parametrize("with_shape", [True, False])
def test_rows_give_the_same_normal_equations(case: Case, with_shape: bool) -> None:
    problem, params, _ = case
    problem, kernel = sought(problem, with_shape), problem.options.kernel
    here = problem.linearise(params)
    normal, stacked = problem.normal_equations(here), problem.rows(here)
    size = here.feedback.residual[0].numel()
    weight = robust_weight(here.feedback, kernel).flatten(1).repeat_interleave(3, dim=1)
    weight = torch.nn.functional.pad(weight, (0, stacked.residual.shape[1] - size), value=1.0)[..., None]
    hessian = stacked.jacobian.mT @ (weight * stacked.jacobian)
    gradient = (stacked.jacobian.mT @ (weight * stacked.residual[..., None]))[..., 0]
    # The same sums in another order.
    assert float((hessian - normal.hessian).abs().max()) < 1e-10 * float(normal.hessian.abs().max())
    assert float((gradient - normal.gradient).abs().max()) < 1e-10 * float(normal.gradient.abs().max())
    squared = (stacked.residual[:, :size].view(len(problem), -1, 3) ** 2).sum(-1)
    scale = problem.rays.precision.flatten(1)
    robust = squared / (1 + squared / (kernel**2 * scale.clamp_min(1e-9)))
    cost = robust.sum(-1) + (stacked.residual[:, size:] ** 2).sum(-1)
    torch.testing.assert_close(cost, problem.cost(here), rtol=1e-10, atol=0)


def test_views_may_come_in_any_order(case: Case) -> None:
    problem, params, _ = case
    feedback = problem.feedback(params)
    weight = problem.rays.precision * robust_weight(feedback, problem.options.kernel)
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
    here = problem.cost(problem.look(params), 0.1)
    # Where the person roughly is comes from a solve with a floor of 1e-6 that pulls towards the rig's middle.
    torch.testing.assert_close(elsewhere.cost(elsewhere.look(there), 0.1), here, rtol=1e-6, atol=0)


def test_missing_points_weigh_nothing(case: Case) -> None:
    problem, params, _ = case
    gone = problem.confidence == 0
    assert bool(gone.any())
    nonsense = torch.where(gone[..., None], torch.full_like(problem.bearing, 0.6), problem.bearing)
    same = problem.with_rays(bearing=nonsense)
    before = problem.normal_equations(problem.linearise(params), 0.1)
    after = same.normal_equations(same.linearise(params), 0.1)
    assert bool((before.hessian == after.hessian).all() and (before.gradient == after.gradient).all())


def test_steps_stay_on_the_manifold_and_zero_stays_put(case: Case) -> None:
    problem, params, _ = case
    here, unknowns = problem.linearise(params), problem.unknowns
    size = here.jacobian.shape[-1]

    def step(delta: torch.Tensor) -> BodyParams:
        return unknowns.moved(params, here.tangent, delta)

    still = step(torch.zeros(len(problem), size, dtype=torch.float64))
    assert float(angle_between(still.rotations, params.rotations).max()) < 1e-7
    large = step(torch.full((len(problem), size), 0.7, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64)
    assert float((large.rotations @ large.rotations.transpose(-1, -2) - eye).abs().max()) < 1e-12
    without = step(torch.full((len(problem), size - params.shape.shape[1]), 0.7, dtype=torch.float64))
    assert bool((without.shape == params.shape).all())


@pytest.mark.parametrize("with_shape", [True, False])
def test_parameter_vectors_round_trip(case: Case, shaken: Callable, with_shape: bool) -> None:
    problem, params, _ = case
    other = shaken(params, angle=0.4, seed=9)
    other = other if with_shape else replace(other, shape=params.shape)
    chart = ParameterVector(params, sought(problem, with_shape).unknowns)
    vector = chart.pack(other)
    assert vector.shape == (len(problem), chart.size)
    back = chart.unpack(vector)
    for one, expected in ((back.pelvis, other.pelvis), (back.rotations, other.rotations), (back.shape, other.shape)):
        assert float((one - expected).abs().max()) < 1e-12


def test_parameter_vectors_carry_jacobians(case: Case, shaken: Callable) -> None:
    """What least_squares is given must be the slope of what it is given."""
    problem, params, _ = case
    chart = ParameterVector(params, problem.unknowns)
    at = chart.pack(shaken(params, angle=0.4, seed=9))

    def rows(vector: torch.Tensor) -> Rows:
        return problem.rays.rows(problem.linearise(chart.unpack(vector)))

    analytic = chart.chain(at, rows(at).jacobian)
    for index in (0, 3, 4, 5, 6, 20, 40, chart.size - 1):
        delta = torch.zeros_like(at)
        delta[:, index] = STEP
        after, before = (rows(at + sign * delta).residual for sign in (1, -1))
        measured = (after - before) / (2 * STEP)
        # The residual also bends away along the ray, where the analytic Jacobian is exact too: only rounding is left.
        assert float((analytic[..., index] - measured).abs().max()) < 1e-6 * float(analytic.abs().max())
