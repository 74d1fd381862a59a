"""The quality report of a fit: a summary for machines and one HTML page for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from refit_mv.files import complete_or_absent
from refit_mv.people.stature import share_as_unusual
from refit_mv.report import measures
from refit_mv.report.page import page
from refit_mv.report.quality import QualityReport
from refit_mv.report.scene import Scene
from refit_mv.report.verdict import overall_verdict, verdict

__all__ = ["QualityReport", "summary", "write_report", "write_summary"]


def summary(reports: Sequence[QualityReport]) -> dict[str, object]:
    """The figures that scripts ask for, ready for strict JSON: what cannot be computed is None.

    ``verdict`` holds the ``level`` and the ``headline`` of the report, ``findings`` each of its findings with a ``key``
    that stays the same whatever the sentence says. Figures are over all people; ``status`` counts their frames.
    ``per_view`` maps a view to ``median_px``, ``p95_px``, ``keypoints`` (how many confident ones) and ``left_out_px``
    (the people's median); ``per_person`` has one entry each: in ``hard`` the frames, as the recording numbers them, in
    which it was hard to tell who they are. ``edits`` are what was corrected by hand.
    """
    first, error, judgement = reports[0], measures.overall(reports), overall_verdict(reports)
    return {
        "verdict": {"level": judgement.level, "headline": judgement.headline},
        "findings": [asdict(finding) for finding in judgement.findings],
        "frames": len(first),
        "views": len(first.view_names),
        "people": len(reports),
        "median_reprojection_px": error.median_px,
        "p95_reprojection_px": error.p95_px,
        "per_view": {
            name: {
                "median_px": error.median_px,
                "p95_px": error.p95_px,
                "keypoints": error.count,
                "left_out_px": measures.left_out(reports, name),
            }
            for name, error in measures.view_errors(reports).items()
        },
        "per_person": [_person(report) for report in reports],
        "edits": list(first.edits),
        "status": measures.status_counts(reports),
        "seconds": measures.finite(first.seconds),
        "optimizer": first.optimizer,
        "versions": dict(first.versions),
    }


def _person(report: QualityReport) -> dict[str, object]:
    error, height = measures.overall([report]), measures.finite(report.person_height_m)
    count, numbers = measures.views_seeing(report), report.frame_numbers
    seen = np.flatnonzero(count)
    return {
        "id": report.person,
        "name": report.name,
        "median_reprojection_px": error.median_px,
        "p95_reprojection_px": error.p95_px,
        "height_m": measures.finite(report.person_height_m),
        "height_share": None if height is None else share_as_unusual(height),
        "status": measures.status_counts([report]),
        "frames_seen": len(seen),
        "first_frame": int(numbers[seen[0]]) if len(seen) else None,
        "last_frame": int(numbers[seen[-1]]) if len(seen) else None,
        "views_seen": {str(views): int((count == views).sum()) for views in range(len(report.view_names) + 1)},
        "findings": [asdict(finding) for finding in verdict(report).findings],
        "hard": [
            {**asdict(moment), "first": int(numbers[moment.first]), "last": int(numbers[moment.last])}
            for moment in report.hard
        ],
    }


def write_summary(path: Path, reports: Sequence[QualityReport]) -> dict[str, object]:
    """Write :func:`summary` as JSON (RFC 8259: no NaN), whole or not at all, and give it back."""
    told = summary(reports)
    _write_whole(path, json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return told


def write_report(
    path: Path,
    reports: Sequence[QualityReport],
    pictures: Mapping[str, bytes] | None = None,
    scene: Scene | None = None,
) -> None:
    """Write the report on all people of a take as one HTML file that needs nothing else: no network, no other file.

    ``pictures`` are PNG or JPEG bytes: ``"rig"`` for the cameras in space, and ``FrameToCheck.picture_key`` for frames
    to look at. ``scene`` is shown in space.

    Raises:
        InputError: the file cannot be written.
        ValueError: a picture that is neither PNG nor JPEG.
    """
    _write_whole(path, page(reports, pictures or {}, scene))


def _write_whole(path: Path, text: str) -> None:
    with complete_or_absent(path) as temporary:
        # Names of folders may hold bytes that are no text: they are shown.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
