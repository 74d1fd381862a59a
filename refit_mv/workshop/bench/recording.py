"""Optimizers on a real recording: no truth, but what the keypoints say of every result, how it shakes, and what it
costs.

All get the same person (shape and landmark offsets, met once by the classic optimizer), the same evidence and the same
start; with their time terms, and each frame alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.geometry.camera import StackedRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import people_of
from refit_mv.people.reprojection import pixel_error
from refit_mv.people.subject import meet
from refit_mv.people.tracks import follow
from refit_mv.progress import Progress, quiet
from refit_mv.session.observations import CONFIDENT
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.solve.gauss_newton import GaussNewton
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.csv_file import csv_of, write_csv_text
from refit_mv.workshop.bench.sequence_errors import accelerations
from refit_mv.workshop.bench.sequence_run import variants
from refit_mv.workshop.bench.table import aligned

_HEAD = ("optimizer", "median", "mean", "p95", "worst frame", "accel", "ms", "failed")


@dataclass(frozen=True)
class RecordingRequest:
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


@dataclass(frozen=True)
class RecordingRow:
    """An optimizer on a recording; the fields are the CSV's columns. Pixels over all confident keypoints;
    ``worst_frame_px`` is the largest mean over a frame's. ``accel_m_s2``: the joints' own mean acceleration, jitter and
    motion together.
    """

    optimizer: str
    frames: int
    median_px: float
    mean_px: float
    p95_px: float
    worst_frame_px: float
    accel_m_s2: float
    ms_per_person_frame: float
    failures: int


COLUMNS = tuple(column.name for column in fields(RecordingRow))


def run_recording_bench(
    request: RecordingRequest, optimizers: Mapping[str, Optimizer], progress: Progress = quiet
) -> tuple[RecordingRow, ...]:
    """Fit the recording's person with every optimizer.

    Raises:
        InputError: the session or its calibration cannot be used.
    """
    recording = read_recording(open_session(request.session, request.calib, request.units), request.keypoints)
    rig, observations = recording.rig, recording.observations
    evidence = people_of(observations, follow(observations, rig), request.body)[0].evidence
    subject = meet(request.body, rig, evidence, GaussNewton(), request.cost, request.subject_frames, "cpu")
    problem = evidence.problem(request.body, rig, request.cost, "locked", time_step=1 / observations.fps)
    problem = subject.lock(problem)
    began = time.perf_counter()
    start = subject.dress(initialise(problem))
    start_seconds = time.perf_counter() - began
    rows = []
    measured = variants(optimizers)
    for number, (name, optimizer) in enumerate(measured.items()):
        progress("measuring", number, len(measured))
        # Once for what is compiled and loaded at the first call.
        optimizer.solve(problem.frames(slice(0, 8)), start[slice(0, 8)])
        began = time.perf_counter()
        result = optimizer.solve(problem, start)
        seconds = start_seconds + time.perf_counter() - began
        rows.append(_row(name, problem, result, rig.stacked(), evidence, observations.fps, seconds))
    progress("measuring", len(measured), len(measured))
    return tuple(rows)


def _row(
    name: str, problem: FitProblem, result: FitResult, rig: StackedRig, evidence: Evidence, fps: float, seconds: float
) -> RecordingRow:
    params = result.params.to(torch.float64)
    error = pixel_error(problem.skin.to(torch.float64, "cpu"), rig, params, evidence)
    known = (evidence.confidence > CONFIDENT) & torch.isfinite(error)
    by_frame = torch.where(known, error, 0.0).sum((1, 2)) / known.sum((1, 2)).clamp_min(1)
    joints = posed_joints(problem.body, params).positions[:, problem.body.smpl_joints]
    pixels = error[known]
    return RecordingRow(
        optimizer=name,
        frames=len(problem),
        median_px=float(pixels.median()),
        mean_px=float(pixels.mean()),
        # numpy's, because torch.quantile refuses more than 16 million numbers.
        p95_px=float(np.quantile(pixels.numpy(), 0.95)),
        worst_frame_px=float(by_frame.max()),
        accel_m_s2=float(accelerations(joints, fps).norm(dim=-1).mean()),
        ms_per_person_frame=1000 * seconds / len(problem),
        failures=result.status.count(FrameStatus.FAILED),
    )


def recording_table(rows: Sequence[RecordingRow]) -> str:
    """Errors in pixels, accelerations in m/s², milliseconds per person-frame, cold start included."""
    lines = [
        (
            row.optimizer,
            *(f"{value:.1f}" for value in (row.median_px, row.mean_px, row.p95_px, row.worst_frame_px, row.accel_m_s2)),
            f"{row.ms_per_person_frame:.2f}",
            str(row.failures),
        )
        for row in rows
    ]
    return aligned([_HEAD, *lines], names=1) + "\n"


def write_recording_csv(rows: Sequence[RecordingRow], path: Path) -> None:
    """All rows under the fixed columns, all or nothing."""
    write_csv_text(csv_of(COLUMNS, rows), path)
