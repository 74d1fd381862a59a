"""The cold start: sane for any number of views and any pose, finite always."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.rotations import exp
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.status import FrameStatus
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.rigs import random_rig, ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, observe


def sane(params: BodyParams) -> bool:
    """Finite, and rotations that are rotations."""
    eye = torch.eye(3, dtype=params.rotations.dtype)
    off = (params.rotations @ params.rotations.transpose(-1, -2) - eye).abs().max()
    finite = bool(torch.isfinite(params.pelvis).all() and torch.isfinite(params.shape).all())
    return finite and float(off) < 1e-9 and bool((torch.linalg.det(params.rotations) > 0).all())


def torso_error(body: BodyModel, start: BodyParams, truth: BodyParams) -> torch.Tensor:
    """Mean distance of pelvis, hips, shoulders and neck, metres, per frame."""
    names = ("pelvis", "left_hip", "right_hip", "left_shoulder", "right_shoulder", "neck")
    index = [body.joint_names.index(name) for name in names]
    difference = posed_joints(body, start).positions - posed_joints(body, truth).positions
    return difference[:, index].norm(dim=-1).mean(-1)


def seen_by(body: BodyModel, session: SyntheticSession, rig: CameraRig, noise: str = "none") -> SyntheticSession:
    """The same people before another rig."""
    return observe(body, session.observations.keypoints, session.truth, rig, detector_noise(noise), 3, fps=1.0)


@pytest.fixture(scope="module")
def people(body: BodyModel, draw: Callable) -> SyntheticSession:
    return draw(body, "coco23", "none", views=2, frames=12, seed=21)[0]


@pytest.mark.parametrize("views", range(1, 9))
def test_any_number_of_views(body: BodyModel, people: SyntheticSession, pose_problem: Callable, views: int) -> None:
    session = seen_by(body, people, random_rig(views, views), "standard")
    problem = pose_problem(body, session)
    start = initialise(problem)
    assert sane(start)
    error = torso_error(body, start, session.truth)
    if views >= 2:
        # Measured 4 to 5 cm with standard noise: the mean pose's spine is not this person's.
        assert float(error.median()) < 0.10
    else:
        # One view: depth comes from apparent size; measured 8 cm here, but single frames are metres off.
        assert float(error.median()) < 0.30
    result = GaussNewton().solve(problem, start)
    assert sane(result.params)
    # The noise takes whole views away: with two, some frames are left with one.
    lost = int(((problem.confidence > 0).any(-1).sum(-1) < 2).sum())
    fitted = result.status.count(FrameStatus.FITTED)
    assert fitted == 0 if views == 1 else fitted >= 10 - lost
    assert FrameStatus.FAILED not in result.status


def test_opposite_cameras(body: BodyModel, people: SyntheticSession, pose_problem: Callable) -> None:
    """Two cameras face to face: along the line between them rays say nothing, apparent size must."""
    session = seen_by(body, people, ring_rig(2, height=0.95))
    start = initialise(pose_problem(body, session))
    assert sane(start)
    # Measured 2 to 10 cm.
    assert float(torso_error(body, start, session.truth).max()) < 0.2


def test_half_the_points_missing(body: BodyModel, people: SyntheticSession, pose_problem: Callable) -> None:
    session = seen_by(body, people, ring_rig(4))
    problem = pose_problem(body, session)
    kept = torch.rand(problem.confidence.shape, generator=torch.Generator().manual_seed(4)) < 0.5
    problem = problem.with_rays(confidence=torch.where(kept, problem.confidence, torch.zeros_like(problem.confidence)))
    start = initialise(problem)
    assert sane(start)
    assert float(torso_error(body, start, session.truth).median()) < 0.15


def test_only_legs_are_seen(body: BodyModel, people: SyntheticSession, pose_problem: Callable) -> None:
    session = seen_by(body, people, ring_rig(3))
    problem = pose_problem(body, session)
    legs = torch.tensor(
        [any(word in name for word in ("knee", "ankle", "toe", "heel")) for name in problem.skin.landmark_names]
    )
    start = initialise(problem.with_rays(confidence=problem.confidence * legs))
    assert sane(start)


def empty(problem: FitProblem, frame: int) -> FitProblem:
    confidence = problem.confidence.clone()
    confidence[frame] = 0
    return problem.with_rays(confidence=confidence)


def test_frames_without_any_evidence_are_absent(
    body: BodyModel, people: SyntheticSession, pose_problem: Callable
) -> None:
    session = seen_by(body, people, ring_rig(4), "standard")
    full = pose_problem(body, session)
    problem = empty(full, 5)
    start = initialise(problem)
    assert sane(start)
    result = GaussNewton().solve(problem, start)
    assert sane(result.params)
    assert result.status[5] is FrameStatus.ABSENT
    assert bool(torch.isfinite(result.joint_covariance).all())
    # An empty frame does not disturb its neighbours.
    whole = GaussNewton().solve(full, initialise(full))
    others = [frame for frame in range(12) if frame != 5]
    assert float((result.params.pelvis - whole.params.pelvis)[others].abs().max()) < 1e-9


def test_nothing_seen_at_all(body: BodyModel, people: SyntheticSession, pose_problem: Callable) -> None:
    problem = pose_problem(body, seen_by(body, people, ring_rig(2)))
    problem = problem.with_rays(confidence=torch.zeros_like(problem.confidence))
    result = GaussNewton().solve(problem, initialise(problem))
    assert sane(result.params)
    assert set(result.status) == {FrameStatus.ABSENT}


@pytest.mark.parametrize(
    ("name", "turn"),
    [
        ("upside down", (0.0, 0.0, np.pi)),
        ("on the back", (-np.pi / 2, 0.0, 0.0)),
        ("face down", (np.pi / 2, 0.0, 0.0)),
        ("on the side", (0.0, 0.0, np.pi / 2)),
    ],
)
def test_people_need_not_stand(
    body: BodyModel,
    people: SyntheticSession,
    pose_problem: Callable,
    joint_error: Callable,
    weak: CostOptions,
    name: str,
    turn: tuple[float, float, float],
) -> None:
    """Noise-free markers from four views: the truth itself must be found, from whatever the start makes of it."""
    rotations = people.truth.rotations.clone()
    rotations[:, 0] = exp(torch.tensor(turn, dtype=torch.float64)) @ rotations[:, 0]
    truth = replace(people.truth, rotations=rotations)
    session = observe(body, keypoint_set("markers67"), truth, ring_rig(4), detector_noise("none"), 3, fps=1.0)
    problem = pose_problem(body, session, weak)
    start = initialise(problem)
    assert float(torso_error(body, start, truth).max()) < 0.15
    error = joint_error(body, GaussNewton().solve(problem, start).params, truth)
    # Under 1 mm is what weak priors leave; one of twelve poses may be beyond a joint limit.
    assert int((error < 1e-3).sum()) >= 11
