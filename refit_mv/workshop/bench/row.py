"""One line of the benchmark's table, and the table as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refit_mv.workshop.bench.csv_file import csv_of, write_csv_text
from refit_mv.workshop.bench.pose_errors import PoseErrors

# The name under which the limit of the evidence stands among the optimizers.
BOUND = "bound"
# Fixed: programs read them.
COLUMNS = (
    "optimizer", "start", "views", "noise", "frames", "mpjpe_mm", "mpjpe_rel_mm", "pa_mpjpe_mm", "pve_mm", "rot_deg",
    "p95_mm",
    "accel_mm_s2", "ms_per_person_frame", "failures",
)  # fmt: skip


@dataclass(frozen=True)
class BenchRow:
    """An optimizer in a cell. The first fields are the CSV's columns, the last five further figures of the printed
    table.

    ``accel_mm_s2`` and ``ms_per_person_frame`` are None where they mean nothing (independent frames; the bound).
    ``start_ms`` is the part of the time that the cold start takes, ``live_ms`` the time of a frame that comes alone.
    ``*_share`` are shares of frames whose mean joint error, mean landmark error, and largest landmark error stay under
    1 mm.
    """

    optimizer: str
    start: str
    views: int
    noise: str
    frames: int
    mpjpe_mm: float
    mpjpe_rel_mm: float
    pa_mpjpe_mm: float
    pve_mm: float
    rot_deg: float
    p95_mm: float
    accel_mm_s2: float | None
    ms_per_person_frame: float | None
    failures: int
    start_ms: float | None
    joint_share: float
    landmark_share: float
    every_landmark_share: float
    live_ms: float | None = None


def summarise(
    optimizer: str,
    start: str,
    views: int,
    noise: str,
    errors: PoseErrors,
    failures: int,
    seconds: float | None,
    start_seconds: float | None,
) -> BenchRow:
    """The means over all frames. ``seconds`` per frame, ``start_seconds`` being the share in it that the start took."""
    millimetre = 1e-3
    return BenchRow(
        optimizer=optimizer,
        start=start,
        views=views,
        noise=noise,
        frames=len(errors),
        mpjpe_mm=float(errors.joint.mean()) * 1e3,
        mpjpe_rel_mm=float(errors.relative.mean()) * 1e3,
        pa_mpjpe_mm=float(errors.aligned.mean()) * 1e3,
        pve_mm=float(errors.vertex.mean()) * 1e3,
        rot_deg=float(errors.turn.mean().rad2deg()),
        # numpy's, because torch.quantile refuses more than 16 million numbers.
        p95_mm=float(np.quantile(errors.joint.numpy(), 0.95)) * 1e3,
        accel_mm_s2=None,
        ms_per_person_frame=None if seconds is None else seconds * 1e3,
        failures=failures,
        start_ms=None if start_seconds is None else start_seconds * 1e3,
        joint_share=float((errors.joint.mean(1) < millimetre).double().mean()),
        landmark_share=float((errors.landmark.mean(1) < millimetre).double().mean()),
        every_landmark_share=float((errors.landmark.amax(1) < millimetre).double().mean()),
    )


def csv_text(rows: Sequence[BenchRow]) -> str:
    """The optimizers' rows under the fixed columns; the bound, which is no optimizer, is left to the printed table and
    the page.
    """
    return csv_of(COLUMNS, [row for row in rows if row.optimizer != BOUND])


def write_csv(rows: Sequence[BenchRow], path: Path) -> None:
    """Write :func:`csv_text` to a file, all or nothing."""
    write_csv_text(csv_text(rows), path)
