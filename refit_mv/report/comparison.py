"""Two fits of the same recording beside one another: where they agree, which meets the evidence better, and where they
differ most.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.report import charts, measures
from refit_mv.report.colours import css
from refit_mv.report.document import document, section
from refit_mv.report.motion_figures import foot_figures, jitter
from refit_mv.report.quality import QualityReport
from refit_mv.report.scene import Scene, ScenePerson
from refit_mv.report.scene_view import scene_script, scene_style, scene_view
from refit_mv.report.verdict import verdict
from refit_mv.report.verdict_box import level_mark
from refit_mv.status import FrameStatus

# The first fit's people and the second's, sRGB; blue and orange are told apart by everybody.
FIRST, SECOND = (86, 180, 233), (240, 150, 40)
# People of two fits are the same where they are this near one another in the median, metres.
SAME_REACH = 0.5
# Joints this far apart (metres) are another result.
DIFFERENT = 0.02
# So many frames are listed.
MOST_FRAMES = 10
A, B = "A", "B"


@dataclass(frozen=True, eq=False)
class Pair:
    """The same person in both fits, and the rows of the frames that both have. ``apart`` is the mean distance of joints
    that both bodies have (metres), NaN where one of the two is absent.
    """

    first: QualityReport
    second: QualityReport
    first_rows: Int[np.ndarray, " frame"]
    second_rows: Int[np.ndarray, " frame"]
    apart: Float[np.ndarray, " frame"]

    @property
    def frame_numbers(self) -> Int[np.ndarray, " frame"]:
        return self.first.frame_numbers[self.first_rows]

    def differing(self) -> tuple[tuple[int, int, int], ...]:
        """Stretches in which joints are more than :data:`DIFFERENT` apart: places of the first frame, the last, and the
        one where they are most; the worst stretch first.
        """
        apart = np.nan_to_num(self.apart)
        flagged = np.flatnonzero(apart > DIFFERENT)
        if not len(flagged):
            return ()
        pieces = np.split(flagged, np.flatnonzero(np.diff(flagged) > max(self.first.fps / 8, 1)) + 1)
        found = [(int(each[0]), int(each[-1]), int(each[apart[each].argmax()])) for each in pieces]
        return tuple(sorted(found, key=lambda each: -apart[each[2]]))


def paired(first: Sequence[QualityReport], second: Sequence[QualityReport]) -> tuple[Pair, ...]:
    """Who is who in the other fit, nearest people first.

    Raises:
        InputError: the two have no frame in common, or nobody.
    """
    numbers, first_rows, second_rows = np.intersect1d(
        first[0].frame_numbers, second[0].frame_numbers, return_indices=True
    )
    if not len(numbers):
        raise InputError(
            f"the fits have no frame in common: {first[0].frame_numbers[0]} to {first[0].frame_numbers[-1]}, and "
            f"{second[0].frame_numbers[0]} to {second[0].frame_numbers[-1]}; give two fits of the same recording"
        )
    candidates = []
    for one in first:
        for other in second:
            apart = _apart(one, other, first_rows, second_rows)
            if np.isfinite(apart).any():
                candidates.append((float(np.nanmedian(apart)), one.person, other.person, apart))
    found, taken_first, taken_second = [], set(), set()
    by_first, by_second = {each.person: each for each in first}, {each.person: each for each in second}
    for distance, one, other, apart in sorted(candidates, key=lambda each: each[:3]):
        if distance < SAME_REACH and one not in taken_first and other not in taken_second:
            taken_first.add(one)
            taken_second.add(other)
            found.append(Pair(by_first[one], by_second[other], first_rows, second_rows, apart))
    if not found:
        raise InputError(
            f"nobody is at the same place in both fits (nearer than {SAME_REACH:g} m); give two fits of the same "
            "recording, in the same world"
        )
    return tuple(sorted(found, key=lambda pair: pair.first.person))


def _apart(
    one: QualityReport,
    other: QualityReport,
    first_rows: Int[np.ndarray, " frame"],
    second_rows: Int[np.ndarray, " frame"],
) -> Float[np.ndarray, " frame"]:
    names = [name for name in one.joint_names if name in other.joint_names]
    if one.joints_m is None or other.joints_m is None or not names:
        return np.full(len(first_rows), np.nan)
    mine = one.joints_m[first_rows][:, [one.joint_names.index(name) for name in names]]
    theirs = other.joints_m[second_rows][:, [other.joint_names.index(name) for name in names]]
    return np.linalg.norm(mine - theirs, axis=-1).mean(-1)


@dataclass(frozen=True)
class Row:
    """One figure of both fits. ``less_is_better`` None: neither is."""

    name: str
    first: float | None
    second: float | None
    form: str
    less_is_better: bool | None = True


def figures_of(pair: Pair) -> tuple[Row, ...]:
    """What the two are compared by."""
    both = (pair.first, pair.second)

    def row(name: str, of: Callable[[QualityReport], float | None], form: str, less: bool | None = True) -> Row:
        one, other = (measures.finite(of(report)) for report in both)
        return Row(name, one, other, form, less)

    def share(report: QualityReport) -> float | None:
        counts = measures.status_counts([report])
        present = len(report) - counts["absent"] - counts["bridged"]
        return 100 * (counts["fitted"] + counts["classic"]) / present if present else None

    def sigma(report: QualityReport) -> float | None:
        values = measures.frame_sigma(report)
        return None if values is None or not np.isfinite(values).any() else 1000 * float(np.nanmedian(values))

    def slide(report: QualityReport) -> float | None:
        known = [each.slide_mm for each in foot_figures(report) if each.slide_mm is not None]
        return float(np.median(known)) if known else None

    rows = [
        row("Frames fitted, %", share, "{:.1f}", False),
        row("Reprojection, median px", lambda report: measures.overall([report]).median_px, "{:.1f}"),
        row("Reprojection, p95 px", lambda report: measures.overall([report]).p95_px, "{:.1f}"),
        row("Joint uncertainty, mm", sigma, "{:.1f}"),
        row("Jerk, m/s³", jitter, "{:.0f}"),
        row("Foot slide, mm/frame", slide, "{:.2f}"),
        row("Height, m", lambda report: report.person_height_m, "{:.3f}", None),
        row("Seconds to fit", lambda report: report.seconds, "{:.1f}"),
    ]
    names = [name for name in pair.first.view_names if name in pair.second.view_names]
    for name in names:
        rows.append(row(f"{name}, left out px", lambda report, name=name: measures.left_out([report], name), "{:.1f}"))
    return tuple(each for each in rows if each.first is not None or each.second is not None)


def together(first: Scene, second: Scene) -> Scene:
    """Both fits' people in one scene, the first's blue and the second's orange. Both scenes have the same frames, and
    bodies of the same kind.
    """

    def named(
        people: Sequence[ScenePerson], letter: str, colour: tuple[int, int, int], start: int
    ) -> list[ScenePerson]:
        return [
            replace(
                person, id=start + place, whom=f"{letter}: {person.whom}", colour=colour, mark=f"{letter}{person.mark}"
            )
            for place, person in enumerate(people)
        ]

    people = [*named(first.people, A, FIRST, 0), *named(second.people, B, SECOND, len(first.people))]
    return replace(first, people=tuple(people))


def write_comparison(path: Path, names: tuple[str, str], pairs: Sequence[Pair], scene: Scene | None) -> None:
    """Write the page on two fits as one HTML file that needs nothing else. ``names`` are what the two are called;
    ``scene`` shows both, from :func:`together`.

    Raises:
        InputError: the file cannot be written.
    """
    assets = files("refit_mv.report") / "assets"
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    edges = measures.bin_edges(len(pairs[0].apart), charts.MOST_BINS)
    numbers = pairs[0].frame_numbers
    chart_list, parts = [], []
    for place, pair in enumerate(pairs):
        markup, data = _person(pair, edges, place)
        parts.append(markup)
        chart_list += data
    keys = "".join(
        f'<span class="key"><i style="background:{css(colour)}"></i>{letter}: {html.escape(name)}</span>'
        for letter, name, colour in zip((A, B), names, (FIRST, SECOND), strict=True)
    )
    first = pairs[0].first
    content = [
        f'<header><p class="brand">refit-mv <span>two fits</span></p><h1>{html.escape(first.title)}</h1>'
        f'<p class="facts">{keys} · {len(numbers):,} frames in both</p></header>',
        section("space", "In space", "" if scene is None else scene_view(scene, evidence=False)),
        *parts,
        section("method", "What was run", _method(pairs[0], names)),
    ]
    data = {
        "starts": [int(value) for value in numbers[edges[:-1]]],
        "ends": [int(value) for value in numbers[edges[1:] - 1]],
        "fps": first.fps,
        "edges": edges.tolist(),
        "charts": chart_list,
    }
    if scene is not None:
        style, script = style + scene_style(), script + scene_script()
    text = document(f"{first.title} – two fits", style, "".join(content), ("data", data), script)
    with complete_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _person(pair: Pair, edges: Int[np.ndarray, " edge"], place: int) -> tuple[str, list[dict[str, object]]]:
    parts, data = [], []
    numbers = pair.frame_numbers
    apart = charts.Line("median", measures.binned(1000 * pair.apart, edges, 50), "var(--line)", None)
    errors = []
    for report, rows, letter, colour in (
        (pair.first, pair.first_rows, A, FIRST),
        (pair.second, pair.second_rows, B, SECOND),
    ):
        off = measures.nan_median(np.where(report.confident, report.pixel_error, np.nan).reshape(len(report), -1))
        errors.append(charts.Line(letter, measures.binned(off[rows], edges, 50), css(colour)))
    for key, title, unit, lines in (
        ("apart", "How far joints are apart, mean over the body", "mm", [apart]),
        ("error", "Reprojection error, median over all views", "px", errors),
    ):
        markup, chart = charts.line_chart(f"{key}{place}", title, unit, lines, edges, numbers)
        parts.append(markup)
        data.append(chart)
    whom = pair.first.whom if pair.first.whom == pair.second.whom else f"{pair.first.whom} · {pair.second.whom}"
    content = f'{_table(pair)}<h3>Over time</h3><div class="multiples">{"".join(parts)}</div>{_differing(pair)}'
    return section(f"pair{place}", html.escape(whom), content), data


def _table(pair: Pair) -> str:
    verdicts = " ".join(
        f"{letter} {level_mark(verdict(report).level)}" for letter, report in ((A, pair.first), (B, pair.second))
    )
    known = pair.apart[np.isfinite(pair.apart)]
    said = f"Joints are {1000 * np.median(known):.1f} mm apart in the median, {1000 * known.max():.0f} mm at most."
    rows = []
    for row in figures_of(pair):
        cells = [_cell(value, row.form) for value in (row.first, row.second)]
        change = None if row.first is None or row.second is None else row.second - row.first
        good = change is not None and row.less_is_better is not None and (change < 0) == row.less_is_better
        mark = "" if change is None or abs(change) < 1e-9 or row.less_is_better is None else "✓" if good else ""
        signed = "–" if change is None else f"{'+' if change > 0 else ''}{row.form.format(change)} {mark}"
        rows.append(
            f'<tr><th scope="row">{html.escape(row.name)}</th>{"".join(cells)}'
            f'<td data-v="{0 if change is None else change:.6g}">{signed}</td></tr>'
        )
    cells = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in ("", A, B, "B − A"))
    return (
        f'<p class="hint marks">{verdicts} · {said} A tick stands where B is better.</p><div class="scroll"><table>'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _differing(pair: Pair) -> str:
    numbers, cards = pair.frame_numbers, []
    for first, last, worst in pair.differing()[:MOST_FRAMES]:
        where = f"Frame {numbers[first]}" if first == last else f"Frames {numbers[first]}–{numbers[last]}"
        states = [
            str(report.status[rows[worst]])
            for report, rows in ((pair.first, pair.first_rows), (pair.second, pair.second_rows))
        ]
        cards.append(
            f"<li><div><b>{where}</b><p>Up to {1000 * pair.apart[worst]:.0f} mm apart; {A} {states[0]}, "
            f"{B} {states[1]}</p>"
            f'<small>worst {numbers[worst]} <button type="button" class="in-space" data-frame="{numbers[worst]}">'
            "in space</button></small></div></li>"
        )
    alone = [
        int(np.sum(_absent(report, rows)))
        for report, rows in ((pair.first, pair.first_rows), (pair.second, pair.second_rows))
    ]
    missing = f'<p class="hint">Absent in {alone[0]} frames of {A}, in {alone[1]} of {B}.</p>' if any(alone) else ""
    listed = f'<ul class="cards">{"".join(cards)}</ul>' if cards else '<p class="hint">None.</p>'
    return f"<h3>Where they differ by more than {1000 * DIFFERENT:g} mm</h3>{listed}{missing}"


def _absent(report: QualityReport, rows: Int[np.ndarray, " frame"]) -> np.ndarray:
    return np.array([report.status[row] is FrameStatus.ABSENT for row in rows], dtype=bool)


def _method(pair: Pair, names: tuple[str, str]) -> str:
    """What differs in what was run, and what does not."""
    told = [
        {
            "optimizer": report.optimizer,
            "body": report.body,
            **report.versions,
            **report.run,
            "corrections": str(len(report.edits)),
        }
        for report in (pair.first, pair.second)
    ]
    rows = []
    for key in dict.fromkeys([*told[0], *told[1]]):
        one, other = (each.get(key, "–") for each in told)
        mark = ' class="warn"' if one != other else ""
        rows.append(
            f'<tr><th scope="row">{html.escape(key)}</th><td>{html.escape(one)}</td>'
            f"<td{mark}>{html.escape(other)}</td></tr>"
        )
    cells = "".join(f'<th scope="col"><button type="button">{html.escape(name)}</button></th>' for name in ("", *names))
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _cell(value: float | None, form: str) -> str:
    return '<td data-v="-1">–</td>' if value is None else f'<td data-v="{value:.6g}">{form.format(value)}</td>'
