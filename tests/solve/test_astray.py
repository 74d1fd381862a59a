"""Frames that went astray alone are found, and a chain over them finds the way back."""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.rotations import exp
from refit_mv.solve.astray import DOUBTED, frames_astray, put_right
from refit_mv.solve.over_time import SequenceOptions
from refit_mv.solve.problem import FitProblem, build_problem
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import synthesise

FRAMES, FPS = 80, 60.0


@pytest.fixture(scope="module")
def posed(body: BodyModel) -> tuple[FitProblem, BodyParams]:
    """Almost exact evidence, and the truth."""
    motion = sampled_motion(load_pose_prior(), 6, FRAMES, FPS)
    session = synthesise(body, "coco23", motion, random_rig(4, 4, distance=(2.5, 5.5)), detector_noise("clean"), 3)
    seen = session.observations.person(0)
    names, pixels, confidence = keypoint_set("coco23").keypoint_names, seen.pixels, seen.confidence
    problem = build_problem(
        body, session.rig, names, torch.from_numpy(pixels), torch.from_numpy(confidence), shape_mode="locked",
        time_step=1 / FPS,
    )  # fmt: skip
    return problem, session.truth


def spoilt(truth: BodyParams, frames: slice) -> BodyParams:
    """Some frames face the other way."""
    rotations = truth.rotations.clone()
    rotations[frames, 0] = exp(torch.tensor([0.0, torch.pi, 0.0], dtype=torch.float64)) @ rotations[frames, 0]
    return replace(truth, rotations=rotations)


def test_frames_that_disagree_with_the_motion_are_found(posed: tuple[FitProblem, BodyParams]) -> None:
    problem, truth = posed
    assert not bool(frames_astray(problem, truth, truth).any())
    found = torch.nonzero(frames_astray(problem, spoilt(truth, slice(20, 30)), truth))[:, 0].tolist()
    assert found == list(range(20 - DOUBTED, 30 + DOUBTED))


def test_frames_that_nobody_saw_are_not_astray(posed: tuple[FitProblem, BodyParams]) -> None:
    problem, truth = posed
    confidence = problem.confidence.clone()
    confidence[20:30] = 0
    unseen = problem.with_rays(confidence=confidence)
    assert not bool(frames_astray(unseen, spoilt(truth, slice(20, 30)), truth).any())


@pytest.mark.parametrize("stretches", [[slice(20, 30)], [slice(0, 8), slice(60, 80)], [slice(30, 34), slice(44, 50)]])
def test_chains_find_the_way_back(posed: tuple[FitProblem, BodyParams], stretches: list[slice]) -> None:
    problem, truth = posed
    astray, motion = torch.zeros(FRAMES, dtype=torch.bool), truth
    for stretch in stretches:
        astray[stretch], motion = True, spoilt(motion, stretch)
    found = put_right(problem, motion, None, astray, SequenceOptions())
    places = [posed_joints(problem.body, params).positions for params in (found, truth)]
    off = (places[0] - places[1]).norm(dim=-1).mean(-1)
    # Evidence of a millimetre or two, smoothed; spoilt frames are 15 cm off.
    assert float(off[astray].max()) < 0.01
    # All others stay to the bit.
    assert torch.equal(found.rotations[~astray], truth.rotations[~astray])


def test_a_long_stretch_is_solved_in_pieces(posed: tuple[FitProblem, BodyParams]) -> None:
    """So that its memory does not grow with its length; where pieces meet, they agree."""
    problem, truth = posed
    astray = torch.ones(FRAMES, dtype=torch.bool)
    astray[:4], astray[-4:] = False, False
    whole, pieces = (
        put_right(problem, truth, None, astray, SequenceOptions(core_frames=count)) for count in (FRAMES, 16)
    )
    places = [posed_joints(problem.body, params).positions for params in (whole, pieces)]
    # What a chain does not know of is 24 frames away at the least; descents end a millimetre from their bottom.
    assert 0 < float((places[0] - places[1]).norm(dim=-1).max()) < 3e-3
