"""The benchmark's table as plain text."""

from collections.abc import Sequence

from refit_mv.workshop.bench.row import BOUND, BenchRow

_HEAD = (
    "optimizer", "start", "mpjpe", "rel", "pa", "pve", "rot", "p95", "ms", "of it start", "alone", "failed",
    "joints<1", "marks<1", "all marks<1",
)  # fmt: skip


def table(rows: Sequence[BenchRow]) -> str:
    """One block a cell (noise, views, frames), errors in mm and degrees, then what the start costs each optimizer."""
    cells: dict[tuple[str, int, int], list[BenchRow]] = {}
    for row in rows:
        cells.setdefault((row.noise, row.views, row.frames), []).append(row)
    parts = []
    for (noise, views, frames), members in cells.items():
        plural = "view" if views == 1 else "views"
        parts.append(
            f"{noise} noise, {views} {plural}, {frames} frames (errors in mm, rot in degrees, ms per person-frame)"
        )
        parts.append(aligned([_HEAD, *(_line(row) for row in members)]))
        parts.extend(cold_against_truth(members))
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def cold_against_truth(rows: Sequence[BenchRow]) -> list[str]:
    """A sentence for each optimizer that was measured from both starts."""
    found = {(row.optimizer, row.start): row for row in rows if row.optimizer != BOUND}
    return [
        f"  {name}: mpjpe from the cold start is {row.mpjpe_mm / found[name, 'truth'].mpjpe_mm:.3f} of that from "
        "the truth"
        for (name, start), row in found.items()
        if start == "cold" and (name, "truth") in found and found[name, "truth"].mpjpe_mm > 0
    ]


def _line(row: BenchRow) -> tuple[str, ...]:
    def number(value: float | None, digits: int = 2) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    def percent(value: float) -> str:
        return f"{100 * value:.1f}%"

    return (
        row.optimizer,
        "-" if row.optimizer == BOUND else row.start,
        *(
            number(value)
            for value in (row.mpjpe_mm, row.mpjpe_rel_mm, row.pa_mpjpe_mm, row.pve_mm, row.rot_deg, row.p95_mm)
        ),
        number(row.ms_per_person_frame),
        number(row.start_ms),
        number(row.live_ms),
        "-" if row.optimizer == BOUND else str(row.failures),
        percent(row.joint_share),
        percent(row.landmark_share),
        percent(row.every_landmark_share),
    )


def aligned(lines: Sequence[Sequence[str]], names: int = 2) -> str:
    """Columns of text: the first ``names`` to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = []
    for line in lines:
        cells = [
            text.ljust(width) if column < names else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        rows.append("  " + "  ".join(cells).rstrip())
    return "\n".join(rows)
