"""Windows of motion to learn time from: recorded movement at several rates, before random cameras, as a detector
reports it and loses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior, rotations_from_tangent, tangent
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Motion, mirror
from refit_mv.networks.time_unroll import Timeline
from refit_mv.people.evidence import evidence_on
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.synthetic.detector_noise import APPARENT_STATURE
from refit_mv.workshop.synthetic.plausibility import plausible_frames
from refit_mv.workshop.synthetic.pose_bank import below
from refit_mv.workshop.synthetic.session import motion_params, observe, random_shape
from refit_mv.workshop.training.sample_blocks import pick, pick_body, pick_noise, pick_rig

# How far from the truth the given shape is at most, in standard deviations of people: from measured people to what a
# short session tells.
SHAPE_ERROR = 0.15


@dataclass(frozen=True)
class WindowMix:
    """What windows look like; shares are probabilities, times in seconds.

    ``strides`` are steps through the recording, ``warp`` a factor on time. ``gaps`` lose all views for ``gap`` seconds,
    ``lost_views`` one view for the whole window; ``ragged`` windows end early. ``drift`` adds errors that stay for a
    while (up to that sigma, in units of apparent height), ``swap_runs`` lasting swaps of limbs in one view. The rest as
    in ``EvidenceMix`` and ``PoseMix``.
    """

    frames: int = 48
    strides: tuple[tuple[int, float], ...] = ((1, 0.75), (2, 0.25))
    warp: tuple[float, float] = (0.5, 1.3)
    views: tuple[tuple[int, float], ...] = ((1, 0.05), (2, 0.30), (3, 0.15), (4, 0.35), (8, 0.15))
    keypoint_sets: tuple[tuple[str, float], ...] = (
        ("coco17", 0.1),
        ("coco23", 0.4),
        ("body25", 0.25),
        ("halpe26", 0.25),
    )
    noise: tuple[tuple[str, float], ...] = (("standard", 0.42), ("clean", 0.13), ("strong", 0.20), ("mixed", 0.25))
    first_body: float = 0.6
    usual_rigs: float = 0.75
    distance: tuple[float, float] = (1.5, 10.0)
    recombined: float = 0.2
    disturbed: float = 0.3
    disturbance: float = 0.10
    tumbled: float = 0.04
    gaps: float = 0.30
    gap: tuple[float, float] = (0.1, 0.5)
    lost_views: float = 0.15
    ragged: float = 0.1
    drift: float = 0.006
    drifting: float = 0.35
    drift_seconds: tuple[float, float] = (0.05, 0.4)
    swap_runs: float = 0.15


@dataclass(frozen=True, eq=False)
class SampleWindow:
    """One window. ``step`` in seconds between frames, the same throughout; float32."""

    landmark_names: tuple[str, ...]
    keypoint_set: str
    noise: str
    body: int
    evidence: Rays
    truth: BodyParams
    start: BodyParams
    step: float
    valid: Tensor

    @property
    def views(self) -> int:
        return self.evidence.bearing.shape[1]


@dataclass(frozen=True, eq=False)
class Takes:
    """Motions with the first frames from which a whole window is plausible."""

    motions: tuple[Motion, ...]
    starts: tuple[Int[np.ndarray, " start"], ...]

    @staticmethod
    def of(motions: Sequence[Motion], frames: int) -> "Takes":
        """Motions and their mirror images that hold at least one window of so many frames.

        Raises:
            InputError: none does.
        """
        kept, starts = [], []
        for motion in motions:
            bad = np.concatenate([[0], np.cumsum(~plausible_frames(motion).numpy())])
            if len(motion) < frames:
                continue
            first = np.flatnonzero(bad[frames:] == bad[:-frames])
            if len(first):
                kept += [motion, mirror(motion)]
                starts += [first, first]
        if not kept:
            raise InputError(f"no motion is plausible for {frames} frames on end")
        return Takes(tuple(kept), tuple(starts))

    def draw(self, frames: int, stride: int, rng: np.random.Generator) -> Motion:
        """Some frames of some motion, every motion equally likely."""
        number = int(rng.integers(len(self.motions)))
        first = int(rng.choice(self.starts[number]))
        motion = self.motions[number]
        # Short takes are walked through more slowly.
        stride = min(stride, max(1, (len(motion) - 1 - first) // max(frames - 1, 1)))
        return motion.frames(slice(first, first + stride * (frames - 1) + 1, stride))


def _movement(takes: Takes, mix: WindowMix, stride: int, rng: np.random.Generator) -> Motion:
    """A recorded movement, with the upper body of another now and then, disturbed by the same small turns throughout,
    heading anywhere.
    """
    motion = takes.draw(mix.frames, stride, rng)
    rotations = motion.rotations.clone()
    if rng.uniform() < mix.recombined:
        other = takes.draw(mix.frames, stride, rng).rotations
        rotations[:, below("spine1")] = other[:, below("spine1")]
    if rng.uniform() < mix.disturbed:
        prior = load_pose_prior()
        coordinates = tangent(prior, rotations[:, 1:])
        size = mix.disturbance * rng.uniform()
        offset = size * torch.from_numpy(rng.normal(size=coordinates.shape[-1]))
        rotations[:, 1:] = rotations_from_tangent(prior, coordinates + offset)
    heading = exp(torch.tensor([0.0, rng.uniform(0, 2 * np.pi), 0.0], dtype=torch.float64))
    middle = motion.pelvis.mean(0) * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    reach, azimuth = 0.3 * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
    place = torch.tensor([reach * np.sin(azimuth), 0.0, reach * np.cos(azimuth)], dtype=torch.float64)
    pelvis = (motion.pelvis - middle) @ heading.T + place
    if rng.uniform() < mix.tumbled:
        turn = exp(torch.from_numpy(rng.normal(size=3)))
        centre = torch.tensor([0.0, 0.95, 0.0], dtype=torch.float64)
        pelvis, heading = (pelvis - centre) @ turn.T + centre, turn @ heading
    rotations[:, 0] = heading @ rotations[:, 0]
    return Motion(motion.name, motion.fps, pelvis, rotations)


def _drifted(evidence: Rays, size: float, memory: float, rng: np.random.Generator) -> Rays:
    """Errors that last: an autoregressive process per view and landmark, ``memory`` its correlation from frame to
    frame.
    """
    shape = evidence.bearing.shape
    fresh = rng.normal(size=shape)
    error = np.empty(shape)
    error[0] = fresh[0]
    for frame in range(1, shape[0]):
        error[frame] = memory * error[frame - 1] + np.sqrt(1 - memory**2) * fresh[frame]
    scale = size * APPARENT_STATURE / evidence.distance[:, :, None, None]
    shift = torch.from_numpy(error).to(torch.float32) * scale
    return replace(evidence, bearing=torch.nn.functional.normalize(evidence.bearing + shift, dim=-1))


def _swapped(evidence: Rays, names: tuple[str, ...], rng: np.random.Generator) -> Rays:
    """Arms or legs of one view take each other's places for a while."""
    order = torch.tensor(mirrored_order(names, "arms" if rng.uniform() < 0.5 else "legs"))
    frames, views = evidence.confidence.shape[:2]
    begin, view = int(rng.integers(frames)), int(rng.integers(views))
    rows = slice(begin, begin + int(rng.integers(2, 20)))
    bearing, confidence = evidence.bearing.clone(), evidence.confidence.clone()
    bearing[rows, view] = evidence.bearing[rows, view][:, order]
    confidence[rows, view] = evidence.confidence[rows, view][:, order]
    return replace(evidence, bearing=bearing, confidence=confidence)


def _thinned(evidence: Rays, mix: WindowMix, step: float, rng: np.random.Generator) -> Rays:
    """All views lost for a while, or one throughout."""
    confidence = evidence.confidence.clone()
    frames, views = confidence.shape[:2]
    if rng.uniform() < mix.gaps:
        length = max(1, round(rng.uniform(*mix.gap) / step))
        begin = int(rng.integers(-length // 2, frames - length // 2))
        confidence[max(begin, 0) : max(begin + length, 0)] = 0
    if views > 1 and rng.uniform() < mix.lost_views:
        confidence[:, int(rng.integers(views))] = 0
    return replace(evidence, confidence=confidence)


def draw_window(takes: Takes, bodies: Sequence[BodyModel], mix: WindowMix, rng: np.random.Generator) -> SampleWindow:
    """One window; every random number comes from ``rng``."""
    views, stride = pick(mix.views, rng), pick(mix.strides, rng)
    keypoints = keypoint_set(pick(mix.keypoint_sets, rng))
    kind, noise = pick_noise(mix.noise, rng)
    index = pick_body(bodies, mix.first_body, rng)
    body = bodies[index]
    motion = _movement(takes, mix, stride, rng)
    truth = motion_params(body, motion, random_shape(body, 1, rng).expand(mix.frames, -1))
    step = stride / motion.fps * rng.uniform(*mix.warp)
    rig = pick_rig(views, mix.usual_rigs, mix.distance, rng)
    session = observe(body, keypoints, truth, rig, noise, int(rng.integers(2**62)), fps=1 / step)
    seen = evidence_on(body, session.observations.person(0))
    names, problem = seen.landmark_names, seen.problem(body, session.rig, CostOptions(), "free")
    evidence = _thinned(problem.rays.to(torch.float32), mix, step, rng)
    if rng.uniform() < mix.swap_runs:
        evidence = _swapped(evidence, names, rng)
    if rng.uniform() < mix.drifting:
        memory = float(np.exp(-step / rng.uniform(*mix.drift_seconds)))
        evidence = _drifted(evidence, mix.drift * rng.uniform(), memory, rng)
    valid = torch.ones(mix.frames, dtype=torch.bool)
    if rng.uniform() < mix.ragged:
        valid[int(rng.integers(mix.frames // 2, mix.frames)) :] = False
        evidence = replace(evidence, confidence=evidence.confidence * valid[:, None, None])
    start = initialise(problem.with_rays(confidence=evidence.confidence.to(problem.confidence.dtype))).to(torch.float32)
    given = truth.shape[:1] + SHAPE_ERROR * rng.uniform() * torch.from_numpy(rng.normal(size=(1, body.shape_count)))
    start = replace(start, shape=given.to(torch.float32).expand(mix.frames, -1).clone())
    return SampleWindow(names, keypoints.name, kind, index, evidence, truth.to(torch.float32), start, step, valid)


def timeline(windows: Sequence[SampleWindow]) -> Timeline:
    """Of windows side by side."""
    valid = torch.stack([window.valid for window in windows])
    step = torch.tensor([window.step for window in windows])[:, None].expand(-1, valid.shape[1] - 1)
    return Timeline(step, valid)
