"""The page of several people: what is to be said of all of them, and a part for each that unfolds."""

import html
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from refit_mv.report import measures
from refit_mv.report.colours import css, person_colour
from refit_mv.report.quality import QualityReport
from refit_mv.report.timeline import badge, hard_table, timeline
from refit_mv.report.verdict import overall_verdict, verdict
from refit_mv.report.verdict_box import level_mark, verdict_box

# Findings that stand open at the head of the page.
MOST_FINDINGS = 8


def everybody(reports: Sequence[QualityReport], parts: Sequence[str], space: str = "") -> str:
    """The verdict, what is shown in space, whom to choose from, when they are seen, and everybody's own part; the first
    is unfolded.
    """
    judged = overall_verdict(reports)
    # What is good of ten people is said in their own parts.
    told = tuple(finding for finding in judged.findings if finding.level != "good")
    chapters = [
        _part(report, part, place == 0) for place, (report, part) in enumerate(zip(reports, parts, strict=True))
    ]
    return (
        f"{verdict_box(replace(judged, findings=told), MOST_FINDINGS)}{space}"
        f'<section id="people"><h2>People</h2>{_table(reports)}{timeline(reports)}{hard_table(reports)}</section>'
        f"{''.join(chapters)}"
    )


def _table(reports: Sequence[QualityReport]) -> str:
    """One row for each person, with what leads to their part."""
    head = ("Person", "Fitted", "Median px", "Median mm", "Tall", "Seen by 2+", "Frames", "Hard")
    cells = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in head)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="People"><table class="people"><caption>People'
        f"</caption><thead><tr>{cells}</tr></thead><tbody>{''.join(map(_row, reports))}</tbody></table></div>"
    )


def _row(report: QualityReport) -> str:
    counts = measures.status_counts([report])
    good = counts["fitted"] + counts["classic"]
    present = len(report) - counts["absent"] - counts["bridged"]
    error, millimetres = measures.overall([report]), measures.median_mm(report)
    views = measures.views_seeing(report)
    seen = np.flatnonzero(views)
    between = f"{report.frame_numbers[seen[0]]}–{report.frame_numbers[seen[-1]]}" if len(seen) else "–"
    hard = np.zeros(len(report), dtype=bool)
    for moment in report.hard:
        hard[moment.first : moment.last + 1] = True
    cells = [
        _cell(good / present if present else None, "{:.0%}"),
        _cell(error.median_px, "{:.1f}"),
        _cell(millimetres, "{:.0f}"),
        _cell(measures.finite(report.person_height_m), "{:.2f} m"),
        _cell(float((views >= 2).mean()), "{:.0%}"),
        f'<td data-v="{int(seen[0]) if len(seen) else -1}">{between}</td>',
        _cell(float(hard.mean()), "{:.0%}"),
    ]
    return (
        f'<tr><th scope="row"><a href="#person{report.person}">{level_mark(verdict(report).level)} {badge(report)} '
        f"{html.escape(report.whom)}</a></th>{''.join(cells)}</tr>"
    )


def _cell(value: float | None, form: str) -> str:
    return '<td data-v="-1">–</td>' if value is None else f'<td data-v="{value:.6g}">{form.format(value)}</td>'


def _part(report: QualityReport, content: str, opened: bool) -> str:
    return (
        f'<details class="one" id="person{report.person}" style="--of:{css(person_colour(report.person))}"'
        f"{' open' if opened else ''}><summary>{badge(report)} <b>{html.escape(report.whom)}</b> "
        f"{level_mark(verdict(report).level)}</summary>{content}</details>"
    )
