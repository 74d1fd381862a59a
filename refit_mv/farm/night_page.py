"""One page for the night: all takes, those that need a person first, with their reports behind."""

import html
import time
from collections.abc import Sequence
from importlib.resources import files
from urllib.parse import quote

from refit_mv.farm.manifest import Manifest, StageCost, State, TakeRow
from refit_mv.finding import Finding, Level
from refit_mv.report.document import document, section
from refit_mv.report.verdict import Verdict
from refit_mv.report.verdict_box import verdict_box

# What nobody needs to look at comes last.
_LEVELS: dict[str, int] = {"bad": 1, "check": 2, "": 3, "good": 4}
_WORDS = {
    "failed": "failed",
    "bad": "not to rely on",
    "check": "look at it",
    "good": "good",
    "stale": "stale",
    "waiting": "waiting",
    "running": "running",
}
_WANT_A_LOOK, _NOT_DONE = ("failed", "bad", "check"), ("stale", "waiting", "running")
# More takes than this make a page that no browser shows at once; what is good is left out first.
MOST_ROWS = 2000
_STYLE = """
thead tr th{text-align:right;padding:6px 12px}thead tr th.left{text-align:left}
td.words{max-width:42rem;white-space:normal;text-align:left}td.words small{display:block;opacity:.75}
.mark{display:inline-block;padding:.1em .55em;border-radius:1em;font-size:.85em;white-space:nowrap}
.mark.failed,.mark.bad{background:#c0392b;color:#fff}.mark.check{background:#e0a100;color:#1b1400}
.mark.good{background:#2e8b57;color:#fff}.mark.stale,.mark.waiting,.mark.running{background:#7a7f87;color:#fff}
"""


def night_page(book: Manifest, title: str) -> str:
    """The page as text; every name that a user can choose is escaped."""
    rows = ranked(book.takes())
    assets = files("refit_mv.report") / "assets"
    style = (assets / "page.css").read_text(encoding="utf-8") + _STYLE
    sections = [
        f'<header><p class="brand">refit-mv <span>batch</span></p><h1>{html.escape(title)}</h1>'
        f'<p class="facts">{len(rows):,} takes · written {time.strftime("%Y-%m-%d %H:%M")}</p></header>',
        verdict_box(_verdict(rows)),
        _tiles(rows),
        section("takes", "Takes", _table(rows)),
        section("costs", "What it cost", _costs(book.costs())),
    ]
    return document(f"{title} – batch", style, "".join(sections), ("night", {}), "")


def ranked(rows: Sequence[TakeRow]) -> list[TakeRow]:
    """What needs a person first: what failed, what is not to be relied on, what has most to look at."""
    return sorted(rows, key=_rank)


def _rank(row: TakeRow) -> tuple[float, ...]:
    if row.state is State.FAILED:
        return (0.0,)
    level = row.summary.get("level", "") if row.state is State.DONE else ""
    error = row.summary.get("median_px") or 0.0
    return (float(_LEVELS.get(level, 3)), -float(row.summary.get("points", 0)), -_lost_share(row), -float(error))


def _lost_share(row: TakeRow) -> float:
    """The share of a take's frames that are uncertain or failed."""
    status = row.summary.get("status", {})
    return (status.get("uncertain", 0) + status.get("failed", 0)) / max(sum(status.values()), 1)


def _kind(row: TakeRow) -> str:
    return row.summary.get("level", "good") if row.state is State.DONE else str(row.state)


def _verdict(rows: Sequence[TakeRow]) -> Verdict:
    count = {kind: sum(_kind(row) == kind for row in rows) for kind in _WORDS}
    told: tuple[tuple[str, Level, str], ...] = (
        ("failed", "bad", "failed; the reasons are below. What is finished is kept: run the same again."),
        ("bad", "bad", "are not to be relied on as they are."),
        ("check", "check", "are usable, with something to look at first."),
        ("stale", "check", "are made from other inputs, another recipe or version than now: run the same again."),
        ("waiting", "check", "are not done yet: run the same again."),
        ("running", "check", "are being worked on."),
        ("good", "good", "are good."),
    )
    findings = tuple(
        Finding(key, level, f"{_takes(count[key])} {_plural(words, count[key])}")
        for key, level, words in told
        if count[key]
    )
    worst = findings[0].level if findings else "good"
    person, open_ = (sum(count[key] for key in keys) for keys in (_WANT_A_LOOK, _NOT_DONE))
    headline = f"{_takes(person)} of {len(rows)} want a look." if person else "Nothing speaks against these takes."
    if open_:
        headline = f"{_takes(len(rows) - open_)} of {len(rows)} are done. {headline}"
    return Verdict(worst, headline, findings)


def _plural(words: str, count: int) -> str:
    return words if count != 1 else words.replace("are ", "is ", 1).replace("as they are", "as it is")


def _takes(count: int) -> str:
    return f"{count:,} take{'' if count == 1 else 's'}"


def _tiles(rows: Sequence[TakeRow]) -> str:
    frames = sum(row.summary.get("frames", 0) for row in rows)
    people = sum(row.summary.get("frames", 0) * row.summary.get("people", 0) for row in rows)
    seconds = sum(row.seconds for row in rows)
    began, ended = [row.began for row in rows if row.began], [row.ended for row in rows if row.ended]
    tiles = [
        ("Takes", f"{sum(row.state is State.DONE for row in rows):,}", f"done, of {len(rows):,}"),
        ("Frames", f"{frames:,}", f"{people:,} with each person counted"),
        ("Work", _duration(seconds), "of one worker"),
    ]
    if began and ended:
        tiles.append(("Night", _duration(max(ended) - min(began)), "from the first take to the last"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in tiles)
    return f'<dl class="tiles">{cells}</dl>'


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _table(rows: Sequence[TakeRow]) -> str:
    heads = ("take", "", "what to look at", "frames", "people", "median, px", "time")
    head = _heads(heads, 3)
    body = "".join(map(_row, rows[:MOST_ROWS]))
    more = f"<p>{len(rows) - MOST_ROWS:,} more are in the manifest.</p>" if len(rows) > MOST_ROWS else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def _heads(names: Sequence[str], left: int) -> str:
    """A table's head; words stand left, numbers right."""
    return "".join(f"<th{' class=left' * (place < left)}>{name}</th>" for place, name in enumerate(names))


def _row(row: TakeRow) -> str:
    kind, name = _kind(row), html.escape(row.name)
    if row.state in (State.DONE, State.STALE) and row.summary:
        target = quote(f"{row.name}/{row.summary.get('report', 'report.html')}")
        name = f'<a href="{html.escape(target)}">{name}</a>'
    about = " · ".join(html.escape(each) for each in (row.day, ", ".join(row.performers)) if each)
    words = [row.reason] if row.reason else []
    words += row.summary.get("findings", []) if row.state is State.DONE else []
    if not words:
        words = [row.summary.get("headline", "") if row.state is State.DONE else ""]
    more = "".join(f"<small>{html.escape(each)}</small>" for each in words[1:])
    median = row.summary.get("median_px")
    cells = [
        f'<td class="left">{name}{f"<small>{about}</small>" if about else ""}</td>',
        f'<td class="left"><span class="mark {kind}">{_WORDS.get(kind, kind)}</span></td>',
        f'<td class="words">{html.escape(words[0])}{more}</td>',
        f"<td>{row.summary.get('frames', 0):,}</td>" if row.summary else "<td></td>",
        f"<td>{row.summary.get('people', '')}</td>",
        f"<td>{median:.1f}</td>" if isinstance(median, float) else "<td></td>",
        f"<td>{_duration(row.seconds)}</td>" if row.seconds else "<td></td>",
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _costs(costs: Sequence[StageCost]) -> str:
    if not costs:
        return ""
    head = _heads(("stage", "times", "time", "of a core", "of a core, each", "most memory"), 1)
    body = "".join(
        f'<tr><td class="left">{html.escape(each.stage)}</td><td>{each.count:,}</td><td>{_duration(each.seconds)}</td>'
        f"<td>{_duration(each.cpu)}</td><td>{each.cpu / each.count:.2f} s</td><td>{each.peak_mb:,.0f} MB</td></tr>"
        for each in costs
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
