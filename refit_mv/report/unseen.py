"""Limbs that no view sees, in words."""

import numpy as np

from refit_mv.finding import Finding, Level
from refit_mv.report.quality import QualityReport

# A joint inferred in less than this share of the frames with a person is not worth a word; in more than ``ALWAYS``, no
# view sees it at all, as far as words go.
WORTH_A_WORD, ALWAYS = 0.10, 0.95
# With more than this share of the joints inferred, on average over time, there is hardly a body in it.
MOST_OF_THE_BODY = 0.5
# One limb and several, and what their joints are called, one and several. Fingers go with their hand.
LIMBS = {
    ("leg", "legs"): {"knee": "knees", "ankle": "ankles", "foot": "feet"},
    ("arm", "arms"): {"elbow": "elbows", "wrist": "wrists", "hand": "hands"},
    ("head", "head"): {"neck": "neck", "head": "head"},
    ("trunk", "trunk"): {"pelvis": "pelvis", "hip": "hips", "spine": "spine", "shoulder": "shoulders"},
}


def unseen_limbs(report: QualityReport) -> list[Finding]:
    """Which parts of the body were inferred rather than seen, and how far they are known."""
    if report.joint_seen is None or not report.posed.any():
        return []
    missing = ~report.joint_seen & report.posed[:, None]
    share = missing.sum(0) / report.posed.sum()
    sentences, body = [], []
    for limb, parts in LIMBS.items():
        joints = {place: name for place, name in enumerate(report.joint_names) if _part(name) in parts}
        body += joints
        chosen = {place: name for place, name in joints.items() if share[place] > WORTH_A_WORD}
        if chosen:
            places = list(chosen)
            sigma = None if report.joint_sigma_m is None else report.joint_sigma_m[:, places][missing[:, places]]
            sentences.append(_sentence(limb, parts, list(chosen.values()), float(share[places].max()), sigma))
    if not sentences:
        return []
    level: Level = "bad" if share[body].mean() > MOST_OF_THE_BODY else "check"
    advice = "What is inferred is a guess at what people usually do. Files say of every joint whether it was seen."
    return [Finding("unseen_limbs", level, " ".join(sentences), advice)]


def _part(joint: str) -> str:
    """``left_knee`` is a knee, ``spine2`` the spine."""
    return joint.removeprefix("left_").removeprefix("right_").rstrip("0123456789")


def _sentence(
    limb: tuple[str, str], parts: dict[str, str], joints: list[str], share: float, sigma: np.ndarray | None
) -> str:
    sides = {joint.partition("_")[0] for joint in joints if "_" in joint}
    one_side = len(sides) == 1
    side = f"{sides.pop()} " if one_side else ""
    named = [one if one_side else several for one, several in parts.items() if one in {_part(each) for each in joints}]
    words = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    whole = len(named) == len(parts)
    subject = f"{side}{limb[0] if one_side else limb[1]}" if whole else f"{side}{words}"
    begin = "No view sees" if share > ALWAYS else f"In {max(100 * share, 1):.0f} % of the frames no view sees"
    told = np.zeros(0) if sigma is None else sigma[np.isfinite(sigma)]
    known = f", known to about {10 * max(round(100 * float(np.median(told))), 1)} mm" if told.size else ""
    what = f"{words} are" if whole else "what is shown there is"
    return f"{begin} the {subject}: {what} inferred{known}."
