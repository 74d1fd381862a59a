"""The figures in plain words: what is good, what to check, and which frames to look at."""

from dataclasses import dataclass

import numpy as np

from refit_mv.body.sides import LIMBS
from refit_mv.finding import Finding, Level
from refit_mv.report import measures
from refit_mv.report.quality import QualityReport

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
# Standing heights outside this range mean that the calibration's unit is wrong, not that the person is unusual.
HEIGHT_RANGE_M = (0.8, 2.3)
# A view with confident keypoints in fewer of the person's frames than this hardly takes part.
SEEN_GOOD = 0.5
# A frame stands out when its error is this many times the recording's median.
OUTLYING_RATIO = 2.5
# Jumps: mean joint acceleration beyond this many robust deviations, and beyond what a jump or a punch reaches on
# average over the body (m/s²).
JUMP_DEVIATIONS, JUMP_FLOOR = 8.0, 60.0
# A view that exchanges sides in more than this share of its frames deserves a look.
SWAPPED_OFTEN = 0.10


@dataclass(frozen=True)
class Verdict:
    """Everything there is to say about a fit; ``level`` is that of the worst finding, which comes first."""

    level: Level
    headline: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class FrameToCheck:
    """A stretch of frames worth a look: result indices ``first`` to ``last``, the worst of them ``index``, and the view
    it is worst in.
    """

    first: int
    last: int
    index: int
    view: str
    reasons: tuple[str, ...]

    @property
    def picture_key(self) -> str:
        """Under this key :func:`write_report` looks for a picture of the frame."""
        return f"frame/{self.view}/{self.index}"


def _pixel_scale(report: QualityReport, view: str) -> float:
    """Size of the view's picture relative to 1920 pixels; 1 when the calibration does not say."""
    size = report.rig[view].size
    return max(size) / 1920 if size else 1.0


def verdict(report: QualityReport) -> Verdict:
    """All findings, the worst first, and a headline."""
    findings = [
        *_coverage(report),
        *_error(report),
        *_left_out(report),
        *_evidence(report),
        *_uncertainty(report),
        *_height(report),
        *_jumps(report),
        *_swaps(report),
        *report.findings,
    ]
    order = {"bad": 0, "check": 1, "good": 2}
    findings.sort(key=lambda finding: order[finding.level])
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
    trusted = counts["fitted"] + counts["classic"]
    share = trusted / present
    level: Level = "good" if share >= FITTED_GOOD else "check" if share >= FITTED_BAD else "bad"
    text = f"{trusted:,} of {present:,} frames with a person are fitted ({_percent(share)})"
    names = {"classic": "of these by the classic optimizer", "uncertain": "uncertain", "failed": "failed"}
    rest = [f"{counts[name]:,} {words}" for name, words in names.items() if counts[name]]
    text += f"; {' and '.join(rest)}." if rest else "."
    found = [
        Finding(
            "coverage",
            level,
            text,
            "" if level == "good" else "See the timeline for where, and the frames to look at for why.",
        )
    ]
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
    found = [
        Finding(
            "left_out",
            "check",
            f"View {name} does not agree with the others: without it, they predict its keypoints {off:.0f} px"
            f" from where they are (other views: {usual:.0f} px).",
            "Its calibration or its synchronisation is probably off. Calibrate it again, or fit without this view.",
        )
        for name, (off, usual) in disagreeing_views(report).items()
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
    for row in measures.view_figures(report):
        if report.posed.any() and row.seen < SEEN_GOOD:
            text = f"View {row.name} has confident keypoints in only {_percent(row.seen)} of the frames with a person."
            found.append(
                Finding("evidence", "check", text, "Is the person in this picture? Was the detector run on it?")
            )
    return found


def _uncertainty(report: QualityReport) -> list[Finding]:
    rows = [row for row in measures.joint_figures(report) if row.median_mm is not None]
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
    height = measures.finite(report.person_height_m)
    if height is None:
        return []
    if HEIGHT_RANGE_M[0] <= height <= HEIGHT_RANGE_M[1]:
        return [Finding("height", "good", f"The person comes out {height:.2f} m tall, as a person should.")]
    return [
        Finding(
            "height",
            "bad",
            f"The person comes out {height:.2f} m tall.",
            "The calibration's unit of length is wrong: give it with --units.",
        )
    ]


def jump_limit(report: QualityReport) -> float | None:
    """Mean joint acceleration (m/s²) beyond which a frame counts as a jump."""
    acceleration = measures.joint_acceleration(report)
    if acceleration is None or not np.isfinite(acceleration).any():
        return None
    values = acceleration[np.isfinite(acceleration)]
    center = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(values - center)))
    return max(center + JUMP_DEVIATIONS * deviation, JUMP_FLOOR)


def _jumps(report: QualityReport) -> list[Finding]:
    limit, acceleration = jump_limit(report), measures.joint_acceleration(report)
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


def frames_to_check(report: QualityReport, most: int = 12) -> tuple[FrameToCheck, ...]:
    """The stretches of frames that most deserve a look, worst first; the three highest errors when nothing stands
    out.
    """
    errors = measures.frame_errors(report)
    overall = measures.overall([report]).median_px
    per_frame = np.where(np.isfinite(errors).any(1), np.nanmax(np.nan_to_num(errors, nan=-1.0), axis=1), np.nan)
    score = np.zeros(len(report))
    reasons: list[dict[str, str]] = [{} for _ in range(len(report))]

    def flag(index: int, kind: str, text: str, weight: float) -> None:
        reasons[index][kind] = text
        score[index] += weight

    limit, acceleration, sigma = jump_limit(report), measures.joint_acceleration(report), measures.frame_sigma(report)
    usual_sigma = None if sigma is None or not np.isfinite(sigma).any() else float(np.nanmedian(sigma))
    for index, status in enumerate(report.status):
        if status == "failed":
            flag(index, status, "the fit failed", 4.0)
        if status == "uncertain":
            flag(index, status, "the fit is uncertain", 1.5)
        if overall and per_frame[index] > OUTLYING_RATIO * overall:
            ratio = per_frame[index] / overall
            flag(
                index,
                "error",
                f"{per_frame[index]:.0f} px off in one view (usual: {overall:.0f} px)",
                ratio / OUTLYING_RATIO,
            )
        if limit is not None and acceleration is not None and acceleration[index] > limit:
            flag(
                index, "jump", f"the body jumps ({acceleration[index]:.0f} m/s²)", min(acceleration[index] / limit, 3.0)
            )
        if sigma is not None and usual_sigma and sigma[index] > max(3 * usual_sigma, SIGMA_GOOD_MM / 1000):
            flag(index, "sigma", f"joints known only to {1000 * sigma[index]:.0f} mm", 1.0)
    flagged = np.flatnonzero(score > 0)
    if not len(flagged):
        ranked = np.argsort(-np.nan_to_num(per_frame, nan=-1.0))[:3]
        chosen = [int(index) for index in ranked if np.isfinite(per_frame[index])]
        return tuple(
            FrameToCheck(
                i, i, i, _worst_view(report, errors[i]), (f"highest error: {per_frame[i]:.0f} px in one view",)
            )
            for i in chosen
        )
    # Frames less than an eighth of a second apart are one event.
    breaks = np.flatnonzero(np.diff(flagged) > max(report.fps / 8, 1)) + 1
    found = []
    for stretch in np.split(flagged, breaks):
        worst = int(stretch[np.argmax(score[stretch])])
        # The worst frame's reasons first, then whatever else happens in the stretch, each kind told once by its worst
        # frame.
        told: dict[str, str] = {}
        for index in (worst, *sorted((int(i) for i in stretch), key=lambda i: -score[i])):
            told = {**reasons[index], **told}
        ordered = list(reasons[worst]) + [kind for kind in told if kind not in reasons[worst]]
        item = FrameToCheck(
            int(stretch[0]),
            int(stretch[-1]),
            worst,
            _worst_view(report, errors[worst]),
            tuple(told[kind] for kind in ordered),
        )
        found.append((float(score[stretch].max()), item))
    found.sort(key=lambda pair: -pair[0])
    return tuple(item for _, item in found[:most])


def _worst_view(report: QualityReport, errors: np.ndarray) -> str:
    return report.view_names[int(np.nanargmax(errors)) if np.isfinite(errors).any() else 0]


def _percent(share: float) -> str:
    """Never rounds up to 100 %."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.1f} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
