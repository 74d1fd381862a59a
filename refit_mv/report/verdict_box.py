"""A verdict as a part of the page."""

import html

from refit_mv.finding import Finding
from refit_mv.report.verdict import Verdict

SYMBOLS = {"good": "✓", "check": "!", "bad": "✕"}
LEVEL_WORDS = {"good": "good", "check": "to check", "bad": "problem"}


def verdict_box(judgement: Verdict, most: int | None = None) -> str:
    """Headline and findings. Beyond ``most`` they are there to be unfolded."""

    def item(finding: Finding) -> str:
        advice = f' <span class="advice">{html.escape(finding.advice)}</span>' if finding.advice else ""
        return f'<li class="{finding.level}">{level_mark(finding.level)}<p>{html.escape(finding.text)}{advice}</p></li>'

    shown, more = judgement.findings[:most], judgement.findings[len(judgement.findings[:most]) :]
    rest = f"<details><summary>{len(more)} more</summary><ul>{''.join(map(item, more))}</ul></details>" if more else ""
    return (
        f'<section class="verdict {judgement.level}" aria-label="Verdict"><h2>{html.escape(judgement.headline)}</h2>'
        f"<ul>{''.join(map(item, shown))}</ul>{rest}</section>"
    )


def level_mark(level: str) -> str:
    """A round sign for how good something is."""
    return f'<i class="{level}" aria-label="{LEVEL_WORDS[level]}">{SYMBOLS[level]}</i>'
