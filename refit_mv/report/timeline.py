"""Who is seen when, by how many views, and when they were hard to tell apart: one strip for each person, as inline SVG
inside HTML.
"""

import html
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from refit_mv.people.hard_moments import HardMoment, Why
from refit_mv.report import measures
from refit_mv.report.charts import WIDTH, WORST_FIRST
from refit_mv.report.colours import css, lettering_on, person_colour
from refit_mv.report.quality import QualityReport
from refit_mv.status import BEST_FIRST

# So many columns at most: the page is as wide.
COLUMNS = 500
# More views than this are enough, however many more they are.
ENOUGH_VIEWS = 3
# The lanes of a strip: hard moments, views, status; upper edge and height.
HARD, VIEWS, STATUS = (0, 7), (9, 13), (24, 8)
STRIP = 32
# A moment is drawn at least so wide, of WIDTH.
NARROWEST = 3.0
# Ticks are this many, or somewhat more.
TICKS = 6

WORDS = {
    Why.CLOSE: "views hardly show them apart",
    Why.SHARED: "a view has one detection for both",
    Why.RETURNED: "back after nobody saw them",
    Why.JUMPED: "suddenly elsewhere",
    Why.ALONE: "one view alone shows them",
}


def badge(report: QualityReport) -> str:
    """The person's number in their colour."""
    colour = person_colour(report.person)
    return f'<b class="badge" style="background:{css(colour)};color:{css(lettering_on(colour))}">{report.person}</b>'


def timeline(reports: Sequence[QualityReport]) -> str:
    """Everybody's strip above one axis of frames and seconds."""
    first = reports[0]
    edges = measures.bin_edges(len(first), COLUMNS)
    rows = "".join(
        f'<div class="who">{badge(report)}</div><svg viewBox="0 0 {WIDTH:g} {STRIP}" preserveAspectRatio="none" '
        f'role="img" aria-label="{html.escape(_said(report))}">{_strip(report, edges)}</svg>'
        for report in reports
    )
    present = [word for word in BEST_FIRST if any(word in report.status for report in reports)]
    keys = "".join(
        [
            *(
                f'<span class="key"><i class="v{count}"></i>{_views(count)}</span>'
                for count in range(1, min(ENOUGH_VIEWS, len(first.view_names)) + 1)
            ),
            *(f'<span class="key"><i class="s-{word}"></i>{word}</span>' for word in present),
            *(['<span class="key"><i class="hard"></i>hard to tell</span>'] if any(r.hard for r in reports) else []),
        ]
    )
    return (
        '<figure class="strip seen"><figcaption><b>Who is seen</b><span class="sub"> by how many views, and the status '
        f'of the fit</span><span class="keys">{keys}</span></figcaption>'
        f'<div class="strips">{rows}<div></div><div class="axis">{_axis(first)}</div></div></figure>'
    )


def _said(report: QualityReport) -> str:
    count = measures.views_seeing(report)
    parts = [f"{int((count >= 2).sum())} of {len(report)} frames seen by two views or more", f"{len(report.hard)} hard"]
    return f"{report.whom}: {', '.join(parts)}"


def _views(count: int) -> str:
    more = " or more" if count == ENOUGH_VIEWS else ""
    return f"{count}{more} view{'' if count == 1 else 's'}"


def _strip(report: QualityReport, edges: Int[np.ndarray, " edge"]) -> str:
    colour = css(person_colour(report.person))
    count = np.minimum(measures.views_seeing(report), ENOUGH_VIEWS)
    states = np.array(report.status)
    columns = list(pairwise(edges.tolist()))
    # A column shows the worst that happened in it.
    fewest = [str(count[start:stop].min()) for start, stop in columns]
    worst = [next(state for state in WORST_FIRST if state in states[start:stop]) for start, stop in columns]

    def views(value: str) -> tuple[str, str]:
        return f'class="v{value}" fill="{colour}"', "no view" if value == "0" else _views(int(value))

    def status(value: str) -> tuple[str, str]:
        return f'class="s-{value}"', value

    return _lane(fewest, edges, VIEWS, report, views) + _lane(worst, edges, STATUS, report, status) + _marks(report)


def _lane(
    values: Sequence[str],
    edges: Int[np.ndarray, " edge"],
    lane: tuple[int, int],
    report: QualityReport,
    look: Callable[[str], tuple[str, str]],
) -> str:
    """Rectangles over runs of the same value; ``look`` tells their attributes and their words."""
    (top, height), parts, begin = lane, [], 0
    for column in range(1, len(values) + 1):
        if column == len(values) or values[column] != values[begin]:
            first, stop = int(edges[begin]), int(edges[column])
            attributes, words = look(values[begin])
            between = f"{report.frame_numbers[first]}–{report.frame_numbers[stop - 1]}"
            x, width = WIDTH * first / len(report), WIDTH * (stop - first) / len(report)
            parts.append(
                f'<rect {attributes} x="{x:.2f}" y="{top}" width="{width:.2f}" height="{height}">'
                f"<title>{words}: frames {between}</title></rect>"
            )
            begin = column
    return "".join(parts)


def _marks(report: QualityReport) -> str:
    (top, height), parts = HARD, []
    for moment in report.hard:
        x = WIDTH * moment.first / len(report)
        width = max(WIDTH * (moment.last + 1 - moment.first) / len(report), NARROWEST)
        others = f" ({', '.join(map(str, moment.others))})" if moment.others else ""
        parts.append(
            f'<rect class="hard" x="{x:.2f}" y="{top}" width="{width:.2f}" height="{height}"><title>'
            f"{WORDS[moment.why]}{others}: frames {_frames(report, moment)}</title></rect>"
        )
    return "".join(parts)


def _frames(report: QualityReport, moment: HardMoment) -> str:
    first, last = report.frame_numbers[moment.first], report.frame_numbers[moment.last]
    return str(first) if first == last else f"{first}–{last}"


def _axis(report: QualityReport) -> str:
    """Frame numbers and seconds, at round numbers of frames."""
    count, parts = len(report), []
    step = measures.nice_step(count / TICKS)
    for row in range(0, count, step):
        place = 100 * (row + 0.5) / count
        parts.append(
            f'<span style="left:{place:.2f}%">{report.frame_numbers[row]}<small>{row / report.fps:.2f} s</small></span>'
        )
    return "".join(parts)


def hard_table(reports: Sequence[QualityReport]) -> str:
    """When people were hard to tell apart, each moment once; empty where there are none."""
    by_id = {report.person: report for report in reports}
    told: dict[tuple[int, int, Why, tuple[int, ...]], None] = {}
    for report in reports:
        for each in report.hard:
            told[each.first, each.last, each.why, tuple(sorted({report.person, *each.others}))] = None
    rows = []
    for first, last, why, people in sorted(told):
        who = " ".join(badge(by_id[id]) if id in by_id else f"{id} (not fitted)" for id in people)
        report = reports[0]
        seconds = (last + 1 - first) / report.fps
        rows.append(
            f'<tr><th scope="row">{_frames(report, HardMoment(first, last, why))}</th>'
            f'<td data-v="{first}">{first / report.fps:.2f} s</td><td data-v="{seconds:.4g}">{seconds:.2f} s</td>'
            f'<td class="left" data-v="{people[0]}">{who}</td><td class="left" data-v="{list(Why).index(why)}">'
            f"{WORDS[why]}</td></tr>"
        )
    if not rows:
        return ""
    head = ("Frames", "At", "For", "Who", "Why")
    left = {"Who", "Why"}
    cells = "".join(
        f'<th scope="col"{" class=left" if name in left else ""}><button type="button">{name}</button></th>'
        for name in head
    )
    return (
        "<h3>When they were hard to tell apart</h3>"
        '<p class="hint">Look at these frames in the overlays: this is where one could have become another.</p>'
        '<div class="scroll low" tabindex="0" role="region" aria-label="Hard moments"><table><caption>Hard moments'
        f"</caption><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
