"""The benchmark on a real recording: no truth, but what the keypoints say of every result, how it shakes, and what it
costs.

All get the same person (shape and landmark offsets, met once by the classic optimizer), the same evidence and the same
start; with their time terms, and each frame alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.geometry.camera import CameraRig
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import people_of
from refit_mv.people.reprojection import pixel_error
from refit_mv.people.subject import meet
from refit_mv.people.tracks import follow
from refit_mv.session.observations import CONFIDENT
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.block import cold_start, solved
from refit_mv.workshop.bench.columns import Layout, Row
from refit_mv.workshop.bench.errors import accelerations
from refit_mv.workshop.bench.peers import with_and_without_time
from refit_mv.workshop.bench.run import Contender

_PIXELS = ("median_px", "mean_px", "p95_px", "worst_frame_px", "accel_m_s2")
LAYOUT = Layout(
    csv=("optimizer", "frames", *_PIXELS, "ms_per_person_frame", "failures"),
    table=("optimizer", *_PIXELS, "ms_per_person_frame", "failures"),
    block=(),
    title=lambda row: f"{row['frames']} frames (errors in px, accel in m/s², ms per person-frame)",
)


@dataclass(frozen=True)
class RecordingBench:
    """A session folder as ``fit`` takes it; ``calib`` None looks inside, ``keypoints`` and ``units`` where the files
    leave them open. ``subject_frames`` fix the person's shape.
    """

    session: Path
    calib: Path | None = None
    keypoints: str | None = None
    units: str | None = None
    subject_frames: int = 64
    cost: CostOptions = field(default_factory=CostOptions)
    body: BodyModel = field(default_factory=open_body)

    layout = LAYOUT

    def contenders(self, optimizers: Mapping[str, Optimizer]) -> list[Contender]:
        return with_and_without_time(optimizers)

    def cells(self) -> list[Callable[[], "RecordingCell"]]:
        return [self._read]

    def _read(self) -> "RecordingCell":
        """The recording's person.

        Raises:
            InputError: the session or its calibration cannot be used.
        """
        recording = read_recording(open_session(self.session, self.calib, self.units), self.keypoints)
        rig, observations = recording.rig, recording.observations
        evidence = people_of(observations, follow(observations, rig, "main"), self.body)[0].evidence
        subject = meet(self.body, rig, evidence, GaussNewton(), self.cost, self.subject_frames, "cpu")
        problem = evidence.problem(self.body, rig, self.cost, "locked", time_step=1 / observations.fps)
        problem = subject.lock(problem)
        return RecordingCell(problem, *cold_start(problem, dress=subject.dress), rig, evidence, observations.fps)


@dataclass(frozen=True, eq=False)
class RecordingCell:
    """One person's evidence over the whole recording, and the start, which took ``start_seconds``."""

    problem: FitProblem
    start: BodyParams
    start_seconds: float
    rig: CameraRig
    evidence: Evidence
    fps: float

    def measure(self, contender: Contender) -> list[Row]:
        """Pixels over all confident keypoints."""
        problem, beginning = self.problem, slice(0, 8)
        # Once for what is compiled and loaded at the first call.
        contender.optimizer.solve(problem.frames(beginning), self.start[beginning])
        result, seconds = solved(contender, problem, self.start)
        params = result.params.to(torch.float64)
        error = pixel_error(problem.skin.to(torch.float64, "cpu"), self.rig.stacked(), params, self.evidence)
        known = (self.evidence.confidence > CONFIDENT) & torch.isfinite(error)
        by_frame = torch.where(known, error, 0.0).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
        joints = posed_joints(problem.body, params).positions[:, problem.body.smpl_joints]
        pixels = error[known]
        row = {
            "optimizer": contender.name,
            "frames": len(problem),
            "median_px": float(pixels.median()),
            "mean_px": float(pixels.mean()),
            # numpy's, because torch.quantile refuses more than 16 million numbers.
            "p95_px": float(np.quantile(pixels.numpy(), 0.95)),
            "worst_frame_px": float(by_frame.max()),
            "accel_m_s2": float(accelerations(joints, self.fps).norm(dim=-1).mean()),
            "ms_per_person_frame": 1000 * (self.start_seconds + seconds) / len(problem),
            "failures": result.status.count(FrameStatus.FAILED),
        }
        return [row]

    def limits(self) -> list[Row]:
        """None are known."""
        return []
