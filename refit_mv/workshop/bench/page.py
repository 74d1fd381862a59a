"""The benchmark as one self-contained HTML page: error over views, over noise, against time, and the table."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refit_mv.files import complete_or_absent
from refit_mv.workshop.bench.columns import ACCURACY, BOUND, COLUMNS, Row, counted_views
from refit_mv.workshop.bench.plots import COLOURS, Axes, Series, decades, from_zero, plot, time_ticks

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
SHOWN = (
    "optimizer", "start", "noise", "views", "frames", *ACCURACY, "ms_per_person_frame", "failures",
)  # fmt: skip


def page(rows: Sequence[Row], origin: str = "") -> str:
    """The whole page. ``origin`` is a sentence on the motions; rows on subsets of frames stay in the table and out of
    the plots.
    """
    names = list(dict.fromkeys(_label(row) for row in rows))
    colours = {
        name: COLOURS[place % len(COLOURS)] for place, name in enumerate(name for name in names if name != BOUND)
    }
    colours[BOUND] = "#888"
    most = max(row["frames"] for row in rows)
    whole = [row for row in rows if row["frames"] == most or row["optimizer"] == "scipy"]
    keys = "".join(f'<span><i style="background:{colours[name]}"></i>{html.escape(name)}</span>' for name in names)
    sections = [
        ("Error over views", _over(whole, colours, "views")),
        ("Error over noise", _over(whole, colours, "noise")),
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


def write_page(rows: Sequence[Row], path: Path, origin: str = "") -> None:
    """Write :func:`page` to a file, all or nothing."""
    with complete_or_absent(path) as temporary:
        temporary.write_text(page(rows, origin), encoding="utf-8")


def _label(row: Row) -> str:
    """What a row is called: starts other than the cold one are told apart."""
    name, start = row["optimizer"], row["start"]
    return f"{name}, from the {start}" if start not in (None, "cold") else name


def _over(rows: Sequence[Row], colours: dict[str, str], along: str) -> list[str]:
    """Error along the views, one figure a noise, or along the noises, one figure a number of views."""
    across = "noise" if along == "views" else "views"
    values = sorted({row["views"] for row in rows}) if along == "views" else _in_order(rows, "noise")
    if len(values) < 2:
        return []
    place = {value: float(value) if along == "views" else 2.0**at for at, value in enumerate(values)}
    low, high = place[values[0]], place[values[-1]]
    limits = (low / 1.15, high * 1.15) if along == "views" else (low * 2**-0.4, high * 2**0.4)
    heights = decades([row["mpjpe_mm"] for row in rows if row["mpjpe_mm"] > 0] or [1.0])
    axes = Axes(limits, heights, tuple((at, str(value)) for value, at in place.items()), along, "mm")
    figures = []
    for value in _in_order(rows, "noise") if across == "noise" else sorted({row["views"] for row in rows}):
        points: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if row[across] == value and row["mpjpe_mm"] > 0:
                points.setdefault(_label(row), []).append((place[row[along]], row["mpjpe_mm"]))
        series = [Series(name, colours[name], tuple(sorted(found)), name == BOUND) for name, found in points.items()]
        figures.append(plot(f"{value} noise" if across == "noise" else counted_views(value), axes, series, True))
    return figures


def _in_order(rows: Sequence[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))


def _against_time(rows: Sequence[Row], colours: dict[str, str]) -> list[str]:
    timed = [row for row in rows if row["ms_per_person_frame"] and row["start"] == "cold" and row["mpjpe_mm"] > 0]
    if len(_in_order(timed, "optimizer")) < 2:
        return []
    limits = decades([row["ms_per_person_frame"] for row in timed])
    figures = []
    for noise in _in_order(timed, "noise"):
        for view in sorted({row["views"] for row in timed}):
            chosen = [row for row in timed if (row["noise"], row["views"]) == (noise, view)]
            if not chosen:
                continue
            heights = from_zero([row["mpjpe_mm"] for row in chosen])
            axes = Axes(limits, heights, time_ticks(limits), "ms per person-frame", "mm")
            series = [
                Series(_label(row), colours[_label(row)], ((row["ms_per_person_frame"], row["mpjpe_mm"]),))
                for row in chosen
            ]
            figures.append(plot(f"{noise} noise, {counted_views(view)}", axes, series, False))
    return figures


def _table(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        cells = "".join(f"<td>{html.escape(COLUMNS[name].of(row[name], '–'))}</td>" for name in SHOWN)
        lines.append(f"<tr{' class=bound' if row['optimizer'] == BOUND else ''}>{cells}</tr>")
    units = {"rot_deg": " °"}
    head = "".join(f"<th>{COLUMNS[name].heading}{units.get(name, '')}</th>" for name in SHOWN)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
