"""The benchmark as one self-contained HTML page: error over views, over noise, against time, and the table."""

import html
from collections.abc import Sequence
from pathlib import Path

from refit_mv.files import complete_or_absent
from refit_mv.workshop.bench.plots import COLOURS, Axes, Series, decades, from_zero, plot, time_ticks
from refit_mv.workshop.bench.row import BOUND, BenchRow

STYLE = """
:root{color-scheme:light dark;--ground:#f6f6f3;--card:#fff;--ink:#1b1d21;--soft:#62666f;--rule:#e2e2dc}
@media(prefers-color-scheme:dark){:root{--ground:#121417;--card:#1b1e23;--ink:#e9eaec;--soft:#9aa0aa;--rule:#2e3239}}
*{box-sizing:border-box}

body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1180px;margin:0 auto;padding:28px 20px 64px}
h1{font-size:1.7rem;margin:0 0 4px}h2{font-size:1.1rem;margin:34px 0 10px}
p{margin:0 0 8px;color:var(--soft);max-width:90ch}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,350px),1fr));gap:14px}
figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--rule);border-radius:10px}
figcaption{font-weight:600;margin-bottom:4px}svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:13px}.grid{stroke:var(--rule)}.line{fill:none;stroke-width:2}
.keys span{margin-right:18px;white-space:nowrap}
.keys i{display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:6px}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--rule);border-radius:10px}
table{border-collapse:collapse;width:100%}
th,td{padding:4px 9px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}
th{color:var(--soft);font-weight:600}td:nth-child(-n+4),th:nth-child(-n+4){text-align:left}
tr.bound td{color:var(--soft);font-style:italic}
"""
TABLE_NOTE = (
    "Errors in millimetres: mpjpe of the joints in the world, rel with the pelvis moved onto the true one, pa "
    "after a similarity transform of the frame, "
    "pve of the surface, p95 the 95th percentile over all joints of all frames. rot: mean angle of the joints' "
    "own rotations. ms per person-frame, cold start included."
)
HEADINGS = (
    "optimizer", "start", "noise", "views", "frames", "mpjpe", "rel", "pa", "pve", "rot °", "p95", "ms", "failed",
)  # fmt: skip


def page(rows: Sequence[BenchRow], origin: str = "") -> str:
    """The whole page. ``origin`` is a sentence on the motions; rows on subsets of frames stay in the table and out of
    the plots.
    """
    names = list(dict.fromkeys(_label(row) for row in rows))
    colours = {
        name: COLOURS[place % len(COLOURS)] for place, name in enumerate(name for name in names if name != BOUND)
    }
    colours[BOUND] = "#888"
    most = max(row.frames for row in rows)
    whole = [row for row in rows if row.frames == most or row.optimizer == "scipy"]
    keys = "".join(f'<span><i style="background:{colours[name]}"></i>{html.escape(name)}</span>' for name in names)
    sections = [
        ("Error over views", _over_views(whole, colours)),
        ("Error over noise", _over_noise(whole, colours)),
        ("Error against time", _against_time(whole, colours)),
    ]
    plots = "".join(
        f'<h2>{title}</h2><div class="plots">{"".join(figures)}</div>' for title, figures in sections if figures
    )
    note = (
        "Mean joint error in the world, millimetres; lower is better. Time is logarithmic, and so is error, "
        "but for the plots against time."
    )
    if BOUND in names:
        note += " The bound is what the evidence and a Gaussian pose prior allow; a better prior may pass below it."
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">"
        f"<title>refit-mv bench</title><style>{STYLE}</style></head><body><main><h1>refit-mv bench</h1>"
        f"<p>{html.escape(origin)}</p><p>{note}</p><p "
        f'class="keys">{keys}</p>{plots}<h2>Table</h2><p>{TABLE_NOTE}</p>{_table(rows)}</main></body></html>\n'
    )


def write_page(rows: Sequence[BenchRow], path: Path, origin: str = "") -> None:
    """Write :func:`page` to a file, all or nothing."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(page(rows, origin), encoding="utf-8")


def _label(row: BenchRow) -> str:
    """What a row is called: starts other than the cold one are told apart."""
    return row.optimizer if row.optimizer == BOUND or row.start == "cold" else f"{row.optimizer}, from the {row.start}"


def _series(rows: Sequence[BenchRow], colours: dict[str, str], place: dict[str, float] | None = None) -> list[Series]:
    """Rows as lines over views, or over the noise's ``place``."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.mpjpe_mm > 0:
            points.setdefault(_label(row), []).append(
                (float(row.views) if place is None else place[row.noise], row.mpjpe_mm)
            )
    return [Series(name, colours[name], tuple(sorted(found)), name == BOUND) for name, found in points.items()]


def _heights(rows: Sequence[BenchRow]) -> tuple[float, float]:
    return decades([row.mpjpe_mm for row in rows if row.mpjpe_mm > 0] or [1.0])


def _over_views(rows: Sequence[BenchRow], colours: dict[str, str]) -> list[str]:
    views = sorted({row.views for row in rows})
    if len(views) < 2:
        return []
    axes = Axes(
        (views[0] / 1.15, views[-1] * 1.15),
        _heights(rows),
        tuple((float(view), str(view)) for view in views),
        "views",
        "mm",
    )
    noises = dict.fromkeys(row.noise for row in rows)
    return [
        plot(f"{noise} noise", axes, _series([row for row in rows if row.noise == noise], colours), True)
        for noise in noises
    ]


def _over_noise(rows: Sequence[BenchRow], colours: dict[str, str]) -> list[str]:
    noises = list(dict.fromkeys(row.noise for row in rows))
    if len(noises) < 2:
        return []
    place = {noise: 2.0**at for at, noise in enumerate(noises)}
    axes = Axes(
        (2**-0.4, 2 ** (len(noises) - 0.6)),
        _heights(rows),
        tuple((at, noise) for noise, at in place.items()),
        "noise",
        "mm",
    )
    views = sorted({row.views for row in rows})
    return [
        plot(
            f"{view} {'view' if view == 1 else 'views'}",
            axes,
            _series([row for row in rows if row.views == view], colours, place),
            True,
        )
        for view in views
    ]


def _against_time(rows: Sequence[BenchRow], colours: dict[str, str]) -> list[str]:
    timed = [row for row in rows if row.ms_per_person_frame and row.start == "cold" and row.mpjpe_mm > 0]
    if len({row.optimizer for row in timed}) < 2:
        return []
    limits = decades([row.ms_per_person_frame or 1.0 for row in timed])
    figures = []
    for noise in dict.fromkeys(row.noise for row in timed):
        for view in sorted({row.views for row in timed}):
            chosen = [row for row in timed if (row.noise, row.views) == (noise, view)]
            if not chosen:
                continue
            axes = Axes(
                limits, from_zero([row.mpjpe_mm for row in chosen]), time_ticks(limits), "ms per person-frame", "mm"
            )
            series = [
                Series(_label(row), colours[_label(row)], ((row.ms_per_person_frame or 1.0, row.mpjpe_mm),))
                for row in chosen
            ]
            figures.append(plot(f"{noise} noise, {view} {'view' if view == 1 else 'views'}", axes, series, False))
    return figures


def _table(rows: Sequence[BenchRow]) -> str:
    lines = []
    for row in rows:
        figures = (row.mpjpe_mm, row.mpjpe_rel_mm, row.pa_mpjpe_mm, row.pve_mm, row.rot_deg, row.p95_mm)
        bound = row.optimizer == BOUND
        cells = (
            row.optimizer, "–" if bound else row.start, row.noise, str(row.views), str(row.frames),
            *(f"{value:.2f}" for value in figures),
            "–" if row.ms_per_person_frame is None else f"{row.ms_per_person_frame:.2f}",
            "–" if bound else str(row.failures),
        )  # fmt: skip
        lines.append(
            f"<tr{' class=bound' if bound else ''}>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
        )
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
