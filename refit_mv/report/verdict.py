"""The figures in plain words: what is good and what to check."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from refit_mv.body.sides import LIMBS
from refit_mv.finding import Finding, Level
from refit_mv.people.stature import SHORTEST_PERSON, TALLEST_PERSON, rarity, share_as_unusual
from refit_mv.report import measures
from refit_mv.report.quality import QualityReport
from refit_mv.report.unseen import unseen_limbs

# Millimetres at the person. Detectors scatter by 5 to 20 mm at the body (keypoints are not drawn on it), so a median
# within 20 is as good as their evidence; beyond 45 the skeleton is off by more than a joint's width.
ERROR_GOOD_MM, ERROR_BAD_MM = 20.0, 45.0
# The same without a body to measure with: pixels in a picture 1920 wide, at the usual 4 m and 60 degrees (about 2.2 mm
# a pixel).
ERROR_GOOD_PX, ERROR_BAD_PX = 9.0, 20.0
# A left-out view this far from what the others predict (pixels at 1920) and this many times further than the typical
# view is a camera problem, not noise: noise predicts every view about equally badly.
LEFT_OUT_PX, LEFT_OUT_RATIO = 20.0, 1.5
FITTED_GOOD, FITTED_BAD = 0.98, 0.90
SIGMA_GOOD_MM, SIGMA_BAD_MM = 20.0, 60.0
# A known height is met this closely (as a share of it), or lengths are wrong.
HEIGHT_GOOD, HEIGHT_BAD = 0.05, 0.08
# Heights that fewer adults than this share have are worth a question.
USUAL_SHARE = 0.02
# From this share of views on that are as far off as this (pixels at 1920; a decimetre), it is open which are right.
FAR_OUT_PX, MANY_DISAGREE = 50.0, 0.5
# Views in whose pictures somebody stands for less than this share of the frames are not judged by them.
STANDS_IN = 0.1
# A view with confident keypoints in fewer of the person's frames than this hardly takes part.
SEEN_GOOD = 0.5
# A view that exchanges sides in more than this share of its frames deserves a look.
SWAPPED_OFTEN = 0.10
# A headline names no more people than this.
MOST_NAMED = 4


@dataclass(frozen=True)
class Verdict:
    """Everything there is to say about a fit; ``level`` is that of the worst finding, which comes first."""

    level: Level
    headline: str
    findings: tuple[Finding, ...]


def _pixel_scale(report: QualityReport, view: str) -> float:
    """Size of the view's picture relative to 1920 pixels; 1 when the calibration does not say."""
    size = report.rig[view].size
    return max(size) / 1920 if size else 1.0


def verdict(report: QualityReport) -> Verdict:
    """What there is to say about one person's fit."""
    return _judged(_findings(report))


def overall_verdict(reports: Sequence[QualityReport]) -> Verdict:
    """The same about all people of a take; where there are several, each finding and the headline name their person."""
    if len(reports) == 1:
        return verdict(reports[0])
    of_each = [_findings(report) for report in reports]
    shared = [finding for finding in of_each[0] if all(finding in findings for findings in of_each)]
    own = {
        report.whom: [finding for finding in findings if finding not in shared]
        for report, findings in zip(reports, of_each, strict=True)
    }
    named = [replace(each, text=f"{whom}: {each.text}") for whom, findings in own.items() for each in findings]
    judged = _judged([*shared, *named])
    if judged.level == "good" or any(finding.level == judged.level for finding in shared):
        return judged
    about = [whom for whom, findings in own.items() if any(finding.level == judged.level for finding in findings)]
    return replace(judged, headline=f"{judged.headline[:-1]}: {_whose(about, len(reports))}.")


def _whose(about: Sequence[str], people: int) -> str:
    """Whom a headline is about."""
    if len(about) == people:
        return "this is about everybody"
    if len(about) > MOST_NAMED:
        return f"this is about {len(about)} of {people} people"
    words = [each[0].lower() + each[1:] if each.startswith("Person ") else each for each in about]
    return f"this is about {' and '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)}"


def _findings(report: QualityReport) -> tuple[Finding, ...]:
    """Found once for each report: page, summary and command line all ask, and a long take takes a while."""
    if report not in _found:
        _found[report] = _all_findings(report)
    return _found[report]


_found: WeakKeyDictionary[QualityReport, tuple[Finding, ...]] = WeakKeyDictionary()


def _all_findings(report: QualityReport) -> tuple[Finding, ...]:
    # What earlier steps found out explains the figures, and comes before them.
    return (
        *report.findings,
        *_coverage(report),
        *_error(report),
        *_left_out(report),
        *_evidence(report),
        *unseen_limbs(report),
        *_uncertainty(report),
        *_height(report),
        *_jumps(report),
        *_swaps(report),
    )


def _judged(findings: Sequence[Finding]) -> Verdict:
    """The worst first, and a headline."""
    order = {"bad": 0, "check": 1, "good": 2}
    findings = sorted(findings, key=lambda finding: order[finding.level])
    level: Level = findings[0].level
    checks = sum(finding.level != "good" for finding in findings)
    headline = {
        "good": "This fit is good.",
        "check": f"This fit is usable. Look at {'one point' if checks == 1 else f'{checks} points'} first.",
        "bad": "Do not rely on this fit yet.",
    }[level]
    return Verdict(level, headline, tuple(findings))


def _coverage(report: QualityReport) -> list[Finding]:
    counts = measures.status_counts([report])
    present = len(report) - counts["absent"] - counts["bridged"]
    if not present:
        return [
            Finding(
                "coverage",
                "bad",
                "No frame has a person in it.",
                "Check that the keypoints belong to this recording and calibration.",
            )
        ]
    lonely = _resting_on_one_view(report)
    # That one view does not tell as much is no fault of the fit, unless it is the rule.
    lonely = lonely if 2 * lonely < present else 0
    trusted = counts["fitted"] + counts["classic"]
    share = trusted / (present - lonely)
    level: Level = "good" if share >= FITTED_GOOD else "check" if share >= FITTED_BAD else "bad"
    which = "that two views or more show are" if lonely else "are"
    text = f"{trusted:,} of {present - lonely:,} frames with a person {which} fitted ({_percent(share)})"
    names = {"classic": "of these by the classic optimizer", "uncertain": "uncertain", "failed": "failed"}
    others = {**counts, "uncertain": counts["uncertain"] - lonely}
    rest = [f"{others[name]:,} {words}" for name, words in names.items() if others[name]]
    text += f"; {' and '.join(rest)}." if rest else "."
    found = [
        Finding(
            "coverage",
            level,
            text,
            "" if level == "good" else "See the timeline for where, and the frames to look at for why.",
        )
    ]
    if lonely:
        few = lonely <= (1 - FITTED_GOOD) * present
        found.append(
            Finding(
                "coverage",
                "good" if few else "check",
                f"In {lonely:,} of {present:,} frames with a person one view alone shows them: the fit is uncertain "
                "there, above all of how far away they are.",
                "" if few else "Use these frames with the uncertainty that they state, or leave them out.",
            )
        )
    if counts["bridged"]:
        found.append(
            Finding(
                "coverage",
                "good",
                f"In {counts['bridged']:,} frames no view saw the person; the motion before and after carries the "
                "body.",
            )
        )
    if counts["absent"]:
        found.append(
            Finding(
                "coverage", "good", f"In {counts['absent']:,} frames nobody was found; no body is made up for them."
            )
        )
    return found


def _resting_on_one_view(report: QualityReport) -> int:
    """In how many frames the fit is uncertain that one of several views alone shows."""
    alone = ((report.confidence > 0).any(-1).sum(-1) == 1) & (len(report.view_names) > 1)
    return int((alone & (np.array(report.status) == "uncertain")).sum())


def _swaps(report: QualityReport) -> list[Finding]:
    """What was on the wrong sides before the fit exchanged it."""
    if report.swapped is None or not report.swapped.any():
        return []
    share = report.swapped.any(-1).mean(0)
    worst = int(share.argmax())
    counts = [f"{limb} in {int(report.swapped[..., place].sum()):,}" for place, limb in enumerate(LIMBS)]
    level: Level = "good" if share[worst] < SWAPPED_OFTEN else "check"
    return [
        Finding(
            "sides",
            level,
            f"Left was taken for right and exchanged back: {' and '.join(counts)} single pictures, most often in "
            f"{report.view_names[worst]} ({_percent(share[worst])} of its frames).",
            ""
            if level == "good"
            else f"Look at the overlay of {report.view_names[worst]}: a detector that confuses sides so often may "
            "err elsewhere.",
        )
    ]


def _error(report: QualityReport) -> list[Finding]:
    error = measures.overall([report])
    if error.median_px is None:
        return [
            Finding(
                "error",
                "bad",
                "There is not one confident keypoint to compare the body with.",
                "Check the detector's output.",
            )
        ]
    millimetres = measures.median_mm(report)
    if millimetres is not None:
        value, good, bad = millimetres, ERROR_GOOD_MM, ERROR_BAD_MM
        said = f"{error.median_px:.1f} px, about {millimetres:.0f} mm at the person"
    else:
        value = error.median_px / float(np.mean([_pixel_scale(report, view) for view in report.view_names]))
        good, bad = ERROR_GOOD_PX, ERROR_BAD_PX
        said = f"{error.median_px:.1f} px"
    if value <= good:
        return [
            Finding(
                "error", "good", f"The body meets the keypoints as closely as detectors can tell: {said} in the median."
            )
        ]
    advice = (
        "Compare the views below: one bad camera, a wrong frame offset or a poor detector each leave their own pattern."
    )
    if value <= bad:
        return [
            Finding(
                "error",
                "check",
                f"The body misses the keypoints by more than detectors usually scatter: {said} in the median.",
                advice,
            )
        ]
    return [Finding("error", "bad", f"The body does not meet the keypoints: {said} in the median.", advice)]


def _left_out_at_1920(report: QualityReport) -> dict[str, float]:
    """Left-out errors of the views that have one, in pixels of a picture 1920 wide."""
    values = {name: measures.finite((report.left_out_px or {}).get(name)) for name in report.view_names}
    return {name: value / _pixel_scale(report, name) for name, value in values.items() if value is not None}


def disagreeing_views(report: QualityReport) -> dict[str, tuple[float, float]]:
    """Views that the others do not predict: how far off they are, and how far the other views are as a rule, both in
    the view's own pixels.
    """
    values = _left_out_at_1920(report)
    found = {}
    for name, value in values.items():
        others = [other for key, other in values.items() if key != name]
        if others and value > max(LEFT_OUT_PX, LEFT_OUT_RATIO * float(np.median(others))):
            scale = _pixel_scale(report, name)
            found[name] = (value * scale, float(np.median(others)) * scale)
    return found


def _left_out(report: QualityReport) -> list[Finding]:
    values = _left_out_at_1920(report)
    if len(values) < 2:
        return []
    disagreeing = disagreeing_views(report)
    far = [name for name in disagreeing if values[name] > FAR_OUT_PX]
    level: Level = "bad" if len(far) >= MANY_DISAGREE * len(values) else "check"
    found = [
        Finding(
            "left_out",
            level,
            f"View {name} does not agree with the others: without it, they predict its keypoints {off:.0f} px"
            f" from where they are (other views: {usual:.0f} px).",
            "Its calibration or its synchronisation is probably off. Calibrate it again, or fit without this view.",
            (name,),
        )
        for name, (off, usual) in disagreeing.items()
    ]
    typical = float(np.median(list(values.values())))
    if not found and typical > LEFT_OUT_PX:
        text = (
            f"The views do not agree with each other: each is predicted {typical:.0f} px off by the rest (in a "
            "picture 1920 wide)."
        )
        return [
            Finding("left_out", "check", text, "Check the calibration as a whole, its age, and the synchronisation.")
        ]
    return found or [Finding("left_out", "good", "The cameras agree: each view is where the other views predict it.")]


def _evidence(report: QualityReport) -> list[Finding]:
    found = []
    lost = {view for finding in report.findings if finding.key == "lost_views" for view in finding.views}
    there = report.in_picture
    for view, name in enumerate(report.view_names):
        # Whoever stands outside of a picture is not missed there.
        frames = report.posed & there[:, view]
        if name in lost or frames.sum() < STANDS_IN * report.posed.sum() or not frames.any():
            continue
        seen = float(report.confident[frames, view].any(-1).mean())
        if seen < SEEN_GOOD:
            text = f"View {name} has confident keypoints in only {_percent(seen)} of the frames with a person in it."
            found.append(
                Finding("evidence", "check", text, "Is the person in this picture? Was the detector run on it?")
            )
    return found


def _uncertainty(report: QualityReport) -> list[Finding]:
    rows = [row for row in measures.joint_figures(report, seen=True) if row.median_mm is not None]
    if not rows:
        return []
    typical = float(np.median([row.median_mm for row in rows if row.median_mm is not None]))
    worst = max(rows, key=lambda row: row.median_mm or 0.0)
    text = (
        f"Joints are known to {typical:.0f} mm (1 sigma, median); the least certain is {_words(worst.name)} "
        f"with {worst.median_mm:.0f} mm."
    )
    if typical <= SIGMA_GOOD_MM:
        return [Finding("uncertainty", "good", text)]
    level: Level = "check" if typical <= SIGMA_BAD_MM else "bad"
    return [
        Finding("uncertainty", level, text, "More views, or views from more different directions, would help most.")
    ]


def _height(report: QualityReport) -> list[Finding]:
    height, known = measures.finite(report.person_height_m), report.known_height_m
    if height is None:
        return []
    told = f"The person comes out {height:.2f} m tall"
    if known is not None:
        ratio = height / known
        off = abs(float(np.log(ratio)))
        if off <= HEIGHT_GOOD:
            return [Finding("height", "good", f"{told}, and is {known:.2f} m.")]
        return [
            Finding(
                "height",
                "check" if off <= HEIGHT_BAD else "bad",
                f"{told}, but is {known:.2f} m: lengths are {ratio:.2f} times what they should be.",
                "The calibration's unit or scale, or the size of the pictures, is wrong.",
            )
        ]
    if share_as_unusual(height) >= USUAL_SHARE:
        return [Finding("height", "good", f"{told}, a usual height.")]
    return [
        Finding(
            "height",
            "check" if SHORTEST_PERSON <= height <= TALLEST_PERSON else "bad",
            f"{told}; {rarity(height)}.",
            "If it is right, say so with --height; if not, the calibration's unit or scale, the size of the pictures "
            "or the order of the keypoints is wrong.",
        )
    ]


def _jumps(report: QualityReport) -> list[Finding]:
    limit, acceleration = measures.jump_limit(report), measures.joint_acceleration(report)
    if limit is None or acceleration is None:
        return []
    jumps = int((np.nan_to_num(acceleration) > limit).sum())
    if not jumps:
        return [Finding("jumps", "good", "The motion is continuous: no frame jumps away from its neighbours.")]
    text = (
        f"The body jumps in {'one frame' if jumps == 1 else f'{jumps:,} frames'} (more than {limit:.0f} m/s² "
        "on average over its joints)."
    )
    return [Finding("jumps", "check", text, "See whether they are swapped limbs, or a real hit or landing.")]


def _percent(share: float) -> str:
    """Never rounds up to 100 %."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
