"""The quality report of a fit: a summary for machines and one HTML page for people."""

import json
from collections.abc import Mapping
from pathlib import Path

from refit_mv.files import complete_or_absent
from refit_mv.report import measures
from refit_mv.report.page import page
from refit_mv.report.quality import QualityReport

__all__ = ["QualityReport", "summary", "write_report", "write_summary"]


def summary(report: QualityReport) -> dict[str, object]:
    """The figures that scripts ask for, ready for strict JSON: what cannot be computed is None.

    ``per_view`` maps a view to ``median_px``, ``p95_px``, ``keypoints`` (how many confident ones) and ``left_out_px``;
    ``status`` counts frames.
    """
    error = measures.overall(report)
    return {
        "frames": len(report),
        "views": len(report.view_names),
        "people": int(report.people),
        "median_reprojection_px": error.median_px,
        "p95_reprojection_px": error.p95_px,
        "per_view": {
            row.name: {
                "median_px": row.error.median_px,
                "p95_px": row.error.p95_px,
                "keypoints": row.error.count,
                "left_out_px": row.left_out_px,
            }
            for row in measures.view_figures(report)
        },
        "status": measures.status_counts(report),
        "seconds": measures.finite(report.seconds),
        "optimizer": report.optimizer,
        "versions": dict(report.versions),
    }


def write_summary(path: Path, report: QualityReport) -> None:
    """Write :func:`summary` as JSON (RFC 8259: no NaN), whole or not at all."""
    _write_whole(path, json.dumps(summary(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_report(path: Path, report: QualityReport, pictures: Mapping[str, bytes] | None = None) -> None:
    """Write the report as one HTML file that needs nothing else: no network, no other file.

    ``pictures`` are PNG or JPEG bytes: ``"rig"`` for the cameras in space, and ``FrameToCheck.picture_key`` for frames
    to look at.

    Raises:
        InputError: the file cannot be written.
        ValueError: a picture that is neither PNG nor JPEG.
    """
    _write_whole(path, page(report, pictures or {}))


def _write_whole(path: Path, text: str) -> None:
    with complete_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
