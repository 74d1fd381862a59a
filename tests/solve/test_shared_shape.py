"""One person, one shape: what many frames together say about the body behind them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, rest_joints
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry.projection import project
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.scipy_optimizer import Scipy, ScipyOptions
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.stature import stature
from refit_mv.people.subject import Subject, meet, spread_frames
from refit_mv.session.detector_profile import Habits
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.shared_shape import common_jacobian, shared_cost, solve_shared
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise


@pytest.fixture(scope="module")
def marked(body: BodyModel) -> SyntheticSession:
    """24 poses half a second apart of one person whose shape is well off the mean."""
    motion = sampled_motion(load_pose_prior(), seed=51, frames=24, fps=2.0)
    generator = torch.Generator().manual_seed(51)
    shape = torch.randn(body.shape_count, generator=generator, dtype=torch.float64).clamp(-2, 2)
    return synthesise(body, "markers67", motion, ring_rig(4, capture_radius=1.8), detector_noise("none"), 51, shape)


def rest_error(body: BodyModel, shape: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest distance between the two shapes' rest joints, pelvis on pelvis, metres."""
    rest = rest_joints(body, torch.stack([shape, truth]))
    rest = rest - rest[:, :1]
    return float((rest[0] - rest[1]).norm(dim=-1).max())


def test_shape_is_recovered_from_a_spread_of_frames(
    body: BodyModel, marked: SyntheticSession, weak: CostOptions, pose_problem: Callable
) -> None:
    problem = pose_problem(body, marked, weak, "shared")
    result = GaussNewton().solve(problem, initialise(problem))
    assert bool((result.params.shape == result.params.shape[:1]).all())
    # Exact markers, weak prior: bones are right to the millimetre although offsets could explain part of the shape.
    assert rest_error(body, result.params.shape[0], marked.truth.shape[0]) < 1e-3
    assert float(result.landmark_offset.norm(dim=-1).max()) < 2e-3
    assert stature(body, result.params) == pytest.approx(stature(body, marked.truth), abs=2e-3)


def displaced(body: BodyModel, session: SyntheticSession, offset: torch.Tensor) -> Evidence:
    """What the cameras see of markers that sit elsewhere than the body model has them."""
    names = session.observations.keypoints.keypoint_names
    skin = landmark_skin(body, names).displaced(offset)
    pixels, depth = project(session.rig.stacked(), pose_landmarks(skin, session.truth).positions)
    return Evidence(names, pixels, (depth > 0).to(torch.float64))


def test_landmark_offsets_are_recovered(body: BodyModel, marked: SyntheticSession) -> None:
    generator = torch.Generator().manual_seed(52)
    count = len(keypoint_set("markers67").keypoint_names)
    offset = 0.01 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    evidence = displaced(body, marked, offset)
    # Markers are exact, and the problem is told that they are good to a millimetre: offsets then outweigh noise.
    options = CostOptions(noise=0.001, pose_prior=1e-4, offset=0.010)
    problem = evidence.problem(body, marked.rig, options, "shared")
    result = GaussNewton().solve(problem, initialise(problem))
    before, after = offset.norm(dim=-1).mean(), (result.landmark_offset - offset).norm(dim=-1).mean()
    # What all markers of a limb have in common along the bone is the same as a longer bone: the priors share it out.
    # Measured: 16.5 mm of displacement, 3.1 mm of it not told apart.
    assert float(after) < 0.3 * float(before)
    solved = replace(problem, skin=problem.skin.displaced(result.landmark_offset))
    assert float(solved.feedback(result.params).residual.norm(dim=-1).mean()) < 2e-4
    ignorant = replace(problem, shape_mode="free")
    without = GaussNewton().solve(ignorant, initialise(problem)).params
    assert float(ignorant.feedback(without).residual.norm(dim=-1).mean()) > 5e-3


@pytest.fixture(scope="module")
def small(body: BodyModel, marked: SyntheticSession) -> tuple[FitProblem, SyntheticSession]:
    """Few frames and points, for the slow optimizer."""
    motion = sampled_motion(load_pose_prior(), seed=53, frames=3, fps=1.0)
    session = synthesise(body, "coco23", motion, ring_rig(3), detector_noise("standard"), 53, marked.truth.shape[0])
    evidence = evidence_on(body, session.observations.person(0))
    return evidence.problem(body, session.rig, CostOptions(), "shared"), session


def total(problem: FitProblem, params, offset: torch.Tensor) -> float:
    return float(shared_cost(problem, params, torch.cat([params.shape[0], offset.flatten()])))


def test_both_optimizers_share_alike(body: BodyModel, small: tuple[FitProblem, SyntheticSession]) -> None:
    """The coupled cost has one lowest point near the truth; Schur complement and sparse least squares both find it."""
    problem, session = small
    batched = solve_shared(problem, session.truth, iterations=40)
    options = ScipyOptions(kernels=(1.0,), evaluations=30, shared_evaluations=60)
    classic = Scipy(options).solve(problem, session.truth)
    costs = total(problem, *batched), total(problem, classic.params, classic.landmark_offset)
    # SciPy's first stage stops at 1e-6 of its cost and then fits the frames anew with all that locked.
    assert costs[1] == pytest.approx(costs[0], rel=0.01)
    assert bool((classic.params.shape == classic.params.shape[:1]).all())
    assert rest_error(body, classic.params.shape[0], batched[0].shape[0]) < 5e-3


def test_common_jacobian_is_the_slope(small: tuple[FitProblem, SyntheticSession]) -> None:
    problem, session = small
    truth, skin = session.truth, problem.skin
    shapes = truth.shape.shape[1]
    closed = common_jacobian(skin, pose_landmarks(skin, truth))

    def positions(common: torch.Tensor) -> torch.Tensor:
        moved = replace(truth, shape=truth.shape + common[:shapes])
        return pose_landmarks(skin.displaced(common[shapes:].view(-1, 3)), moved).positions

    step = 1e-5
    for index in (0, shapes - 1, shapes, shapes + 5, closed.shape[-1] - 1):
        delta = torch.zeros(closed.shape[-1], dtype=torch.float64)
        delta[index] = step
        measured = (positions(delta) - positions(-delta)) / (2 * step)
        assert float((closed[..., index] - measured).abs().max()) < 1e-8


def test_more_frames_do_not_make_the_common_priors_vanish() -> None:
    """Errors of rig and detector repeat: a hundred frames count as eight."""
    options = CostOptions(independent_frames=8.0)
    assert options.common_factor(4) == 1.0
    assert options.common_factor(80) == pytest.approx(10.0)


def test_meeting_a_subject_and_locking_it(body: BodyModel, noisy_session: SyntheticSession) -> None:
    """Standard noise, 12 of 40 frames: the person's height within what 5 to 20 mm a point allow."""
    evidence = evidence_on(body, noisy_session.observations.person(0))
    subject = meet(body, noisy_session.rig, evidence, GaussNewton(), CostOptions(), 12, "cpu")
    assert isinstance(subject, Subject)
    params = subject.dress(noisy_session.truth)
    assert stature(body, params) == pytest.approx(stature(body, noisy_session.truth), abs=0.05)
    locked = subject.lock(evidence.problem(body, noisy_session.rig, CostOptions(), "free"))
    assert locked.shape_mode == "locked"
    assert bool((locked.skin.offset == subject.landmark_offset).all())


def test_frames_for_the_subject_are_spread_and_well_seen(body: BodyModel, noisy_session: SyntheticSession) -> None:
    evidence = evidence_on(body, noisy_session.observations.person(0))
    chosen = spread_frames(evidence, 10)
    assert len(chosen) == 10 == len(set(chosen.tolist()))
    assert int(chosen.max()) - int(chosen.min()) > 20
    seen = evidence.confidence.sum((-1, -2))
    assert float(seen[chosen].min()) >= float(seen.median()) - 1e-9
    blind = Evidence(evidence.landmark_names, evidence.pixels, torch.zeros_like(evidence.confidence))
    assert len(spread_frames(blind, 10)) == 10


def test_offsets_are_expected_where_a_detectors_points_usually_sit(body: BodyModel, marked: SyntheticSession) -> None:
    """A person like everybody else before this detector: knowing its habit, nothing is left to find."""
    generator = torch.Generator().manual_seed(54)
    usual = 0.03 * torch.randn(67, 3, generator=generator, dtype=torch.float64)
    evidence = displaced(body, marked, usual)
    habits = Habits(usual, usual.new_zeros(0), usual.new_zeros(67, 0))
    options = CostOptions(noise=0.005, pose_prior=1e-2)
    told, ignorant = (
        each.problem(body, marked.rig, options, "shared") for each in (replace(evidence, habits=habits), evidence)
    )
    knowing = GaussNewton().solve(told, initialise(told))
    guessing = GaussNewton().solve(ignorant, initialise(ignorant))
    assert float((knowing.landmark_offset - usual).norm(dim=-1).max()) < 2e-3
    assert float((guessing.landmark_offset - usual).norm(dim=-1).mean()) > 5e-3
    # SciPy minimises the same cost: from there it has nowhere to go.
    few, start = told.frames(slice(0, 2)), knowing.params[:2]
    classic = Scipy(ScipyOptions(shared_evaluations=3)).solve(few, start)
    assert float((classic.landmark_offset - usual).norm(dim=-1).max()) < 3e-3


def test_a_profile_without_habits_changes_no_bit(body: BodyModel, marked: SyntheticSession) -> None:
    evidence = displaced(body, marked, torch.zeros(67, 3, dtype=torch.float64))
    zero = evidence.pixels.new_zeros
    empty = replace(evidence, habits=Habits(zero(67, 3), zero(0), zero(67, 0)))
    first, second = (each.problem(body, marked.rig, CostOptions(), "shared") for each in (evidence, empty))
    one, other = (GaussNewton().solve(each, initialise(each)) for each in (first, second))
    assert torch.equal(one.landmark_offset, other.landmark_offset)
    assert torch.equal(one.params.rotations, other.params.rotations)
