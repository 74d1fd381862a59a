"""Fitting problems whose answer is known."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.rotations import exp
from refit_mv.people.evidence import evidence_on
from refit_mv.solve.problem import CostOptions, FitProblem, ShapeMode
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise, detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.session import SyntheticSession, independent_people, observe_in_blocks

# Priors so weak that they only settle what no marker shows; the limits stay, true poses keep them.
WEAK = CostOptions(pose_prior=1e-4, shape_prior=1e-4)


@pytest.fixture(scope="session")
def weak() -> CostOptions:
    return WEAK


def draw_frames(
    body: BodyModel,
    keypoints: str = "coco23",
    noise: str | DetectorNoise = "none",
    views: int = 4,
    frames: int = 8,
    blocks: int = 1,
    seed: int = 11,
) -> list[SyntheticSession]:
    """Frames that have nothing to do with one another, each block before a random rig of its own."""
    motion = sampled_motion(load_pose_prior(), seed=seed, frames=400, fps=4.0)
    errors = detector_noise(noise) if isinstance(noise, str) else noise
    people = independent_people(body, [motion], frames, seed)
    return observe_in_blocks(body, keypoints, people, views, errors, seed, blocks, distortion=True)


@pytest.fixture(scope="session")
def draw() -> Callable[..., list[SyntheticSession]]:
    return draw_frames


def problem_of(
    body: BodyModel,
    session: SyntheticSession,
    options: CostOptions | None = None,
    shape_mode: ShapeMode = "free",
    time_step: float | None = None,
) -> FitProblem:
    evidence = evidence_on(body, session.observations.person(0))
    return evidence.problem(body, session.rig, options or CostOptions(), shape_mode, time_step)


@pytest.fixture(scope="session")
def pose_problem() -> Callable[..., FitProblem]:
    return problem_of


@pytest.fixture(scope="session")
def joint_error() -> Callable[..., torch.Tensor]:
    """Mean distance over the joints, metres, per frame."""

    def error(body: BodyModel, first: BodyParams, second: BodyParams) -> torch.Tensor:
        return (posed_joints(body, first).positions - posed_joints(body, second).positions).norm(dim=-1).mean(-1)

    return error


@pytest.fixture(scope="session")
def shaken() -> Callable[..., BodyParams]:
    """Parameters a little off: what an optimizer passes through, where no term of the cost vanishes."""

    def shake(params: BodyParams, angle: float = 0.1, seed: int = 5) -> BodyParams:
        generator = torch.Generator().manual_seed(seed)
        frames, joints = params.rotations.shape[:2]

        def noise(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=generator, dtype=torch.float64)

        return replace(
            params,
            pelvis=params.pelvis + 0.03 * noise(frames, 3),
            rotations=params.rotations @ exp(angle * noise(frames, joints, 3)),
            shape=params.shape + 0.3 * noise(*params.shape.shape),
        )

    return shake
