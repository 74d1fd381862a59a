"""Error bars against the scatter of errors that were drawn."""

from collections.abc import Callable

import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import prior_for, sample
from refit_mv.optimizers.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.uncertainty import joint_covariance
from refit_mv.status import FrameStatus
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, observe

PEOPLE = 160


@pytest.fixture(scope="module")
def drawn(body: BodyModel, pose_problem: Callable) -> tuple[FitProblem, SyntheticSession]:
    """People drawn from the very priors of the cost, seen with the very noise that the cost assumes: error bars have no
    excuse.
    """
    options = CostOptions(pose_prior=1.0, shape_prior=1.0, kernel=1.0)
    generator = torch.Generator().manual_seed(81)
    poses = sample(prior_for(body), PEOPLE, generator)
    rest = body.rest(PEOPLE)
    truth = BodyParams(
        rest.pelvis + torch.tensor([0.0, 0.95, 0.0], dtype=torch.float64),
        torch.cat([rest.rotations[:, :1], poses], dim=1),
        torch.randn(PEOPLE, body.shape_count, generator=generator, dtype=torch.float64),
    )
    session = observe(
        body, keypoint_set("coco23"), truth, ring_rig(4, capture_radius=1.6), detector_noise("none"), 1, 1.0
    )
    problem = pose_problem(body, session, options)
    scale = options.noise / problem.rays.distance[..., None, None]
    noise = torch.randn(problem.bearing.shape, generator=generator, dtype=torch.float64)
    noise = noise - (noise * problem.bearing).sum(-1, keepdim=True) * problem.bearing
    bearing = torch.nn.functional.normalize(problem.bearing + scale * noise, dim=-1)
    return problem.with_rays(bearing=bearing), session


def test_error_bars_are_as_long_as_the_errors(body: BodyModel, drawn: tuple[FitProblem, SyntheticSession]) -> None:
    problem, session = drawn
    result = GaussNewton(GaussNewtonOptions(annealing=0, iterations=40)).solve(problem, session.truth)
    error = posed_joints(body, result.params).positions - posed_joints(body, session.truth).positions
    scatter = (error**2).sum(-1).mean(0).sqrt()
    claimed = result.joint_covariance.diagonal(dim1=-2, dim2=-1).sum(-1).mean(0).sqrt()
    # 160 people tell a standard deviation to 4 %; limits cut the drawn poses and shorten the errors a little.
    assert float((scatter / claimed).mean()) == pytest.approx(1.0, abs=0.2)
    # Which joints are sure and which are not must come out too, not only the average.
    assert float(torch.corrcoef(torch.stack([scatter, claimed]))[0, 1]) > 0.9
    torch.testing.assert_close(result.joint_sigma**2 * 3, result.joint_covariance.diagonal(dim1=-2, dim2=-1).sum(-1))


def test_covariances_are_covariances(drawn: tuple[FitProblem, SyntheticSession]) -> None:
    problem, session = drawn
    covariance = joint_covariance(problem, session.truth)
    assert float((covariance - covariance.transpose(-1, -2)).abs().max()) < 1e-12
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0


def trace_with_views(problem: FitProblem, params: BodyParams, views: list[int]) -> torch.Tensor:
    kept = torch.zeros_like(problem.confidence)
    kept[:, views] = problem.confidence[:, views]
    covariance = joint_covariance(problem.with_rays(confidence=kept), params)
    return covariance.diagonal(dim1=-2, dim2=-1).sum(-1)


def test_fewer_views_mean_longer_bars(drawn: tuple[FitProblem, SyntheticSession]) -> None:
    """More evidence can only help: at the same parameters every joint of every frame is surer. Without the kernel, that
    is; a kernel of 1 m is none.
    """
    problem, session = drawn
    four, two, one = (trace_with_views(problem, session.truth, views) for views in ([0, 1, 2, 3], [0, 1], [0]))
    # Robust weights do not depend on the views that are kept; a hair's breadth for rounding.
    assert bool((two >= four * (1 - 1e-9)).all() and (one >= two * (1 - 1e-9)).all())
    assert float((two / four).sqrt().median()) > 1.1
    # One view leaves depth to the person's size: decimetres instead of centimetres.
    assert float((one / two).sqrt().median()) > 2


def test_depth_of_a_single_view_is_the_long_axis(drawn: tuple[FitProblem, SyntheticSession]) -> None:
    problem, session = drawn
    kept = torch.zeros_like(problem.confidence)
    kept[:, :1] = problem.confidence[:, :1]
    covariance = joint_covariance(problem.with_rays(confidence=kept), session.truth)[:, 0]
    longest = torch.linalg.eigh(covariance).eigenvectors[..., -1]
    toward = torch.nn.functional.normalize(session.truth.pelvis - problem.rig.center[0], dim=-1)
    assert float((longest * toward).sum(-1).abs().min()) > 0.95


def test_one_view_is_never_called_fitted(drawn: tuple[FitProblem, SyntheticSession]) -> None:
    problem, session = drawn
    kept = torch.zeros_like(problem.confidence)
    kept[:, :1] = problem.confidence[:, :1]
    few = problem.with_rays(confidence=kept).frames(slice(0, 8))
    result = GaussNewton(GaussNewtonOptions(annealing=0, iterations=5)).solve(few, session.truth[:8])
    assert set(result.status) <= {FrameStatus.UNCERTAIN, FrameStatus.FAILED}
