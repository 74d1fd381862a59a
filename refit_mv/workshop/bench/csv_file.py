"""Tables as CSV under fixed columns: programs read them."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from refit_mv.files import complete_or_absent


def csv_of(columns: Sequence[str], rows: Sequence[object]) -> str:
    """One line a row, from its fields of the columns' names; empty where a measure means nothing (None)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in columns])
    return text.getvalue()


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def write_csv_text(text: str, path: Path) -> None:
    """All or nothing."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
