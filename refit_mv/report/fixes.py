"""What would mend frames that deserve a look: the line of ``edits.yaml`` that says so, where the figures tell which."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import yaml
from jaxtyping import Float

from refit_mv.body.sides import LIMBS, mirrored_order
from refit_mv.edits.file import FILE, as_written
from refit_mv.edits.kinds import FrameEdit, Smooth, SwapSides, Wrong
from refit_mv.people.edit_values import Frames
from refit_mv.report import measures
from refit_mv.report.frames_to_check import FrameToCheck
from refit_mv.report.quality import QualityReport

# Sides are taken for exchanged where exchanging them leaves less than this share of the error.
SWAP_GAIN = 0.5
# A view is wrong by itself where it is so many times as far off as the others are meanwhile.
ALONE_RATIO = 2.0
# A correction reaches so far beyond the frames that stand out, seconds.
MARGIN = 0.05


@dataclass(frozen=True)
class Fix:
    """What to do about some frames, and the edit that does it; None where a person must look first."""

    words: str
    edit: FrameEdit | None = None

    @property
    def line(self) -> str | None:
        """The edit as a line of the file."""
        return None if self.edit is None else edit_line(self.edit)


def edit_line(edit: FrameEdit) -> str:
    """An edit as somebody would write it into the file."""
    text = yaml.safe_dump(as_written(edit), default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    # A mapping with one key needs no braces of its own.
    return f"- {text.strip()[1:-1]}"


def fixes_of(report: QualityReport, items: Sequence[FrameToCheck], several: bool = False) -> list[Fix]:
    """What to do about the frames of each item. ``several``: there are other people, and edits say whom they mean."""
    usual, errors = measures.overall([report]).median_px or 0.0, measures.frame_errors(report)
    person = report.person if several else None
    return [_fix(report, item, person, usual, errors[item.first : item.last + 1]) for item in items]


def _fix(
    report: QualityReport, item: FrameToCheck, person: int | None, usual: float, errors: Float[np.ndarray, "frame view"]
) -> Fix:
    reach = int(np.ceil(MARGIN * report.fps))
    first, last = max(item.first - reach, 0), min(item.last + reach, len(report) - 1)
    frames = Frames(((int(report.frame_numbers[first]), int(report.frame_numbers[last])),))
    view = report.view_names.index(item.view)
    if {"error", "failed", "uncertain", "jump"} & set(item.kinds):
        limbs = tuple(limb for limb in LIMBS if _swapped(report, item, limb, usual))
        if limbs:
            return Fix(
                f"Left and right {' and '.join(limbs)} look exchanged in {item.view}.",
                SwapSides(item.view, frames, limbs, person),
            )
        if "error" in item.kinds and _alone(errors, view):
            return Fix(f"{item.view} alone disagrees: leave it out here.", Wrong(item.view, frames, person))
    if item.kinds[:1] == ("jump",):
        return Fix("No view stands out: if it is no real hit or landing, smooth it.", Smooth(frames, "strong", person))
    return Fix(f"Look, and say what {item.view} shows: refit-mv view FIT")


def _swapped(report: QualityReport, item: FrameToCheck, limb: str, usual: float) -> bool:
    """Whether exchanging a limb's sides would bring its keypoints much nearer to the body in these frames."""
    if report.pixels is None or report.residual is None:
        return False
    view = report.view_names.index(item.view)
    order = np.array(mirrored_order(report.landmark_names, limb))
    moved = order != np.arange(len(order))
    rows = slice(item.first, item.last + 1)
    kept = report.confident[rows, view] & report.confident[rows, view][:, order] & moved
    if not kept.any():
        return False
    body = report.pixels[rows, view] - report.residual[rows, view]
    now = _median(np.linalg.norm(report.residual[rows, view], axis=-1)[kept])
    exchanged = _median(np.linalg.norm(report.pixels[rows, view][:, order] - body, axis=-1)[kept])
    return now > 1.5 * usual and exchanged < SWAP_GAIN * now


def _alone(errors: Float[np.ndarray, "frame view"], view: int) -> bool:
    """Whether this view is far off while the others are not; needs three views, or it is open which is right."""
    others = np.delete(errors, view, axis=1)
    if others.shape[1] < 2 or not np.isfinite(others).any() or not np.isfinite(errors[:, view]).any():
        return False
    return _median(errors[:, view]) > ALONE_RATIO * _median(others)


def _median(values: Float[np.ndarray, "*any"]) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0


def fix_markup(fix: Fix) -> str:
    """Words, and the line to copy."""
    line = fix.line
    code = "" if line is None else f"<code>{html.escape(line)}</code>"
    words, colon, command = fix.words.partition(": refit-mv ")
    told = f"{html.escape(words)}:<code>refit-mv {html.escape(command)}</code>" if colon else html.escape(fix.words)
    return f'<p class="fix">{told}{code}</p>'


def all_fixes(fixes: Sequence[Fix]) -> str:
    """What to run with all edits that are proposed; empty where there are none."""
    lines = [fix.line for fix in fixes if fix.line is not None]
    if not lines:
        return ""
    text, count = html.escape("\n".join(lines)), "1 correction" if len(lines) == 1 else f"{len(lines)} corrections"
    return (
        f'<details class="edits"><summary>{count} to copy</summary><p>Keep those that you agree with '
        f"in <code>FIT/{FILE}</code>, where FIT is the folder of this report, then run "
        f"<code>refit-mv refit FIT</code>. <code>refit-mv view FIT</code> writes such lines by clicks.</p>"
        f"<pre>{text}</pre></details>"
    )
