"""A benchmark's rows and all that is written of them: what each value is called and how it reads stands here alone."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refit_mv.files import complete_or_absent

# A line of a benchmark: values by the names of ``COLUMNS``; None where a measure means nothing.
Row = Mapping[str, Any]
# The name under which the limit of the evidence stands among the optimizers.
BOUND = "bound"
ACCURACY = ("mpjpe_mm", "mpjpe_rel_mm", "pa_mpjpe_mm", "pve_mm", "rot_deg", "p95_mm")


@dataclass(frozen=True)
class Column:
    """A value's heading in tables, and how it is written there; names stand to the left."""

    heading: str
    text: Callable[[Any], str] = str
    is_name: bool = False

    def of(self, value: Any, nothing: str = "-") -> str:
        return nothing if value is None else self.text(value)


def _decimals(digits: int, factor: float = 1.0) -> Callable[[float], str]:
    return lambda value: f"{factor * value:.{digits}f}"


def _percent(digits: int) -> Callable[[float], str]:
    return lambda value: f"{100 * value:.{digits}f}%"


# ``ghost_s``: the longest time that a track was on nobody. ``told``: how many transfers lie at a moment in which it was
# hard to tell who is who; ``hard_share``: share of frames in one. ``one_view``: share of people found whom one view
# alone shows. ``foreign``: share of the points given to people that are
# on somebody else. ``pcp``: share of arms' and legs' parts both of whose ends are nearer than half the part's length;
# ``found``: share of people within 100 mm; ``overlap_mm``: the deepest that one is in another. ``known_mm``,
# ``known_pcp``: the same if it were known who is who.
# Errors in millimetres, degrees and pixels. ``accel_mm_s2``: mean error of the joints' accelerations; ``accel_m_s2``:
# their own mean acceleration, jitter and motion together. ``peak_kept``: the median share of an impact's peak
# acceleration that is left. ``gap_mm``: mean joint error where no view saw anything. ``wrong_side``: a share of joints.
# ``within_*``: shares of joint errors per axis within one and two stated standard deviations, ideally 0.68 and 0.95.
# ``worst_frame_px``: the largest mean over a frame's keypoints. ``left_out_*``: of views predicted by a fit without
# them; ``left_out_near``: share of their points within a tenth of the torso; ``bones_sd``: how much bones change from
# frame to frame, each with a shape of its own. ``start_ms``: the part of the time that the cold start
# takes; ``live_ms``: the time of a frame that comes alone. ``*_share``: shares of frames whose mean joint error, mean
# landmark error, and largest landmark error stay under 1 mm. Of cameras: ``focal_pct`` is in percent of the focal
# length, ``*_in`` are shares of errors within one stated standard deviation, ``solve_s`` is the seconds of a session.
COLUMNS = {
    "scene": Column("scene", is_name=True),
    "seed": Column("seed"),
    "people": Column("people"),
    "tracks": Column("tracks"),
    "idf1": Column("IDF1", _decimals(4)),
    "mota": Column("MOTA", _decimals(4)),
    "ghost_s": Column("ghost", _decimals(2)),
    "switches": Column("switches"),
    "transfers": Column("transfers"),
    "told": Column("told"),
    "hard_share": Column("hard", _percent(1)),
    "precision": Column("precision", _decimals(4)),
    "one_view": Column("one view", _percent(1)),
    "recall": Column("recall", _decimals(4)),
    "foreign": Column("foreign", _percent(2)),
    "ms_per_frame": Column("ms", _decimals(2)),
    "optimizer": Column("optimizer", is_name=True),
    "start": Column("start", is_name=True),
    "noise": Column("noise", is_name=True),
    "views": Column("views"),
    "fps": Column("fps"),
    "sequences": Column("sequences"),
    "frames": Column("frames"),
    "mpjpe_mm": Column("mpjpe", _decimals(2)),
    "known_mm": Column("known", _decimals(2)),
    "pcp": Column("PCP", _percent(2)),
    "known_pcp": Column("known", _percent(2)),
    "found": Column("found", _percent(1)),
    "overlap_mm": Column("overlap mm", _decimals(1)),
    "mpjpe_rel_mm": Column("rel", _decimals(2)),
    "pa_mpjpe_mm": Column("pa", _decimals(2)),
    "pve_mm": Column("pve", _decimals(2)),
    "rot_deg": Column("rot", _decimals(2)),
    "p95_mm": Column("p95", _decimals(2)),
    "median_px": Column("median", _decimals(1)),
    "mean_px": Column("mean", _decimals(1)),
    "p95_px": Column("p95", _decimals(1)),
    "worst_frame_px": Column("worst frame", _decimals(1)),
    "left_out_median_px": Column("left out", _decimals(2)),
    "left_out_p95_px": Column("its p95", _decimals(1)),
    "left_out_near": Column("near", _percent(1)),
    "bones_sd": Column("bones", _percent(2)),
    "accel_mm_s2": Column("accel", _decimals(1, 1e-3)),
    "accel_m_s2": Column("accel", _decimals(1)),
    "peak_kept": Column("peaks", _percent(0)),
    "impacts": Column("impacts"),
    "gap_mm": Column("in gap", _decimals(1)),
    "wrong_side": Column("wrong side", _percent(2)),
    "within_1": Column("1σ", _percent(0)),
    "within_2": Column("2σ", _percent(0)),
    "gap_within_1": Column("gap 1σ", _percent(0)),
    "gap_within_2": Column("gap 2σ", _percent(0)),
    "ms_per_person_frame": Column("ms", _decimals(2)),
    "start_ms": Column("of it start", _decimals(2)),
    "live_ms": Column("alone", _decimals(2)),
    "bridged": Column("bridged"),
    "failures": Column("failed"),
    "joint_share": Column("joints<1", _percent(1)),
    "landmark_share": Column("marks<1", _percent(1)),
    "camera": Column("camera", is_name=True),
    "lens": Column("lens", is_name=True),
    "cameras": Column("cameras"),
    "focal_pct": Column("focal %", _decimals(3)),
    "position_mm": Column("place mm", _decimals(2)),
    "angle_deg": Column("angle °", _decimals(3)),
    "focal_in": Column("in 1σ", _percent(0)),
    "position_in": Column("in 1σ", _percent(0)),
    "angle_in": Column("in 1σ", _percent(0)),
    "rms_px": Column("rms px", _decimals(3)),
    "solve_s": Column("s", _decimals(0)),
    "every_landmark_share": Column("all marks<1", _percent(1)),
}


def _nothing(_rows: Sequence[Row]) -> list[str]:
    return []


@dataclass(frozen=True)
class Layout:
    """What is written of a kind of benchmark: the columns of its CSV (fixed: programs read them) and of its printed
    table. Rows that agree in ``block`` stand together under a ``title``, with ``remarks`` below.
    """

    csv: tuple[str, ...]
    table: tuple[str, ...]
    block: tuple[str, ...]
    title: Callable[[Row], str]
    remarks: Callable[[Sequence[Row]], list[str]] = _nothing


def table(layout: Layout, rows: Sequence[Row]) -> str:
    """The rows as plain text."""
    blocks: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        blocks.setdefault(tuple(row[name] for name in layout.block), []).append(row)
    columns = [COLUMNS[name] for name in layout.table]
    parts = []
    for members in blocks.values():
        lines = [[COLUMNS[name].of(row[name]) for name in layout.table] for row in members]
        widths = [max(map(len, texts)) for texts in zip([column.heading for column in columns], *lines, strict=True)]
        parts.append(layout.title(members[0]))
        for texts in ([column.heading for column in columns], *lines):
            cells = (
                text.ljust(width) if column.is_name else text.rjust(width)
                for column, text, width in zip(columns, texts, widths, strict=True)
            )
            parts.append("  " + "  ".join(cells).rstrip())
        parts += [*layout.remarks(members), ""]
    return "\n".join(parts).rstrip() + "\n"


def csv_text(layout: Layout, rows: Sequence[Row]) -> str:
    """The optimizers' rows under the fixed columns, empty where a measure means nothing; the bound, which is no
    optimizer, is left to the printed table and the page.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(layout.csv)
    for row in rows:
        if row.get("optimizer") != BOUND:
            writer.writerow([_cell(row[name]) for name in layout.csv])
    return text.getvalue()


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def write_csv(layout: Layout, rows: Sequence[Row], path: Path) -> None:
    """Write :func:`csv_text` to a file, all or nothing."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(csv_text(layout, rows), encoding="utf-8")


def counted_views(views: int) -> str:
    """ "1 view", "2 views"."""
    return f"{views} view" if views == 1 else f"{views} views"
