"""What lasts of people whose frames come one at a time: sums that are those of all blocks at once, turned with the
body, and true where cameras are off.
"""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.stream import FitStream
from refit_mv.people.live import FrameObservations
from refit_mv.people.subject import Subject
from refit_mv.solve.initialise import initialise
from refit_mv.solve.lasting import LONE_SIGMA, lasting_covariance
from refit_mv.solve.lasting_evidence import Shown
from refit_mv.solve.lasting_so_far import FIRST_BLOCKS, LATER_SECONDS, LastingSoFar
from refit_mv.solve.lasting_system import Blocks, LastingSystem
from refit_mv.solve.problem import FitProblem, build_problem
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

FPS, FRAMES, BLOCK = 60.0, 72, 12


@pytest.fixture(scope="module")
def session() -> SyntheticSession:
    """Cameras turned by 4 mrad: 16 mm at 4 m, for good."""
    motion = sampled_motion(load_pose_prior(), 11, FRAMES, FPS)
    noise = replace(detector_noise("standard"), calibration_rotation=0.004)
    return synthesise(open_body(), "coco23", motion, random_rig(11, 4, distance=(2.5, 5.5)), noise, 11)


@pytest.fixture(scope="module")
def solved(session: SyntheticSession) -> tuple[FitProblem, BodyParams]:
    seen = session.observations.person(0)
    names = keypoint_set("coco23").keypoint_names
    pixels, confidence = torch.from_numpy(seen.pixels), torch.from_numpy(seen.confidence)
    problem = build_problem(open_body(), session.rig, names, pixels, confidence, shape_mode="locked", time_step=1 / FPS)
    return problem, GaussNewton().solve(problem, replace(initialise(problem), shape=session.truth.shape)).params


def _moments(solved: tuple[FitProblem, BodyParams]) -> list[tuple[FitProblem, BodyParams]]:
    problem, params = solved
    parts = [slice(begin, begin + BLOCK) for begin in range(0, FRAMES, BLOCK)]
    return [(problem.frames(part), params[part]) for part in parts]


def test_sums_of_moments_are_those_of_all(solved: tuple[FitProblem, BodyParams]) -> None:
    problem, params = solved
    blocks = Blocks.of(problem, params)
    system = LastingSystem.of(problem, params, blocks)
    assert len(system) == FRAMES / BLOCK
    expected = Shown.of(system)
    summed = Shown.of(system[slice(0, 1)])
    for at in range(1, len(system)):
        summed = summed + Shown.of(system[slice(at, at + 1)])
    assert summed.blocks == expected.blocks
    for each in fields(Shown):
        found, other = getattr(summed, each.name), getattr(expected, each.name)
        if isinstance(found, Tensor):
            torch.testing.assert_close(found, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_moments_come_to_state_what_a_recording_does(solved: tuple[FitProblem, BodyParams]) -> None:
    so_far, (problem, params) = LastingSoFar(), solved
    for at, (moment, where) in enumerate(_moments(solved)):
        # At first as often as a recording's blocks, then a second apart.
        assert so_far.due(0.21 * at) == (at < FIRST_BLOCKS)
        so_far = so_far.after(0.21 * at, moment, where)
    last = 0.21 * (len(_moments(solved)) - 1)
    assert so_far.due(last + LATER_SECONDS) and not so_far.due(last + 0.9 * LATER_SECONDS)

    def size(covariance: Tensor) -> float:
        return float(covariance.diagonal(dim1=-2, dim2=-1).mean().sqrt())

    stated, whole = size(so_far.covariance(params[FRAMES - 1 :])), size(lasting_covariance(problem, params)[-BLOCK:])
    assert 0.7 < stated / whole < 1.4 and stated > 0.006


def test_it_turns_with_the_body_and_needs_something_seen(solved: tuple[FitProblem, BodyParams]) -> None:
    moment, where = _moments(solved)[0]
    nothing = LastingSoFar()
    assert nothing.after(0.0, moment.with_rays(confidence=torch.zeros_like(moment.confidence)), where) is nothing
    last = where[BLOCK - 1 :]
    lone = nothing.covariance(last).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(lone, torch.full_like(lone, LONE_SIGMA**2))
    found = nothing.after(0.0, moment, where)
    around = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    rotations = last.rotations.clone()
    rotations[:, 0] = around @ rotations[:, 0]
    turned = found.covariance(replace(last, rotations=rotations))
    torch.testing.assert_close(turned, around @ found.covariance(last) @ around.mT)


def test_streams_state_what_lasts(session: SyntheticSession) -> None:
    points = len(keypoint_set("coco23"))
    subject = Subject(session.truth.shape[0], torch.zeros(points, 3, dtype=torch.float64))
    stream = FitStream(open_body(), session.rig, keypoint_set("coco23"), subjects={"a": subject})
    seen = session.observations.person(0)
    inside = []
    for at in range(FRAMES):
        frame = FrameObservations(torch.from_numpy(seen.pixels[at]), torch.from_numpy(seen.confidence[at]))
        result = stream.push((at + 1) / FPS, {"a": frame})["a"]
        truth = session.truth[at : at + 1]
        error = posed_joints(open_body(), result.params).positions - posed_joints(open_body(), truth).positions
        inside.append(error.abs() <= 2 * result.joint_covariance.diagonal(dim1=-2, dim2=-1).sqrt())
    # One rig is one draw of what lasts; of scatter alone two standard deviations hold half of the errors here.
    assert float(torch.cat(inside[BLOCK:]).double().mean()) > 0.8
