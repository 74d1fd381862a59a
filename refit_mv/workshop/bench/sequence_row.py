"""One line of the table of sequences, and the table as text and CSV."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refit_mv.workshop.bench.csv_file import csv_of, write_csv_text
from refit_mv.workshop.bench.pose_errors import PoseErrors
from refit_mv.workshop.bench.sequence_errors import SequenceErrors
from refit_mv.workshop.bench.table import aligned

_HEAD = (
    "optimizer", "mpjpe", "rel", "pa", "pve", "rot", "p95", "accel", "peaks", "in gap", "wrong side", "1σ", "2σ",
    "gap 1σ", "gap 2σ", "ms", "bridged", "failed",
)  # fmt: skip


@dataclass(frozen=True)
class SequenceRow:
    """An optimizer in a cell of sequences; the fields are the CSV's columns. Errors in millimetres and degrees.

    ``accel_mm_s2`` is the mean error of the joints' accelerations. ``peak_kept`` the median share of an impact's peak
    acceleration that is left. ``gap_mm`` the mean joint error where no view saw anything. ``wrong_side`` a share of
    joints; ``within_*`` shares of joint errors per axis within one and two stated standard deviations, ideally 0.68 and
    0.95. None: nothing of the kind in this cell.
    """

    optimizer: str
    views: int
    noise: str
    fps: float
    sequences: int
    frames: int
    mpjpe_mm: float
    mpjpe_rel_mm: float
    pa_mpjpe_mm: float
    pve_mm: float
    rot_deg: float
    p95_mm: float
    accel_mm_s2: float
    peak_kept: float | None
    impacts: int
    gap_mm: float | None
    wrong_side: float
    within_1: float | None
    within_2: float | None
    gap_within_1: float | None
    gap_within_2: float | None
    ms_per_person_frame: float | None
    bridged: int
    failures: int


COLUMNS = tuple(field.name for field in fields(SequenceRow))


def summarise_sequences(
    optimizer: str,
    views: int,
    noise: str,
    fps: float,
    poses: PoseErrors,
    motions: Sequence[SequenceErrors],
    seconds: float | None,
    bridged: int,
    failures: int,
    stated: bool = True,
) -> SequenceRow:
    """The means over all frames of all sequences; ``poses`` are those of seen frames. ``seconds`` per frame.
    ``stated``: whether the optimizer states uncertainties.
    """

    def mean(tensors: list[Tensor], factor: float = 1.0) -> float | None:
        values = torch.cat([tensor.flatten().double() for tensor in tensors])
        return float(values.mean()) * factor if len(values) else None

    def within(attribute: str, place: int) -> float | None:
        return mean([getattr(motion, attribute)[..., place] for motion in motions]) if stated else None

    kept = torch.cat([motion.kept for motion in motions])
    acceleration = mean([motion.acceleration for motion in motions], 1e3)
    wrong = mean([motion.wrong_side for motion in motions])
    return SequenceRow(
        optimizer=optimizer,
        views=views,
        noise=noise,
        fps=fps,
        sequences=len(motions),
        frames=len(poses) + sum(len(motion.lost) for motion in motions),
        mpjpe_mm=float(poses.joint.mean()) * 1e3,
        mpjpe_rel_mm=float(poses.relative.mean()) * 1e3,
        pa_mpjpe_mm=float(poses.aligned.mean()) * 1e3,
        pve_mm=float(poses.vertex.mean()) * 1e3,
        rot_deg=float(poses.turn.mean().rad2deg()),
        p95_mm=float(np.quantile(poses.joint.numpy(), 0.95)) * 1e3,
        accel_mm_s2=acceleration or 0.0,
        peak_kept=float(kept.median()) if len(kept) else None,
        impacts=len(kept),
        gap_mm=mean([motion.lost for motion in motions], 1e3),
        wrong_side=wrong or 0.0,
        within_1=within("within", 0),
        within_2=within("within", 1),
        gap_within_1=within("lost_within", 0),
        gap_within_2=within("lost_within", 1),
        ms_per_person_frame=None if seconds is None else seconds * 1e3,
        bridged=bridged,
        failures=failures,
    )


def sequence_table(rows: Sequence[SequenceRow]) -> str:
    """One block a cell: errors in mm and degrees, accelerations in m/s², shares in percent."""
    cells: dict[tuple[str, int], list[SequenceRow]] = {}
    for row in rows:
        cells.setdefault((row.noise, row.views), []).append(row)
    parts = []
    for (noise, views), members in cells.items():
        first = members[0]
        plural = "view" if views == 1 else "views"
        parts.append(
            f"{noise} noise, {views} {plural}, {first.sequences} sequences of {first.frames} frames in all at "
            f"{first.fps:g} fps,"
            f" {first.impacts} impacts (errors in mm, rot in degrees, accel in m/s², ms per person-frame)"
        )
        parts.append(aligned([_HEAD, *(_line(row) for row in members)], names=1))
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _line(row: SequenceRow) -> tuple[str, ...]:
    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    def percent(value: float | None, digits: int = 0) -> str:
        return "-" if value is None else f"{100 * value:.{digits}f}%"

    return (
        row.optimizer,
        *(
            number(value)
            for value in (row.mpjpe_mm, row.mpjpe_rel_mm, row.pa_mpjpe_mm, row.pve_mm, row.rot_deg, row.p95_mm)
        ),
        number(row.accel_mm_s2 * 1e-3, 1),
        percent(row.peak_kept),
        number(row.gap_mm, 1),
        percent(row.wrong_side, 2),
        *(percent(value) for value in (row.within_1, row.within_2, row.gap_within_1, row.gap_within_2)),
        number(row.ms_per_person_frame),
        str(row.bridged),
        str(row.failures),
    )


def write_sequence_csv(rows: Sequence[SequenceRow], path: Path) -> None:
    """All rows under the fixed columns, all or nothing."""
    write_csv_text(csv_of(COLUMNS, rows), path)
