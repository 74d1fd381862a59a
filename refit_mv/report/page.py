"""The quality report as one self-contained HTML page."""

import base64
import html
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from refit_mv.report import charts, measures
from refit_mv.report.document import document, section
from refit_mv.report.everybody import everybody
from refit_mv.report.fixes import all_fixes, fix_markup, fixes_of
from refit_mv.report.frames_to_check import FrameToCheck, frames_to_check
from refit_mv.report.heat import heat_section
from refit_mv.report.motion_figures import motion_section
from refit_mv.report.quality import QualityReport
from refit_mv.report.residual_maps import residual_maps
from refit_mv.report.scene import Scene
from refit_mv.report.scene_view import scene_script, scene_style, scene_view
from refit_mv.report.verdict import disagreeing_views, verdict
from refit_mv.report.verdict_box import verdict_box
from refit_mv.session.observations import CONFIDENT

# Colours of the lines, told apart by colour-blind people and readable on light and dark ground.
BLUE, ORANGE, GREEN = "var(--line)", "var(--orange)", "var(--green)"

DEFINITIONS = (
    ("Reprojection error", "Distance in pixels between a detected keypoint and the same point of the fitted "
                           "body, projected through the camera and its lens. Only keypoints with a confidence "
                           f"above {CONFIDENT:g} count, in frames with a person."),
    ("Median, p95", "Half of the values are below the median, 95 % below the 95th percentile. The median says "
                    "how well it fits as a rule, the 95th percentile how bad it gets."),
    ("mm at the person", "Pixels turned into millimetres at the person's distance: error × depth ÷ focal length."),
    ("Left out", "The body is fitted from the other cameras alone; this is the median distance in pixels between "
                 "what they predict for this view and what was detected there. It tells a wrong camera from a "
                 "noisy detector, which the ordinary error cannot."),
    ("Seen", "Share of frames with a person in which there is a confident keypoint (tables of points: share of "
             "all frames and views)."),
    ("Uncertainty (sigma)", "One standard deviation of a joint's position, from how much the evidence pins it "
                            "down. It knows nothing of a wrong calibration."),
    ("fitted · bridged · uncertain · failed · absent", "Fitted: the body explains the evidence. Bridged: no view "
                                                       "saw the person, the motion before and after carries the "
                                                       "body. Uncertain: there is too little evidence to be "
                                                       "sure. Failed: no body explains it. Absent: nobody was "
                                                       "found, and no body is made up."),
    ("Hard to tell", "With several people: moments in which it was hard to say who is who, and why. Fewer than two "
                     "views show two people apart who are within a metre of each other; a view has one detection for "
                     "both; somebody is back after nobody saw them, or suddenly elsewhere; one view alone shows them."),
    ("Slide, jerk", "How far a point of a foot moves from frame to frame while it stands; how fast the acceleration of "
                    "a joint changes, which is how trembling shows first."),
    ("Speed, acceleration", "Speed of the pelvis and mean acceleration of all joints by finite differences, "
                            "unsmoothed. Spikes are jitter, swapped limbs, or real impacts."),
)  # fmt: skip


def page(reports: Sequence[QualityReport], pictures: Mapping[str, bytes], scene: Scene | None = None) -> str:
    """The whole page, one person after the other. Every name that a user can choose is escaped. ``scene`` is what it
    shows in space, if anything.
    """
    first = reports[0]
    assets = files("refit_mv.report") / "assets"
    timelines = [_timeline(report, _prefix(report, reports)) for report in reports]
    data = {**timelines[0][1], "charts": [chart for _, each in timelines for chart in each["charts"]]}
    several = len(reports) > 1
    space = section("space", "In space", "" if scene is None else scene_view(scene, evidence=False))
    parts = [
        _person(report, _prefix(report, reports), markup, pictures, "" if several else space)
        for report, (markup, _) in zip(reports, timelines, strict=True)
    ]
    sections = [
        _head(first),
        everybody(reports, parts, space) if several else "".join(parts),
        section("notes", "Warnings and notes", _notes(first)),
        section("method", "Method and versions", _method(first, len(reports))),
        section("definitions", "What the numbers mean", _definitions()),
    ]
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    if scene is not None:
        style, script = style + scene_style(), script + scene_script()
    return document(f"{first.title} – fit quality", style, "".join(sections), ("data", data), script)


def _prefix(report: QualityReport, reports: Sequence[QualityReport]) -> str:
    """What sets this person's part of the page off from the others', if there are any."""
    return f"person{report.person}-" if len(reports) > 1 else ""


def _person(report: QualityReport, prefix: str, timeline: str, pictures: Mapping[str, bytes], space: str) -> str:
    """All about one person; ``space`` is the view in space where it belongs to them alone."""
    disagreeing = disagreeing_views(report)
    flagged = np.array([name in disagreeing for name in report.view_names])
    sections = [
        verdict_box(verdict(report)),
        _tiles(report),
        space,
        section(
            f"{prefix}frames", "Frames to look at", _frames(report, frames_to_check(report), pictures, bool(prefix))
        ),
        section(f"{prefix}time", "Over time", timeline + heat_section(report)),
        section(f"{prefix}motion", "Slide, contacts and jitter", motion_section(report)),
        section(f"{prefix}views", "Views", _views(report, flagged, pictures) + residual_maps(report)),
        section(f"{prefix}points", "Keypoints and joints", _points(report)),
    ]
    return "".join(sections)


def _head(report: QualityReport) -> str:
    duration = len(report) / report.fps
    facts = [
        f"{len(report):,} frames, {_duration(duration)} at {report.fps:g} fps",
        f"{len(report.view_names)} views",
        f"body {report.body}",
        f"optimizer {report.optimizer}",
    ]
    return (
        f'<header><p class="brand">refit-mv <span>fit quality</span></p><h1>{html.escape(report.title)}</h1>'
        f'<p class="facts">{" · ".join(html.escape(fact) for fact in facts)}</p></header>'
    )


def _tiles(report: QualityReport) -> str:
    error, millimetres = measures.overall([report]), measures.median_mm(report)
    counts = measures.status_counts([report])
    present = len(report) - counts["absent"] - counts["bridged"]
    sigma = measures.frame_sigma(report)
    tiles = [
        ("Frames fitted", f"{counts['fitted']:,}", f"of {present:,} with a person"),
        (
            "Reprojection, median",
            _px(error.median_px),
            f"≈ {millimetres:.0f} mm at the person" if millimetres else "all views",
        ),
        ("Reprojection, p95", _px(error.p95_px), f"over {error.count:,} keypoints"),
    ]
    if sigma is not None and np.isfinite(sigma).any():
        tiles.append(("Joint uncertainty", f"{1000 * float(np.nanmedian(sigma)):.0f} mm", "1 sigma, median"))
    if measures.finite(report.person_height_m) is not None:
        tiles.append(("Person", f"{report.person_height_m:.2f} m", "tall"))
    rate = len(report) / report.seconds if report.seconds > 0 else 0.0
    tiles.append(
        ("Time to fit", _duration(report.seconds), f"{rate:,.0f} frames/s" if rate >= 1 else f"{rate:.2g} frames/s")
    )
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}<small>{html.escape(note)}</small></dd></div>"
        for name, value, note in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _frames(report: QualityReport, items: Sequence[FrameToCheck], pictures: Mapping[str, bytes], several: bool) -> str:
    cards = []
    fixes = fixes_of(report, items, several)
    for item, fix in zip(items, fixes, strict=True):
        first, last = report.frame_numbers[item.first], report.frame_numbers[item.last]
        frame = report.frame_numbers[item.index]
        where = f"Frame {frame}" if first == last else f"Frames {first}–{last}"
        picture = pictures.get(item.picture_key)
        image = (
            "" if picture is None else f'<img alt="{html.escape(item.view)}, frame {frame}" src="{_data_uri(picture)}">'
        )
        reasons = html.escape("; ".join(item.reasons))
        worst = "" if first == last else f"worst {frame}, "
        cards.append(
            f"<li>{image}<div><b>{where}</b><p>{reasons[:1].upper()}{reasons[1:]}</p>{fix_markup(fix)}"
            f"<small>{worst}{item.index / report.fps:.2f} s · {html.escape(item.view)}"
            f' <button type="button" class="in-space" data-frame="{frame}">in space</button></small></div></li>'
        )
    return f'<ul class="cards">{"".join(cards)}</ul>{all_fixes(fixes)}' if cards else ""


def _timeline(report: QualityReport, prefix: str) -> tuple[str, dict[str, Any]]:
    edges = measures.bin_edges(len(report), charts.MOST_BINS)
    numbers = report.frame_numbers
    starts = [int(value) for value in numbers[edges[:-1]]]
    ends = [int(value) for value in numbers[edges[1:] - 1]]
    chart_list: list[dict[str, object]] = []
    errors = np.where(report.confident, report.pixel_error, np.nan)
    medians = [measures.binned(errors[:, view], edges, 50) for view in range(len(report.view_names))]
    highs = [measures.binned(errors[:, view], edges, 95) for view in range(len(report.view_names))]
    finite = np.concatenate(highs)[np.isfinite(np.concatenate(highs))]
    # One scale for all views, so that they compare at a glance; rare spikes may leave the picture rather than flatten
    # everything.
    top = charts.nice_ceiling(float(np.percentile(finite, 98)) * 1.1) if len(finite) else 1.0
    plots = []
    for view, name in enumerate(report.view_names):
        line = charts.Line("median", medians[view], BLUE, highs[view], "up to p95")
        markup, data = charts.line_chart(f"{prefix}view{view}", name, "px", [line], edges, numbers, top)
        plots.append(markup)
        chart_list.append(data)
    wide = []
    for identifier, title, unit, values, colour in (
        ("sigma", "Joint uncertainty, median", "mm, 1 sigma", _scaled(measures.frame_sigma(report), 1000.0), ORANGE),
        ("speed", "Speed of the pelvis", "m/s", measures.pelvis_speed(report), GREEN),
        ("acceleration", "Mean acceleration of the joints", "m/s²", measures.joint_acceleration(report), GREEN),
    ):
        if values is None or not np.isfinite(values).any():
            continue
        middle, high = measures.binned(values, edges, 50), measures.binned(values, edges, 100)
        fine = bool((np.diff(edges) <= 1).all())
        line = charts.Line(
            "value" if fine else "median", middle, colour, None if fine else high, "" if fine else "up to maximum"
        )
        markup, data = charts.line_chart(prefix + identifier, title, unit, [line], edges, numbers)
        wide.append(markup)
        chart_list.append(data)
    markup = (
        f"{charts.status_strip(report)}<h3>Reprojection error per view</h3><div "
        f'class="multiples">{"".join(plots)}</div>'
        + (f'<h3>Body</h3><div class="multiples">{"".join(wide)}</div>' if wide else "")
    )
    return markup, {"starts": starts, "ends": ends, "fps": report.fps, "edges": edges.tolist(), "charts": chart_list}


def _scaled(values: np.ndarray | None, factor: float) -> np.ndarray | None:
    return None if values is None else values * factor


def _views(report: QualityReport, flagged: np.ndarray, pictures: Mapping[str, bytes]) -> str:
    rows = measures.view_figures(report)
    with_mm = any(row.mm_per_px is not None for row in rows)
    with_left_out = any(row.left_out_px is not None for row in rows)
    widest = max((row.error.p95_px or 0.0 for row in rows), default=0.0)
    head = ["View", "Median px", "p95 px"]
    head += [*(["Median mm"] if with_mm else []), *(["Left out px"] if with_left_out else []), "Keypoints", "Seen"]
    body = []
    for row, bad in zip(rows, flagged, strict=True):
        error = row.error
        millimetres = None if error.median_px is None or row.mm_per_px is None else error.median_px * row.mm_per_px
        cells = [_cell(error.median_px, ".1f"), _bar(error.median_px, error.p95_px, widest)]
        cells += [_cell(millimetres, ".0f")] if with_mm else []
        cells += [_cell(row.left_out_px, ".1f", warn=bool(bad))] if with_left_out else []
        cells += [_cell(error.count, ",d"), _cell(100 * row.seen, ".0f", " %")]
        body.append(f'<tr><th scope="row">{html.escape(row.name)}</th>{"".join(cells)}</tr>')
    table = _table(head, body, "Reprojection error per view")
    rig = pictures.get("rig")
    drawing = (
        f'<img alt="The cameras in space" src="{_data_uri(rig)}">' if rig is not None else charts.plan(report, flagged)
    )
    caption = "The rig." if rig is not None else "Seen from above; the line is the way of the pelvis."
    figure = f'<figure class="rig">{drawing}<figcaption>{caption}</figcaption></figure>' if drawing else ""
    return f'<div class="beside">{table}{figure}</div>'


def _points(report: QualityReport) -> str:
    points = measures.point_figures(report)
    widest = max((row.error.p95_px or 0.0 for row in points), default=0.0)
    body = [
        f'<tr><th scope="row">{html.escape(row.name.replace("_", " "))}</th>{_cell(row.error.median_px, ".1f")}'
        f"{_bar(row.error.median_px, row.error.p95_px, widest)}{_cell(100 * row.seen, '.0f', ' %')}</tr>"
        for row in points
    ]
    head = ["Keypoint", "Median px", "p95 px", "Seen"]
    tables = _table(head, body, "Reprojection error per keypoint")
    joints = measures.joint_figures(report)
    if joints:
        widest = max((row.p95_mm or 0.0 for row in joints), default=0.0)
        body = [
            f'<tr><th scope="row">{html.escape(row.name.replace("_", " "))}</th>{_cell(row.median_mm, ".0f")}'
            f"{_bar(row.median_mm, row.p95_mm, widest)}</tr>"
            for row in joints
        ]
        tables += _table(["Joint", "Sigma mm", "p95 mm"], body, "Uncertainty per joint")
    return f'<p class="hint">Select a column’s heading to sort by it.</p><div class="pair">{tables}</div>'


def _notes(report: QualityReport) -> str:
    warned = "".join(f'<li class="warning">{html.escape(text)}</li>' for text in report.warnings)
    return f'<ul class="plain">{warned}</ul>' if warned else ""


def _method(report: QualityReport, people: int) -> str:
    rows = [
        ("Optimizer", report.optimizer),
        ("Body", report.body),
        ("People", str(people)),
        *report.versions.items(),
        *report.run.items(),
        *((f"Correction {place}", text) for place, text in enumerate(report.edits, 1)),
    ]
    cells = "".join(
        f"<div><dt>{html.escape(str(name))}</dt><dd>{html.escape(str(value))}</dd></div>" for name, value in rows
    )
    return f'<dl class="versions">{cells}</dl>'


def _definitions() -> str:
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in DEFINITIONS)
    return f'<dl class="definitions">{rows}</dl>'


def _table(head: Sequence[str], rows: Sequence[str], caption: str) -> str:
    cells = "".join(f'<th scope="col"><button type="button">{html.escape(name)}</button></th>' for name in head)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(value: float | int | None, form: str, unit: str = "", warn: bool = False) -> str:
    style = ' class="warn"' if warn else ""
    if value is None:
        return f'<td{style} data-v="-1">–</td>'
    return f'<td{style} data-v="{value:.6g}">{value:{form}}{unit}</td>'


def _bar(middle: float | None, high: float | None, widest: float) -> str:
    """A cell with the 95th percentile as a number and a bar; the full part of the bar is the median."""
    if middle is None or high is None:
        return '<td data-v="-1">–</td>'
    shares = (value / widest if widest > 0 else 0.0 for value in (middle, high))
    inner, outer = (min(share, 1.0) for share in shares)
    return (
        f'<td class="bar" data-v="{high:.6g}"><span style="--w:{outer:.3f}"></span><span class="full" '
        f'style="--w:{inner:.3f}"></span>'
        f"<b>{high:.1f}</b></td>"
    )


def _px(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} px"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _data_uri(picture: bytes) -> str:
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        kind = "png"
    elif picture.startswith(b"\xff\xd8\xff"):
        kind = "jpeg"
    else:
        raise ValueError("a picture for the report must be PNG or JPEG")
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
