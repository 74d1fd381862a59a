"""Measured tables: from the CSV files beside this one into the pages.

``python docs/tables.py`` (``make tables``) writes every table of ``docs/tables/NAME.csv`` between the two markers
``<!-- table: NAME -->`` and ``<!-- end -->`` of a page. The first lines of a CSV file say where its rows come from:
those that start with ``# $`` are commands and stand above the table on the page as well.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
MARKED = re.compile(r"(?<=<!-- table: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
COMMAND = "# $ "


class Number(float):
    """A figure that also prints as percent (``.0%``: 75 %) and in thousands (``.1k``: 7500 as 7.5)."""

    def __format__(self, spec: str) -> str:
        if spec.endswith("%"):
            return f"{100 * self:{spec[:-1]}f} %"
        return f"{self / 1000:{spec[:-1]}f}" if spec.endswith("k") else super().__format__(spec)


class Word(str):
    """Text, or nothing at all where a measure means nothing: no format is asked of it."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return str(self)


# A number or a word a column.
Row = dict[str, Any]
Lines = Iterator[tuple[str, ...]]


def read(path: Path) -> tuple[list[str], list[Row]]:
    """The commands that a CSV file names, and its rows."""
    lines = path.read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix(COMMAND) for line in lines if line.startswith(COMMAND)]
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return commands, [{name: _value(text) for name, text in row.items()} for row in rows]


def _value(text: str) -> Number | Word:
    try:
        return Number(text)
    except ValueError:
        return Word(text)


def listed(columns: dict[str, str]) -> Callable[[list[Row]], Lines]:
    """A line per row: headings with templates of what stands below them."""

    def lines(rows: list[Row]) -> Lines:
        yield tuple(columns)
        for row in rows:
            cells = (template.format(**row) for template in columns.values())
            # A template of which every part is empty leaves its punctuation.
            yield tuple(cell if re.search(r"\w", cell) else "" for cell in cells)

    return lines


def together(rows: Iterable[Row], keys: tuple[str, ...], across: str) -> Iterator[dict[str, Row]]:
    """Rows that agree in ``keys``, by what distinguishes them."""
    groups: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), {})[f"{row[across]:g}"] = row
    yield from groups.values()


def frames(rows: list[Row]) -> Lines:
    """Optimizers side by side, one view relative to the pelvis: from there distance is a guess."""
    yield (
        *("noise", "views", "`refit`", "without layers", "`gauss-newton`", "bound", "ratio"),
        *("ratio of 95th percentiles", "joint rotation error, refit / classic"),
    )
    for of in together(rows, ("noise", "views"), "optimizer"):
        learned, classic = of["refit"], of["gauss-newton"]
        error = "mpjpe_rel_mm" if learned["views"] == 1 else "mpjpe_mm"
        yield (
            *(f"{learned['noise']}", f"{learned['views']:.0f}"),
            *(f"{of[name][error]:.1f}" for name in ("refit", "refit-no-layers", "gauss-newton", "bound")),
            *(f"{learned[column] / classic[column]:.2f}" for column in (error, "p95_mm")),
            f"{learned['rot_deg']:.2f}° / {classic['rot_deg']:.2f}°",
        )


def starts(rows: list[Row]) -> Lines:
    """What the cold start loses against the truth."""
    yield "optimizer", "views", "from the cold start, mm", "from the truth, mm", "ratio"
    for of in together(rows, ("optimizer", "views"), "start"):
        first, *errors = of["cold"], *(of[start]["mpjpe_mm"] for start in ("cold", "truth"))
        figures = (*(f"{error:.2f}" for error in errors), f"{errors[0] / errors[1]:.3f}")
        yield f"{first['optimizer']}", f"{first['views']:.0f}", *figures


def peer(rows: list[Row]) -> Lines:
    """Two optimizers, mean joint errors."""
    yield "views", "`smplfitter`, mm", "`gauss-newton`, mm"
    for of in together(rows, ("views",), "optimizer"):
        yield (
            f"{of['smplfitter']['views']:.0f}",
            *(f"{of[name]['mpjpe_mm']:.1f}" for name in ("smplfitter", "gauss-newton")),
        )


def people(rows: list[Row]) -> Lines:
    """All seeds of a scene in one line."""
    yield (
        *("scene", "IDF1, mean / worst", "MOTA", "longest ghost, s", "switches", "transfers"),
        *("precision", "recall", "points foreign"),
    )
    for scene in dict.fromkeys(row["scene"] for row in rows):
        mine = [row for row in rows if row["scene"] == scene]
        mean = {name: Number(sum(row[name] for row in mine) / len(mine)) for name in mine[0] if name != "scene"}
        yield (
            f"`{scene}`",
            f"{mean['idf1']:.4f} / {min(row['idf1'] for row in mine):.4f}",
            f"{mean['mota']:.4f}",
            f"{max(row['ghost_s'] for row in mine):.2f}",
            *(f"{sum(row[name] for row in mine):.0f}" for name in ("switches", "transfers")),
            *(f"{mean[name]:.4f}" for name in ("precision", "recall")),
            f"{mean['foreign']:.2%}",
        )


TABLES: dict[str, Callable[[list[Row]], Lines]] = {
    "frames": frames,
    "exact": listed(
        {
            "evidence": "{evidence}",
            "optimizer": "{optimizer}",
            "joints, mm": "{mpjpe_mm:.2f}",
            "frames with joints under 1 mm": "{joint_share:.0%}",
            "frames with landmarks under 1 mm (mean)": "{landmark_share:.0%}",
            "frames with every landmark within 1 mm": "{every_landmark_share:.0%}",
        }
    ),
    "starts": starts,
    "people": people,
    "time": listed(
        {
            "optimizer": "`{optimizer}`",
            "ms per person-frame": "{ms_per_person_frame:g}",
            "of it the cold start": "{start_ms:g}",
            "one frame alone": "{live_ms:g}",
        }
    ),
    "sequences": listed(
        {
            "noise": "{noise}",
            "views": "{views:.0f}",
            "optimizer": "{optimizer}",
            "joints, mm": "{mpjpe_mm:.1f}",
            "p95, mm": "{p95_mm:.1f}",
            "acceleration error, m/s²": "{accel_mm_s2:.1k}",
            "peaks kept": "{peak_kept:.0%}",
            "in the gap, mm": "{gap_mm:.1f}",
            "wrong side": "{wrong_side:.2%}",
            "1σ / 2σ": "{within_1:.0%} / {within_2:.0%}",
            "in the gap 1σ / 2σ": "{gap_within_1:.0%} / {gap_within_2:.0%}",
        }
    ),
    "ablations": listed(
        {
            "question": "{question}",
            "variant": "{variant}",
            "standard, 2 views": "{standard 2:.1f}",
            "standard, 4 views": "{standard 4:.1f}",
            "strong, 2 views": "{strong 2:.1f}",
            "strong, 4 views": "{strong 4:.1f}",
            "ratio": "{ratio:.3f}",
        }
    ),
    "recording": listed(
        {
            "optimizer": "{optimizer}",
            "median px": "{median_px:.1f}",
            "mean px": "{mean_px:.1f}",
            "95th percentile, px": "{p95_px:.1f}",
            "worst frame, px": "{worst_frame_px:.1f}",
            "acceleration, m/s²": "{accel_m_s2:.1f}",
        }
    ),
    "peer": peer,
    "image_speed": listed(
        {
            "backbone": "`{backbone}`, {crop_size:g} px",
            "views": "{views:.0f}",
            "seconds per frame": "{seconds_per_frame:g}",
            "processor time, s": "{processor_seconds:g}",
            "share of the backbone": "{backbone_share:.0%}",
        }
    ),
    "image_small": listed(
        {
            "": "{what}",
            "MPJPE": "{mpjpe_mm:.0f}",
            "PA-MPJPE": "{pa_mpjpe_mm:.0f}",
            "PVE": "{pve_mm:.0f}",
            "joints in place": "{in_place_mm:.0f}",
        }
    ),
}


def markdown(name: str) -> str:
    """A table as its page holds it, with the commands that printed it."""
    commands, rows = read(DOCS / "tables" / f"{name}.csv")
    head, *lines = ("|" + "".join(f" {cell} |" if cell else " |" for cell in cells) for cells in TABLES[name](rows))
    rule = "|" + "---|" * (head.count("|") - 1)
    block = ["```", *commands, "```", ""] if commands else []
    return "\n".join([*block, head, rule, *lines]) + "\n"


def with_tables(page: str) -> str:
    """A page's text with every marked table written anew."""
    return MARKED.sub(lambda found: f"{found[1]}{found[2]}\n{markdown(found[1])}\n", page)


def main() -> None:
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = with_tables(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"written: {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
