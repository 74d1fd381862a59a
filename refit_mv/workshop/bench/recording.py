"""The benchmark on a real recording: no truth, but what the keypoints say of every result, how it shakes, and what it
costs.

All get the same person (shape and landmark offsets, met once by the classic optimizer), the same evidence and the same
start; with their time terms, and each frame alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.detect.detector import CropDetector, detector
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.closer_look import Looking, look_closer
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import Person, people_of
from refit_mv.people.reprojection import FEWEST_VIEWS_TO_LEAVE_ONE_OUT, pixel_error
from refit_mv.people.subject import meet
from refit_mv.people.tracks import Track, follow
from refit_mv.profile_choice import with_profile
from refit_mv.session.observations import CONFIDENT, Observations
from refit_mv.session.pictures import pictures_of
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import open_session, with_keypoints
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.block import cold_start, solved
from refit_mv.workshop.bench.columns import Layout, Row
from refit_mv.workshop.bench.errors import accelerations
from refit_mv.workshop.bench.known_joints import KnownJoints, read_known_joints, share_correct
from refit_mv.workshop.bench.left_out import LeftOut, leave_views_out
from refit_mv.workshop.bench.peers import PerFrame, with_and_without_time
from refit_mv.workshop.bench.run import Contender

# Who looks again: the one that is there without fetching weights by hand.
DEFAULT_DETECTOR = "blazepose"
_PIXELS = ("median_px", "mean_px", "p95_px", "worst_frame_px", "accel_m_s2")
_LEFT_OUT = ("left_out_median_px", "left_out_p95_px", "left_out_near", "bones_sd")
CSV = ("optimizer", "frames", *_PIXELS, "ms_per_person_frame", "failures", "people", *_LEFT_OUT, "pcp")


def _title(row: Row) -> str:
    people = "" if row["people"] == 1 else f"{row['people']} people, "
    return f"{people}{row['frames']} frames (errors in px, accel in m/s², ms per person-frame)"


def _layout(*more: str) -> Layout:
    return Layout(
        csv=CSV, table=("optimizer", *_PIXELS, *more, "ms_per_person_frame", "failures"), block=(), title=_title
    )


LAYOUT = _layout()


@dataclass(frozen=True)
class RecordingBench:
    """A session folder as ``fit`` takes it; ``calib`` None looks inside, ``keypoints`` and ``units`` where the files
    leave them open, ``detections`` where ``detect`` has left its keypoints elsewhere. ``subject_frames`` fix a person's
    shape. ``people`` as ``fit`` has them. ``leave_views_out``: predict every view from the others as well. ``truth``
    is a file of known joints (``refit_mv.workshop.bench.known_joints``). ``profile``: "none", "auto", or a detector's
    profile. ``looks``: how often pictures are looked at in all; views that are left out are predicted as the first look
    had them, and had no part in where the others were looked at.
    """

    session: Path
    calib: Path | None = None
    keypoints: str | None = None
    units: str | None = None
    detections: Path | None = None
    subject_frames: int = 64
    people: str = "main"
    leave_views_out: bool = False
    truth: Path | None = None
    profile: str = "none"
    looks: int = 1
    cost: CostOptions = field(default_factory=CostOptions)
    body: BodyModel = field(default_factory=open_body)

    @property
    def layout(self) -> Layout:
        left_out = _LEFT_OUT if self.leave_views_out else ()
        return _layout(*left_out, *(("pcp",) if self.truth is not None else ()))

    def contenders(self, optimizers: Mapping[str, Optimizer]) -> list[Contender]:
        return with_and_without_time(optimizers)

    def cells(self) -> list[Callable[[], "RecordingCell"]]:
        return [self._read]

    def _read(self) -> "RecordingCell":
        """The recording's people.

        Raises:
            InputError: the session, its calibration, the truth or the profile cannot be used.
        """
        truth = None if self.truth is None else read_known_joints(self.truth, self.body)
        session = open_session(self.session, self.calib, self.units)
        if self.detections is not None:
            session = with_keypoints(session, self.detections)
        recording = with_profile(read_recording(session, self.keypoints), self.profile)
        rig, observations = recording.rig, recording.observations
        if self.leave_views_out and len(rig) < FEWEST_VIEWS_TO_LEAVE_ONE_OUT:
            raise InputError(
                f"{self.session} has {len(rig)} views: {FEWEST_VIEWS_TO_LEAVE_ONE_OUT} at least are needed to leave "
                "one out"
            )
        tracks = follow(observations, rig, self.people)
        first = people_of(observations, tracks, self.body)
        if self.leave_views_out and not any(person.evidence.can_leave_one_out for person in first):
            raise InputError(
                f"{self.session}: no frame in which three views hold the same person; nothing can be left out"
            )
        blind: list[tuple[Person, ...]] = []
        if self.looks > 1 and self.leave_views_out:
            # The maps of the other views are read around bodies that the view left out had no part in.
            for hidden in range(len(rig)):
                others = [track.without_view(hidden) for track in tracks]
                blind.append(people_of(self._looked_closer(recording, others), others, self.body))
        if self.looks > 1:
            observations = self._looked_closer(recording, tracks)
        found = []
        for at, (person, before) in enumerate(zip(people_of(observations, tracks, self.body), first, strict=True)):
            evidence = person.evidence
            subject = meet(self.body, rig, evidence, GaussNewton(), self.cost, self.subject_frames, "cpu")
            problem = subject.lock(
                evidence.problem(self.body, rig, self.cost, "locked", time_step=1 / observations.fps)
            )
            start = cold_start(problem, dress=subject.dress)
            unseen = tuple(people[at].evidence for people in blind)
            found.append(Performer(problem, *start, evidence, before.evidence, unseen))
        return RecordingCell(self, tuple(found), rig, observations.fps, observations.frame_numbers, truth)

    def _looked_closer(self, recording: Recording, tracks: Sequence[Track]) -> Observations:
        chosen = detector(DEFAULT_DETECTOR)
        if not isinstance(chosen, CropDetector):
            raise InputError(f"{DEFAULT_DETECTOR} cannot be told where to look: leave out --looks")
        pictures = pictures_of(recording.session, recording.source_numbers)
        looking = Looking(pictures, chosen, GaussNewton(), self.cost, self.subject_frames)
        return look_closer(recording.observations, recording.rig, self.body, tracks, looking, self.looks - 1)


@dataclass(frozen=True, eq=False)
class Performer:
    """One person's evidence over the whole recording, and the start, which took ``start_seconds``. ``first`` is what
    the first look said, ``blind`` what further looks say without each view, where there were any.
    """

    problem: FitProblem
    start: BodyParams
    start_seconds: float
    evidence: Evidence
    first: Evidence
    blind: tuple[Evidence, ...] = ()


@dataclass(frozen=True, eq=False)
class RecordingCell:
    """Everybody in the recording who is measured."""

    bench: RecordingBench
    people: tuple[Performer, ...]
    rig: CameraRig
    fps: float
    frame_numbers: Int[np.ndarray, " frame"]
    truth: KnownJoints | None

    def measure(self, contender: Contender) -> list[Row]:
        """Pixels over all confident keypoints of everybody."""
        first, beginning = self.people[0], slice(0, 8)
        # Once for what is compiled and loaded at the first call.
        contender.optimizer.solve(first.problem.frames(beginning), first.start[beginning])
        pixels, worst, moved, fitted, seconds, failures = [], [], [], [], 0.0, 0
        for each in self.people:
            problem, evidence = each.problem, each.evidence
            result, solving = solved(contender, problem, each.start)
            params = result.params.to(torch.float64)
            error = pixel_error(problem.skin.to(torch.float64, "cpu"), self.rig.stacked(), params, evidence)
            known = (evidence.confidence > CONFIDENT) & torch.isfinite(error)
            by_frame = torch.where(known, error, 0.0).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
            joints = posed_joints(problem.body, params).positions[:, problem.body.smpl_joints]
            pixels.append(error[known])
            worst.append(float(by_frame.max()))
            moved.append(accelerations(joints, self.fps).norm(dim=-1).flatten())
            fitted.append(params)
            seconds += each.start_seconds + solving
            failures += result.status.count(FrameStatus.FAILED)
        every, frames = torch.cat(pixels), len(first.problem)
        row = {
            "optimizer": contender.name,
            "frames": frames,
            "median_px": float(every.median()),
            "mean_px": float(every.mean()),
            # numpy's, because torch.quantile refuses more than 16 million numbers.
            "p95_px": float(np.quantile(every.numpy(), 0.95)),
            "worst_frame_px": max(worst),
            "accel_m_s2": float(torch.cat(moved).mean()),
            "ms_per_person_frame": 1000 * seconds / (frames * len(self.people)),
            "failures": failures,
            "people": len(self.people),
            **self._left_out(contender),
            "pcp": self._correct(fitted),
        }
        return [row]

    def _left_out(self, contender: Contender) -> dict[str, float | None]:
        """Of each frame alone: the frames that are fitted without a view are few and far between."""
        alone = contender.optimizer
        if not self.bench.leave_views_out or not isinstance(alone, PerFrame):
            return dict.fromkeys(_LEFT_OUT)
        parts = [
            leave_views_out(self.bench.body, self.rig, each.evidence, alone, self.bench.cost, each.first, each.blind)
            for each in self.people
        ]
        told = LeftOut.concatenate(parts)
        return {
            "left_out_median_px": float(told.pixels.median()),
            "left_out_p95_px": float(np.quantile(told.pixels.numpy(), 0.95)),
            "left_out_near": float(told.near.double().mean()),
            "bones_sd": float(told.bones.mean()),
        }

    def _correct(self, fitted: list[BodyParams]) -> float | None:
        if self.truth is None:
            return None
        return share_correct(self.bench.body, self.truth, fitted, self.frame_numbers)

    def limits(self) -> list[Row]:
        """None are known."""
        return []
