"""The report on a calibration."""

from pathlib import Path

from refit_mv.files import complete_or_absent
from refit_mv.rigs.board_calibration import BoardCalibration


def write_calibration_page(path: Path, found: BoardCalibration, title: str) -> None:
    """Write the report as one HTML file that needs nothing else."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(f"<!doctype html><title>{title}</title>", encoding="utf-8")
