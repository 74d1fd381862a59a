"""The term that holds soles: its slope against central differences, and that only what stands or sinks costs."""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import sole_skin
from refit_mv.solve.terms.feet import FeetTerm, Ground
from refit_mv.solve.terms.term import NormalEquations, Term
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.session import motion_params
from tests.problems import draw_frames, problem_of

FRAMES = 3


@pytest.fixture
def term(body: BodyModel) -> FeetTerm:
    motion = sampled_motion(load_pose_prior(), seed=3, frames=FRAMES, fps=4.0)
    params = motion_params(body, motion, torch.zeros(FRAMES, body.shape_count, dtype=torch.float64))
    soles = pose_landmarks(sole_skin(body), params).positions
    generator = torch.Generator().manual_seed(0)
    precision = 1e4 * torch.rand(FRAMES, 4, generator=generator, dtype=torch.float64)
    precision[1, 2] = 0
    place = soles[:, :4] + 0.02 * torch.randn(FRAMES, 4, 3, generator=generator, dtype=torch.float64)
    up = torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64)
    # Half of all points are below.
    ground = Ground(up, float((soles @ up).median()), 4e4)
    return FeetTerm(sole_skin(body), torch.eye(3, dtype=torch.float64).expand(23, 3, 3), place, precision, ground)


@pytest.mark.parametrize("mode", ["locked", "free"])
def test_its_slope_is_that_of_central_differences(body: BodyModel, term: FeetTerm, mode) -> None:
    session = draw_frames(body, frames=FRAMES)[0]
    problem = problem_of(body, session, shape_mode=mode)
    term = replace(term, mean=problem.mean_pose)
    assert isinstance(term, Term)
    motion = sampled_motion(load_pose_prior(), seed=3, frames=FRAMES, fps=4.0)
    params = motion_params(body, motion, torch.zeros(FRAMES, body.shape_count, dtype=torch.float64))
    here = problem.linearise(params)
    size = here.jacobian.shape[-1]
    normal = NormalEquations.zero(FRAMES, size, params.pelvis)
    term.add(here, normal, 0.1)
    rows = term.rows(here)
    torch.testing.assert_close((rows.residual**2).sum(-1), term.cost(here, 0.1))
    torch.testing.assert_close(normal.hessian, rows.jacobian.mT @ rows.jacobian)
    step, slope = 1e-6, []
    for unknown in range(size):
        delta = params.pelvis.new_zeros(FRAMES, size)
        delta[:, unknown] = step
        ends = [
            term.cost(problem.look(problem.unknowns.moved(params, here.tangent, sign * delta)), 0.1) for sign in (1, -1)
        ]
        slope.append((ends[0] - ends[1]) / (4 * step))
    torch.testing.assert_close(torch.stack(slope, -1), normal.gradient, rtol=1e-5, atol=1e-3)


def test_only_what_stands_or_sinks_costs(body: BodyModel, term: FeetTerm) -> None:
    soles = term.place.new_zeros(FRAMES, len(term.skin.landmark_names), 3) + torch.tensor([9.0, 9.0, 9.0])
    nothing = replace(term, precision=torch.zeros_like(term.precision))
    assert not nothing.residual(soles.double()).any()
    assert nothing.residual(-soles.double())[:, 12:].gt(0).all()
    stands = replace(term, ground=None)
    found = stands.residual(soles.double()).unflatten(-1, (4, 3)).norm(dim=-1)
    assert found[1, 2] == 0 and (found > 0).sum() == 4 * FRAMES - 1
    part = term.frames(slice(1, 2))
    assert torch.equal(part.place, term.place[1:2]) and part.to(torch.float32).place.dtype is torch.float32
