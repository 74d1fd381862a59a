"""The least change that meets what somebody set: gradients, known answers, ends that stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.edits.deviation import Setting, deviate
from refit_mv.edits.kinds import Keypoint
from refit_mv.edits.stretches import Stretch, share_of_new, stretches
from refit_mv.edits.targets import Targets, held_foot, set_point
from refit_mv.geometry.projection import project
from refit_mv.people.evidence import Evidence
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.workshop.synthetic.session import SyntheticSession, true_keypoints

NAMES = ("left_wrist", "left_heel", "left_big_toe")
FRAMES = 24


@pytest.fixture(scope="module")
def exact(body: BodyModel, noisy_session: SyntheticSession) -> tuple[FitProblem, BodyParams]:
    """A motion and exact keypoints of it."""
    truth, keypoints = noisy_session.truth[:FRAMES], noisy_session.observations.keypoints
    common = [place for place, name in enumerate(keypoints.keypoint_names) if name in body.landmark_names]
    pixels, _ = true_keypoints(body, keypoints, truth, noisy_session.true_rig)
    names = tuple(keypoints.keypoint_names[place] for place in common)
    seen = torch.from_numpy(pixels[:, :, common])
    evidence = Evidence(names, seen, torch.ones(seen.shape[:-1], dtype=torch.float64))
    return evidence.problem(body, noisy_session.true_rig, CostOptions(), "locked"), truth


def setting(exact: tuple[FitProblem, BodyParams], body: BodyModel, step: float | None = 1 / 30) -> Setting:
    free = torch.zeros(FRAMES, dtype=torch.bool)
    free[2:-2] = True
    return Setting(exact[0], free, landmark_skin(body, NAMES), step)


def test_gradients_are_those_of_the_cost(body: BodyModel, exact: tuple[FitProblem, BodyParams]) -> None:
    chosen, motion = setting(exact, body), exact[1]
    positions = pose_landmarks(chosen.skin, motion).positions.clone()
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(3, 3, 3, generator=rng).double()
    targets = Targets(
        torch.tensor([3, 5, 5]),
        torch.tensor([0, 1, 2]),
        torch.randn(3, 3, generator=rng).double(),
        root @ root.mT,
    )
    # One unknown moves each point along one axis: the unknowns are the points themselves.
    jacobian = torch.eye(9, dtype=torch.float64).view(1, 3, 3, 9).expand(FRAMES, -1, -1, -1)
    hessian, gradient = torch.zeros(FRAMES, 9, 9).double(), torch.zeros(FRAMES, 9).double()
    targets.add(positions, jacobian, hessian, gradient)
    for frame, unknown in ((3, 1), (5, 3), (5, 8), (4, 0)):
        ahead, behind = positions.clone(), positions.clone()
        ahead[frame].view(-1)[unknown] += 1e-5
        behind[frame].view(-1)[unknown] -= 1e-5
        slope = (targets.cost(ahead) - targets.cost(behind)) / 2e-5
        assert float(gradient[frame, unknown]) == pytest.approx(float(slope), abs=1e-6)
    torch.testing.assert_close(hessian, hessian.mT)


def test_nothing_moves_that_nobody_set(body: BodyModel, exact: tuple[FitProblem, BodyParams]) -> None:
    chosen, motion = setting(exact, body), exact[1]
    assert deviate(chosen, motion, Targets.none()) is motion
    # A target that is met already asks for nothing.
    points = pose_landmarks(chosen.skin, motion).positions
    met = Targets(torch.tensor([9]), torch.tensor([0]), points[9, :1], torch.eye(3).double()[None] / 0.002**2)
    found = deviate(chosen, motion, met)
    torch.testing.assert_close(found.rotations, motion.rotations, atol=1e-9, rtol=0)


@pytest.mark.parametrize("step", [1 / 30, None])
def test_a_point_goes_where_it_is_set(
    body: BodyModel, exact: tuple[FitProblem, BodyParams], noisy_session: SyntheticSession, step: float | None
) -> None:
    """A wrist 8 cm off in two views: it goes there, its neighbours follow, the ends stay to the bit."""
    chosen, motion = setting(exact, body, step), exact[1]
    rig = noisy_session.true_rig
    place = pose_landmarks(chosen.skin, motion).positions[12, 0] + torch.tensor([0.05, 0.05, -0.04]).double()
    wanted, _ = project(rig.stacked(), place.view(1, 1, 3))
    edits = [
        Keypoint(rig.names[view], 12, "left_wrist", (float(wanted[0, view, 0, 0]), float(wanted[0, view, 0, 1])))
        for view in (0, 1)
    ]
    found = deviate(chosen, motion, Targets.joined([set_point(rig, edit, 12, 0) for edit in edits]))
    moved = pose_landmarks(chosen.skin, found).positions[:, 0]
    away = (moved - pose_landmarks(chosen.skin, motion).positions[:, 0]).norm(dim=-1)
    assert float((moved[12] - place).norm()) < 0.01
    for part in ("pelvis", "rotations"):
        assert torch.equal(getattr(found, part)[~chosen.free], getattr(motion, part)[~chosen.free])
    if step is None:
        assert float(away[torch.arange(FRAMES) != 12].max()) < 1e-9
    else:
        assert 0.01 < float(away[11]) < float(away[12]) and float(away[3]) < 0.005
        # The change itself is smooth: no step that a single frame's would be.
        assert float(away.diff(2).abs().max()) < 0.8 * float(away[12])


def test_a_held_foot_stands(body: BodyModel, exact: tuple[FitProblem, BodyParams]) -> None:
    chosen, motion = setting(exact, body), exact[1]
    drift = torch.linspace(0, 0.04, FRAMES).double()[:, None] * torch.tensor([1.0, 0.0, 0.5]).double()
    sliding = replace(motion, pelvis=motion.pelvis + drift)
    frames = np.zeros(FRAMES, dtype=bool)
    frames[6:18] = True
    found = deviate(chosen, sliding, held_foot(chosen.skin, sliding, frames, [1, 2]))
    heel = [pose_landmarks(chosen.skin, each).positions[6:18, 1] for each in (sliding, found)]
    slide = [float(each.diff(dim=0).norm(dim=-1).median()) for each in heel]
    assert slide[1] < 0.001 < slide[0]
    assert torch.equal(found.pelvis[~chosen.free], sliding.pelvis[~chosen.free])


def test_stretches_have_room_for_what_stays_between_them() -> None:
    touched = np.zeros(100, dtype=bool)
    touched[[3, 40, 41, 60, 99]] = True
    found = stretches(touched, 8)
    assert found == (Stretch(0, 12), Stretch(32, 69), Stretch(91, 100))
    assert stretches(touched, 0) == (Stretch(3, 4), Stretch(40, 42), Stretch(60, 61), Stretch(99, 100))
    assert stretches(np.zeros(5, dtype=bool), 8) == ()


def test_the_new_motion_fades_without_a_step() -> None:
    touched = np.zeros(200, dtype=bool)
    touched[100:110] = True
    share = share_of_new(touched, 40)
    assert (share[88:122] == 1).all() and not share[:60].any() and not share[150:].any()
    assert 0 < share[61] < 5e-3 and (np.diff(share[60:100]) >= 0).all()
    assert np.abs(np.diff(share, 2)).max() < 0.011 and np.abs(np.diff(share, 3)).max() < 0.0035
