"""What people can do: made-up motions, the standard figure, and frames that no joint allows."""

import pytest
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.rotations import angle_between, exp, log
from refit_mv.motion.motion import Motion
from refit_mv.motion.standard_skeleton import (
    ANKLE_HEIGHT,
    pose_standard_skeleton,
    standard_pelvis_height,
    standard_rest_joints,
)
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.plausibility import plausible_frames

torch.set_num_threads(1)


def joint(name: str) -> int:
    return SMPL_JOINT_NAMES.index(name)


def test_sampled_motion_is_smooth_reproducible_and_on_the_floor() -> None:
    prior = load_pose_prior()
    motion = sampled_motion(prior, seed=4, frames=300, fps=60.0)
    again = sampled_motion(prior, seed=4, frames=300, fps=60.0)
    assert torch.equal(motion.rotations, again.rotations) and torch.equal(motion.pelvis, again.pelvis)
    assert not torch.equal(motion.rotations, sampled_motion(prior, 5, 300, 60.0).rotations)
    # People's joints turn at up to some 15 rad/s (a kick); a frame at 60 Hz is then at most 0.25 rad.
    assert float(angle_between(motion.rotations[1:], motion.rotations[:-1]).max()) < 0.25
    figure = pose_standard_skeleton(motion.pelvis, motion.rotations).positions
    lowest = figure[:, [joint("left_ankle"), joint("right_ankle")], 1].amin(1)
    torch.testing.assert_close(lowest, torch.full_like(lowest, ANKLE_HEIGHT), atol=1e-9, rtol=0)
    # It moves: no joint of the arms stands still.
    assert float(log(motion.rotations[:, joint("left_elbow")]).std(0).amax()) > 0.1


def test_standard_figure_stands_on_the_floor() -> None:
    rest = standard_rest_joints() + torch.tensor([0.0, standard_pelvis_height(), 0.0]).double()
    assert float(rest[joint("left_ankle"), 1]) == pytest.approx(ANKLE_HEIGHT)
    # The toe joint lies under the ankle and above the sole.
    assert 0 < float(rest[joint("left_foot"), 1]) < ANKLE_HEIGHT
    # Winter puts the hip joint at 0.53 of stature.
    assert float(rest[joint("left_hip"), 1]) == pytest.approx(0.53 * 1.70, abs=0.01)


def test_implausible_frames_are_found() -> None:
    frames = torch.eye(3, dtype=torch.float64).repeat(6, 24, 1, 1)
    pelvis = torch.zeros(6, 3, dtype=torch.float64)

    def turned(name: str, axis: tuple[float, float, float]) -> torch.Tensor:
        changed = frames.clone()
        changed[:, joint(name)] = exp(torch.tensor(axis, dtype=torch.float64))
        return changed

    def good(rotations: torch.Tensor) -> list[bool]:
        return plausible_frames(Motion("a", 60.0, pelvis, rotations)).tolist()

    bend = 1.5
    for name, axis in (("left_elbow", (0, -bend, 0)), ("right_elbow", (0, bend, 0)), ("left_knee", (bend, 0, 0))):
        assert all(good(turned(name, axis))), name
        assert not any(good(turned(name, (-axis[0], -axis[1], -axis[2])))), name
    assert not any(good(turned("right_knee", (0, 0, 0.8))))
    jump = frames.clone()
    jump[3, joint("head")] = exp(torch.tensor([0.0, 1.2, 0.0], dtype=torch.float64))
    assert good(jump) == [True, True, False, False, False, True]
