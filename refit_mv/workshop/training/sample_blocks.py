"""Training samples in blocks: frames that share a rig, a body, a keypoint set and a kind of noise, with the start that
fitting would have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.camera import CameraRig
from refit_mv.motion.motion import Motion
from refit_mv.people.evidence import evidence_on
from refit_mv.session.observations import Observations
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise
from refit_mv.workshop.synthetic.pose_bank import PoseBank, PoseMix, draw_poses
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import STANDING_RADIUS, motion_params, observe, random_shape
from refit_mv.workshop.synthetic.world import noise_named

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class EvidenceMix:
    """What training sessions look like. Tuples of (name or number, chance) are drawn from; shares are probabilities.

    ``usual_rigs`` stand 2.5–5.5 m away like the benchmark's, the others anywhere in ``distance`` (metres). ``noise``
    knows the presets, the worlds of ``refit_mv.workshop.synthetic.world``, and "mixed": every error at a random
    strength.
    ``thinned`` blocks lose up to ``thinning`` of their landmarks; ``confused`` views show another person's points.
    ``wide_shape`` multiplies the standard normal shapes of some bodies.
    """

    views: tuple[tuple[int, float], ...] = ((1, 0.14), (2, 0.24), (3, 0.16), (4, 0.26), (5, 0.06), (6, 0.04), (8, 0.10))
    keypoint_sets: tuple[tuple[str, float], ...] = (
        ("coco17", 0.12), ("coco23", 0.28), ("body25", 0.28), ("halpe26", 0.27), ("markers67", 0.05),
    )  # fmt: skip
    noise: tuple[tuple[str, float], ...] = (("standard", 0.32), ("clean", 0.17), ("strong", 0.27), ("mixed", 0.24))
    usual_rigs: float = 0.7
    distance: tuple[float, float] = (1.5, 10.0)
    thinned: float = 0.2
    thinning: float = 0.4
    confused: float = 0.25
    wide_shape: float = 1.4
    first_body: float = 0.6


@dataclass(frozen=True, eq=False)
class SampleBlock:
    """One block. ``body`` indexes the list of bodies it was made with; float32."""

    keypoint_set: str
    landmark_names: tuple[str, ...]
    noise: str
    body: int
    evidence: Rays
    truth: BodyParams
    start: BodyParams

    @property
    def views(self) -> int:
        return self.evidence.bearing.shape[1]

    def __len__(self) -> int:
        return len(self.evidence)


def pick(options: Sequence[tuple[Choice, float]], rng: np.random.Generator) -> Choice:
    """One of the options, each with its chance."""
    chances = np.array([chance for _, chance in options])
    return options[int(rng.choice(len(options), p=chances / chances.sum()))][0]


def mixed_noise(rng: np.random.Generator) -> DetectorNoise:
    """Every error at a strength of its own, from almost none to worse than "strong"."""
    calibration = rng.uniform() < 0.4
    return DetectorNoise(
        "mixed",
        sigma=float(np.exp(rng.uniform(np.log(4e-4), np.log(0.02)))),
        outlier_share=rng.uniform(0, 0.15),
        outlier_sigma=rng.uniform(0.05, 0.2),
        missing_points=rng.uniform(0, 0.25),
        missing_views=rng.uniform(0, 0.15),
        swap_share=rng.uniform(0, 0.1),
        confidence=(rng.uniform(0.3, 0.9), 1.0),
        outlier_confidence=(rng.uniform(0.05, 0.9), 1.0),
        offset_sigma=rng.uniform(0, 0.006),
        bystander_share=0.0,
        calibration_rotation=float(calibration * rng.uniform(0, 0.006)),
        calibration_translation=float(calibration * rng.uniform(0, 0.02)),
    )


def _bent(seen: Observations, rng: np.random.Generator) -> Observations:
    """In some blocks of "mixed" detectors claims are bent, as no two detectors mean the same by a number."""
    if rng.uniform() >= 0.5:
        return seen
    confidence = np.where(seen.confidence > 0, seen.confidence ** rng.uniform(0, 2), 0.0)
    return replace(seen, confidence=confidence)


def _confused(seen: Observations, rng: np.random.Generator) -> Observations:
    """In a few frame-views the points are those of another frame of the block: someone else, elsewhere."""
    frames, views = seen.confidence.shape[:2]
    wrong = rng.uniform(size=(frames, views)) < 0.06
    other = rng.permutation(frames)
    pixels, confidence = seen.pixels.copy(), seen.confidence.copy()
    pixels[wrong], confidence[wrong] = pixels[other][wrong], confidence[other][wrong]
    return replace(seen, pixels=pixels, confidence=confidence)


def draw_truth(
    bank: PoseBank, body: BodyModel, mix: PoseMix, spread: float, frames: int, rng: np.random.Generator
) -> BodyParams:
    """People of random shape (standard normal times ``spread``, clipped at twice that) standing near the middle."""
    height, rotations = draw_poses(bank, load_pose_prior(), mix, frames, rng)
    reach = STANDING_RADIUS * np.sqrt(rng.uniform(size=frames))
    azimuth = rng.uniform(0, 2 * np.pi, frames)
    pelvis = torch.stack(
        [torch.from_numpy(reach * np.sin(azimuth)), height, torch.from_numpy(reach * np.cos(azimuth))], -1
    )
    return motion_params(body, Motion("training", 1.0, pelvis, rotations), spread * random_shape(body, frames, rng))


def pick_noise(options: Sequence[tuple[str, float]], rng: np.random.Generator) -> tuple[str, DetectorNoise]:
    """A kind of noise, and a detector of that kind."""
    kind = pick(options, rng)
    return kind, mixed_noise(rng) if kind == "mixed" else noise_named(kind).drawn(rng)


def pick_body(bodies: Sequence[BodyModel], first: float, rng: np.random.Generator) -> int:
    """The number of a body; that of the first with at least that chance."""
    return 0 if len(bodies) == 1 or rng.uniform() < first else int(rng.integers(1, len(bodies)))


def pick_rig(views: int, usual: float, distance: tuple[float, float], rng: np.random.Generator) -> CameraRig:
    """A rig as far away as the benchmark's, with the chance ``usual``, or anywhere in ``distance`` (metres)."""
    usually = rng.uniform() < usual
    return random_rig(int(rng.integers(2**62)), views, distance=(2.5, 5.5) if usually else distance)


def draw_block(
    bank: PoseBank, bodies: Sequence[BodyModel], poses: PoseMix, mix: EvidenceMix, frames: int, rng: np.random.Generator
) -> SampleBlock:
    """One block of samples; every random number comes from ``rng``."""
    views = pick(mix.views, rng)
    keypoints = keypoint_set(pick(mix.keypoint_sets, rng))
    kind, noise = pick_noise(mix.noise, rng)
    index = pick_body(bodies, mix.first_body, rng)
    body = bodies[index]
    truth = draw_truth(bank, body, poses, mix.wide_shape if rng.uniform() < 0.2 else 1.0, frames, rng)
    rig = pick_rig(views, mix.usual_rigs, mix.distance, rng)
    session = observe(body, keypoints, truth, rig, noise.still, int(rng.integers(2**62)), fps=1.0)
    observations = session.observations
    if kind == "mixed" and rng.uniform() < mix.confused:
        observations = _confused(observations, rng)
    if kind == "mixed":
        observations = _bent(observations, rng)
    seen = evidence_on(body, observations.person(0))
    if rng.uniform() < mix.thinned:
        dropped = torch.from_numpy(rng.uniform(size=len(seen.landmark_names)) < rng.uniform(0, mix.thinning))
        seen = replace(seen, confidence=seen.confidence.masked_fill(dropped, 0.0))
    problem = seen.problem(body, session.rig, CostOptions(), "free")
    return SampleBlock(
        keypoints.name,
        seen.landmark_names,
        kind,
        index,
        problem.rays.to(torch.float32),
        truth.to(torch.float32),
        initialise(problem).to(torch.float32),
    )
