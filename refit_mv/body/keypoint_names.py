"""What people call points on a body, as the names of landmarks here: ``LKnee``, ``knee_left`` and ``Left Knee`` are all
``left_knee``."""

import re

from refit_mv.body.landmarks import LANDMARK_NAMES, MARKER_NAMES

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}
_BY_LETTERS = {name.replace("_", ""): name for name in LANDMARK_NAMES if name not in MARKER_NAMES}
# Of the middle of the body; the same word with a side is one of two.
_MIDDLE = {"hip": "mid_hip", "hips": "mid_hip", "pelvis": "mid_hip", "root": "mid_hip", "midhip": "mid_hip"}


def landmark_called(name: str) -> str | None:
    """The landmark that a tool's name for a point means, None for one that no landmark is certain to be."""
    if name in LANDMARK_NAMES:
        return name
    words = [word.lower() for word in _WORDS.findall(name)]
    letters = "".join(words)
    # "lknee" has no capital that would tell the side's letter from the word.
    if len(words) == 1 and letters[:1] in ("l", "r") and f"left{letters[1:]}" in _BY_LETTERS:
        words = [letters[0], letters[1:]]
    sides = [_SIDES[word] for word in words if word in _SIDES]
    if len(sides) > 1:
        return None
    point = "".join(word for word in words if word not in _SIDES)
    if not sides and point in _MIDDLE:
        return _MIDDLE[point]
    return _BY_LETTERS.get("".join(sides) + point)
