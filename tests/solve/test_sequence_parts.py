"""Windows that join without seams, gaps that are told from long silences, and sides that are exchanged back."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.sides import LIMBS, mirrored_order
from refit_mv.geometry.rotations import exp
from refit_mv.solve.gaps import bridged_frames, interpolated
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.swaps import find_swaps, undo_swaps
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.solve.windows import windows_over
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

FRAMES = 24


@pytest.fixture(scope="module")
def take(body: BodyModel) -> SyntheticSession:
    """0.4 s of made-up movement at 60 frames a second, before three cameras."""
    motion = sampled_motion(load_pose_prior(), seed=3, frames=FRAMES, fps=60.0)
    return synthesise(body, "coco23", motion, ring_rig(3), detector_noise("standard"), seed=4)


def turning(frames: int) -> BodyParams:
    """A body of two joints that moves and turns evenly."""
    time = torch.arange(frames, dtype=torch.float64)
    rotations = exp(time[:, None, None] * torch.tensor([[0.05, 0.0, 0.02], [0.0, -0.1, 0.0]], dtype=torch.float64))
    return BodyParams(time[:, None] * torch.ones(1, 3).double(), rotations, torch.zeros(frames, 1).double())


@pytest.mark.parametrize(
    ("frames", "core", "halo", "fade"), [(5, 8, 3, 2), (8, 8, 3, 2), (30, 8, 3, 2), (31, 8, 0, 2), (64, 16, 20, 8)]
)
def test_windows_that_agree_give_back_the_motion(frames: int, core: int, halo: int, fade: int) -> None:
    motion = turning(frames)
    windows = windows_over(frames, core, halo, fade)
    joined = windows.join(motion[windows.frame.flatten()])
    torch.testing.assert_close(joined.pelvis, motion.pelvis)
    torch.testing.assert_close(joined.rotations, motion.rotations)
    counts = torch.zeros(frames).index_add(0, windows.frame[windows.present], torch.ones(int(windows.present.sum())))
    assert bool((counts >= 1).all())
    assert int(windows.frame[windows.present].unique().numel()) == frames


def test_windows_that_disagree_are_faded_into_each_other() -> None:
    """Two windows a metre apart: the way from one to the other is a ramp in equal steps."""
    windows = windows_over(16, 8, 4, 3)
    values = torch.arange(len(windows.frame)).repeat_interleave(windows.frame.shape[1]).double()
    ramp = windows.join_values(values)
    assert ramp[:5].tolist() == [0] * 5
    assert ramp[11:].tolist() == [1] * 5
    steps = ramp[4:12].diff()
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 7), rtol=0, atol=1e-12)


def test_long_gaps_and_open_ends_are_not_bridged() -> None:
    seen = torch.tensor([c == "x" for c in "..xx...xx.....x.."])
    bridged = bridged_frames(seen, 0.1, 0.3)
    assert "".join("b" if b else "x" if s else "." for b, s in zip(bridged, seen, strict=True)) == "..xxbbbxx.....x.."


def test_unknown_frames_lie_between_their_neighbours() -> None:
    motion = turning(9)
    known = torch.tensor([False, True, True, False, False, False, True, True, False])
    spoiled = replace(motion, pelvis=motion.pelvis.clone(), rotations=motion.rotations.clone())
    spoiled.pelvis[~known] = 99.0
    spoiled.rotations[~known] = torch.eye(3).double()
    filled = interpolated(spoiled, known)
    torch.testing.assert_close(filled.rotations[1:8], motion.rotations[1:8])
    torch.testing.assert_close(filled.pelvis[1:8], motion.pelvis[1:8])
    torch.testing.assert_close(filled.pelvis[[0, 8]], motion.pelvis[[1, 7]])
    assert interpolated(spoiled, torch.zeros(9, dtype=torch.bool)) is spoiled


def test_arms_and_legs_by_name() -> None:
    names = ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle", "left_elbow", "marker_left_shin")
    assert mirrored_order(names, "arms") == (0, 2, 1, 3, 4, 5, 6)
    assert mirrored_order(names, "legs") == (0, 1, 2, 4, 3, 5, 6)


def swapped_take(body: BodyModel, take: SyntheticSession, pose_problem: Callable) -> tuple[FitProblem, torch.Tensor]:
    """Legs of one view and arms of another on the wrong sides for a few frames."""
    problem = pose_problem(body, take, shape_mode="locked", time_step=1 / 60)
    planted = torch.zeros(FRAMES, 3, len(LIMBS), dtype=torch.bool)
    planted[8:11, 0, 1] = True
    planted[15, 2, 0] = True
    return undo_swaps(problem, planted), planted


def test_planted_swaps_are_found_and_nothing_else(
    body: BodyModel, take: SyntheticSession, pose_problem: Callable
) -> None:
    problem, planted = swapped_take(body, take, pose_problem)
    everywhere = torch.ones(FRAMES, dtype=torch.bool)
    found = find_swaps(problem, take.truth, everywhere)
    # A limb whose sides lie on top of each other in a view may go unnoticed, and harms nothing then.
    assert not bool((found & ~planted).any())
    assert int((found & planted).sum()) >= 3
    assert not bool(find_swaps(undo_swaps(problem, planted), take.truth, everywhere).any())


def test_undoing_twice_changes_nothing(body: BodyModel, take: SyntheticSession, pose_problem: Callable) -> None:
    problem, planted = swapped_take(body, take, pose_problem)
    twice = undo_swaps(undo_swaps(problem, planted), planted)
    assert torch.equal(twice.bearing, problem.bearing)
    assert torch.equal(twice.confidence, problem.confidence)
    assert not torch.equal(undo_swaps(problem, planted).bearing, problem.bearing)


def test_frames_that_are_no_neighbours_show_no_swaps(
    body: BodyModel, take: SyntheticSession, pose_problem: Callable
) -> None:
    problem = pose_problem(body, take, shape_mode="locked")
    assert not bool(find_swaps(problem, take.truth, torch.ones(FRAMES, dtype=torch.bool)).any())


def test_weights_follow_the_time_between_frames() -> None:
    """Over an interval of another length the variance of a rate's change grows with it, and an interval beyond the
    longest gap ties nothing.
    """
    options = MotionOptions()
    times = torch.tensor([[0, 1 / 60, 2 / 60], [0, 1 / 120, 2 / 120], [0, 1 / 60, 1.0]], dtype=torch.float64)
    weights = options.weights(times, 24)
    assert weights.velocity.shape == (3, 2, 25)
    torch.testing.assert_close(weights.acceleration[0, 0, 0].item(), options.pelvis_acceleration**-2)
    torch.testing.assert_close(weights.acceleration[1], weights.acceleration[0] / 2)
    assert bool((weights.acceleration[2] == 0).all())
    assert bool((weights.velocity[2, 1] == 0).all())
    strong = options.smoothed("strong").weights(times, 24)
    torch.testing.assert_close(strong.acceleration[0], 16 * weights.acceleration[0])
