"""The benchmark on sequences, people in motion before cameras of their own: every optimizer with its time terms, each
frame alone, and each frame alone with a filter over it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion, resample
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.subject import Subject, meet
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.block import Block, cold_start
from refit_mv.workshop.bench.columns import ACCURACY, Layout, Row, counted_views
from refit_mv.workshop.bench.errors import MotionErrors, PoseErrors, accuracy, motion_errors, movement, pose_errors
from refit_mv.workshop.bench.motions import Share, bench_motions
from refit_mv.workshop.bench.peers import Filtered, with_and_without_time
from refit_mv.workshop.bench.run import Contender, check_views
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.plausibility import plausible_frames
from refit_mv.workshop.synthetic.rigs import CAPTURE_RADIUS, random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise
from refit_mv.workshop.synthetic.world import WORLDS, Noise, World

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

    noise: Noise
    lost_seconds: float = 0.0


# "steady" errors are those of a detector that errs alike in neighbouring frames, as detectors do.
SCENARIOS: dict[str, Scenario] = {
    **{name: Scenario(detector_noise(name)) for name in ("none", "clean", "standard", "strong")},
    **{name: Scenario(world) for name, world in WORLDS.items()},
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


def _title(row: Row) -> str:
    return (
        f"{row['noise']} noise, {counted_views(row['views'])}, {row['sequences']} sequences of {row['frames']} frames "
        f"in all at {row['fps']:g} fps, {row['impacts']} impacts (errors in mm, rot in degrees, accel in m/s², ms per "
        "person-frame)"
    )


_MOTION = ("peak_kept", "gap_mm", "wrong_side", "within_1", "within_2", "gap_within_1", "gap_within_2")
LAYOUT = Layout(
    csv=(
        "optimizer", "views", "noise", "fps", "sequences", "frames", *ACCURACY, "accel_mm_s2", "peak_kept", "impacts",
        *_MOTION[1:], "ms_per_person_frame", "bridged", "failures",
    ),
    table=("optimizer", *ACCURACY, "accel_mm_s2", *_MOTION, "ms_per_person_frame", "bridged", "failures"),
    block=("noise", "views"),
    title=_title,
)  # fmt: skip


@dataclass(frozen=True)
class SequenceBench:
    """Cells of sequences, every combination of ``views`` and ``noise`` (``SCENARIOS``): ``sequences`` people of
    ``frames`` frames at most, whose shape is known or (``subject_known`` False) solved for from the evidence. ``share``
    of the subjects of ``motion``: settings are chosen on those of training alone.

    Raises:
        InputError: numbers of views, frames or sequences, or names of noise that do not exist.
    """

    views: tuple[int, ...] = (4,)
    noise: tuple[str, ...] = ("standard",)
    sequences: int = 16
    frames: int = 120
    fps: float = 60.0
    keypoints: str = "coco23"
    motion: Path | None = None
    seed: int = 0
    subject_known: bool = True
    share: Share = "held-out"
    cost: CostOptions = field(default_factory=CostOptions)
    body: BodyModel = field(default_factory=open_body)

    layout = LAYOUT

    def __post_init__(self) -> None:
        check_views(self.views)
        keypoint_set(self.keypoints)
        for name in self.noise:
            scenario(name)
        if not (self.views and self.noise):
            raise InputError("nothing to measure: give at least one number of views and one noise")
        if self.sequences < 1 or self.frames < 3:
            raise InputError(
                f"cannot measure on {self.sequences} sequences of {self.frames} frames: give at least one of "
                "three frames"
            )

    def contenders(self, optimizers: Mapping[str, Optimizer]) -> list[Contender]:
        return with_and_without_time(optimizers)

    def cells(self) -> list[Callable[[], "SequenceCell"]]:
        clips = plausible_clips(self.motions(), self.fps, self.frames)
        return [partial(self._draw, clips, noise, views) for noise, views in product(self.noise, self.views)]

    def motions(self) -> Sequence[Motion]:
        """The benchmark's motions; without a folder, made-up movement as smooth as people's, one for each sequence."""
        if self.motion is not None:
            return bench_motions(self.motion, self.seed, self.share).motions
        prior = load_pose_prior()
        # Twice the frames: those in which a drawn elbow bends the wrong way are left out.
        return [sampled_motion(prior, self.seed + index, 2 * self.frames, self.fps) for index in range(self.sequences)]

    def _draw(self, clips: Sequence[Sequence[Motion]], noise: str, views: int) -> "SequenceCell":
        """A cell. Shapes are the true ones if ``subject_known``, otherwise solved from the evidence."""
        blocks, chosen = [], scenario(noise)
        known = [name in self.body.landmark_names for name in keypoint_set(self.keypoints).keypoint_names]
        offset = torch.zeros(sum(known), 3, dtype=torch.float64)
        for index in range(self.sequences):
            body = self.body
            if isinstance(chosen.noise, World):
                body = chosen.noise.body(body, (self.seed, 11, index))
            session = self._session(body, clips, views, chosen.noise, index)
            subject = Subject(session.truth.shape[0], offset) if self.subject_known else None
            blocks.append(sequence_block(body, session, self.cost, chosen.lost_seconds, subject))
        return SequenceCell(self, views, noise, blocks)

    def _session(
        self, body: BodyModel, clips: Sequence[Sequence[Motion]], views: int, noise: Noise, index: int
    ) -> SyntheticSession:
        """The ``index``-th sequence: motions take turns, their clips are drawn. The same seed gives the same people in
        the same motion whatever the noise.
        """
        rng = np.random.default_rng([self.seed, 7, index])
        order = np.random.default_rng([self.seed, 8, index // len(clips)]).permutation(len(clips))
        mine = clips[order[index % len(clips)]]
        clip = mine[rng.integers(len(mine))]
        travel = clip.pelvis[:, [0, 2]]
        reach = float((travel.amax(0) - travel.amin(0)).norm()) / 2 + ROOM
        rig = random_rig([self.seed, 9, index], views, capture_radius=max(CAPTURE_RADIUS, reach))
        return synthesise(body, self.keypoints, clip, rig, noise, self.seed * 10_007 + index)


@dataclass(frozen=True, eq=False)
class SequenceCell:
    """One block a person; its problem has the subject's shape and offsets locked and knows the time step."""

    bench: SequenceBench
    views: int
    noise: str
    blocks: Sequence[Block]

    def measure(self, contender: Contender) -> list[Row]:
        """The means over all frames of all sequences; poses are those of frames that somebody saw."""
        poses: list[PoseErrors] = []
        motions: list[MotionErrors] = []
        statuses: list[FrameStatus] = []
        seconds, fps = 0.0, self.bench.fps
        for block in self.blocks:
            result, solving = block.solve(contender)
            body = block.problem.body
            seconds += solving + block.start_seconds
            params = result.params.to(torch.float64)
            seen = torch.ones(len(block), dtype=torch.bool)
            seen[block.lost] = False
            poses.append(pose_errors(body, block.problem.skin, params[seen], block.truth[seen]))
            covariance = result.joint_covariance.to(torch.float64)
            motions.append(motion_errors(body, params, covariance, block.truth, fps, block.lost))
            statuses.extend(result.status)
        frames = len(statuses)
        row = {
            "optimizer": contender.name,
            "views": self.views,
            "noise": self.noise,
            "fps": fps,
            "sequences": len(self.blocks),
            "frames": frames,
            **accuracy(PoseErrors.concatenate(poses)),
            **movement(motions, stated=not isinstance(contender.optimizer, Filtered)),
            "ms_per_person_frame": 1e3 * (seconds / frames),
            "bridged": statuses.count(FrameStatus.BRIDGED),
            "failures": statuses.count(FrameStatus.FAILED),
        }
        return [row]

    def limits(self) -> list[Row]:
        """None are known."""
        return []


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


def without_frames(evidence: Evidence, lost: slice) -> Evidence:
    """The same evidence as if no view had seen anything in these frames."""
    confidence = evidence.confidence.clone()
    confidence[lost] = 0
    return Evidence(evidence.landmark_names, evidence.pixels, confidence)


def middle(frames: int, lost: int) -> slice:
    """So many frames in the middle of a sequence."""
    begin = (frames - lost) // 2
    return slice(begin, begin + lost)


def sequence_block(
    body: BodyModel, session: SyntheticSession, cost: CostOptions, lost_seconds: float, subject: Subject | None = None
) -> Block:
    """A session as a sequence problem. Its subject is met by the classic optimizer unless given."""
    evidence = evidence_on(body, session.observations.person(0))
    lost = middle(len(session), round(lost_seconds * session.fps))
    evidence = without_frames(evidence, lost)
    if subject is None:
        subject = meet(body, session.rig, evidence, GaussNewton(), cost, SUBJECT_FRAMES, "cpu")
    problem = subject.lock(evidence.problem(body, session.rig, cost, "locked", 1 / session.fps))
    return Block(problem, session.truth, *cold_start(problem, dress=subject.dress), session, lost)
