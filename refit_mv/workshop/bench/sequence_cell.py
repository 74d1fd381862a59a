"""Sequences to measure on: people in motion before cameras of their own, what a detector reports of them, and one start
for everybody.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion, resample
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.subject import Subject, meet
from refit_mv.solve.gauss_newton import GaussNewton
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise, detector_noise
from refit_mv.workshop.synthetic.plausibility import plausible_frames
from refit_mv.workshop.synthetic.rigs import CAPTURE_RADIUS, random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

# Runs of plausible frames shorter than this tell little about motion, seconds.
SHORTEST_SEQUENCE = 1.0
# Room around the path of the pelvis for arms and legs, metres.
ROOM = 1.1
# So many frames, spread over a sequence, fix its person's shape, as they would in a session.
SUBJECT_FRAMES = 48


@dataclass(frozen=True)
class Scenario:
    """What happens to the evidence of a sequence: the detector's noise, and for how many seconds in its middle no view
    sees anything.
    """

    noise: DetectorNoise
    lost_seconds: float = 0.0


# "steady" errors are those of a detector that errs alike in neighbouring frames, as detectors do.
SCENARIOS: dict[str, Scenario] = {
    **{name: Scenario(detector_noise(name)) for name in ("none", "clean", "standard", "strong")},
    "swaps": Scenario(replace(detector_noise("standard"), name="swaps", swap_share=0.05)),
    "gap": Scenario(replace(detector_noise("standard"), name="gap"), lost_seconds=0.3),
    "steady": Scenario(replace(detector_noise("standard"), name="steady", persistence=0.9)),
}


def scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        InputError: there is none.
    """
    if name not in SCENARIOS:
        raise InputError(f"unknown noise '{name}' of sequences: expected one of {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


@dataclass(frozen=True, eq=False)
class Take:
    """One person's sequence. ``problem`` has the subject's shape and offsets locked and knows the time step; ``lost``
    are the frames that no view saw on purpose. ``start`` took ``start_seconds``.
    """

    problem: FitProblem
    truth: BodyParams
    start: BodyParams
    start_seconds: float
    lost: slice

    def __len__(self) -> int:
        return len(self.problem)


def plausible_clips(motions: Sequence[Motion], fps: float, frames: int) -> list[list[Motion]]:
    """For every motion that has any: clips of at most ``frames`` neighbouring plausible frames at the wanted rate."""
    found = []
    for motion in motions:
        motion = motion if motion.fps == fps else resample(motion, fps)
        good = np.flatnonzero(plausible_frames(motion).numpy())
        runs = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1)
        clips = []
        for run in runs:
            if len(run) < max(SHORTEST_SEQUENCE * fps, 3):
                continue
            # A long run is cut into equal clips.
            pieces = np.array_split(run, math.ceil(len(run) / frames))
            clips.extend(motion.frames(slice(int(piece[0]), int(piece[-1]) + 1)) for piece in pieces)
        if clips:
            found.append(clips)
    if not found:
        raise InputError(
            f"no motion has {SHORTEST_SEQUENCE:g} s of plausible frames in a row; sequences need recorded motions "
            "(--motion DIR)"
        )
    return found


def draw_session(
    body: BodyModel,
    keypoints: str,
    clips: Sequence[Sequence[Motion]],
    views: int,
    noise: DetectorNoise,
    seed: int,
    index: int,
) -> SyntheticSession:
    """The ``index``-th sequence of a seed: motions take turns, their clips are drawn. The same seed gives the same
    people in the same motion whatever the noise.
    """
    rng = np.random.default_rng([seed, 7, index])
    order = np.random.default_rng([seed, 8, index // len(clips)]).permutation(len(clips))
    mine = clips[order[index % len(clips)]]
    clip = mine[rng.integers(len(mine))]
    travel = clip.pelvis[:, [0, 2]]
    reach = float((travel.amax(0) - travel.amin(0)).norm()) / 2 + ROOM
    rig = random_rig([seed, 9, index], views, capture_radius=max(CAPTURE_RADIUS, reach))
    return synthesise(body, keypoints, clip, rig, noise, seed * 10_007 + index)


def without_frames(evidence: Evidence, lost: slice) -> Evidence:
    """The same evidence as if no view had seen anything in these frames."""
    confidence = evidence.confidence.clone()
    confidence[lost] = 0
    return Evidence(evidence.landmark_names, evidence.pixels, confidence)


def middle(frames: int, lost: int) -> slice:
    """So many frames in the middle of a sequence."""
    begin = (frames - lost) // 2
    return slice(begin, begin + lost)


def take_of(
    body: BodyModel, session: SyntheticSession, cost: CostOptions, lost_seconds: float, subject: Subject | None = None
) -> Take:
    """A session as a sequence problem. Its subject is met by the classic optimizer unless given."""
    evidence = evidence_on(body, session.observations.person(0))
    lost = middle(len(session), round(lost_seconds * session.fps))
    evidence = without_frames(evidence, lost)
    if subject is None:
        subject = meet(body, session.rig, evidence, GaussNewton(), cost, SUBJECT_FRAMES, "cpu")
    problem = subject.lock(evidence.problem(body, session.rig, cost, "locked", 1 / session.fps))
    began = time.perf_counter()
    start = subject.dress(initialise(problem))
    return Take(problem, session.truth, start, time.perf_counter() - began, lost)


def draw_takes(
    body: BodyModel,
    keypoints: str,
    motions: Sequence[Motion],
    views: int,
    chosen: Scenario,
    cost: CostOptions,
    sequences: int,
    frames: int,
    fps: float,
    seed: int,
    subject_known: bool = True,
) -> list[Take]:
    """A cell's sequences. Shapes are the true ones if ``subject_known``, otherwise solved from the evidence."""
    clips = plausible_clips(motions, fps, frames)
    sessions = [draw_session(body, keypoints, clips, views, chosen.noise, seed, index) for index in range(sequences)]
    known = keypoint_set(keypoints).keypoint_names
    offset = torch.zeros(sum(name in body.landmark_names for name in known), 3, dtype=torch.float64)
    return [
        take_of(
            body,
            session,
            cost,
            chosen.lost_seconds,
            Subject(session.truth.shape[0], offset) if subject_known else None,
        )
        for session in sessions
    ]
