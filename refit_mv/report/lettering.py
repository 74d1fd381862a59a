"""Words in pictures of an overlay: the caption, and who is who."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from refit_mv.report.colours import PAPER, Colour, lettering_on
from refit_mv.status import FrameStatus

FONT = cv2.FONT_HERSHEY_SIMPLEX
WORDS = (240, 240, 240)
STATUS_COLOURS = {
    FrameStatus.FITTED: (90, 200, 120),
    FrameStatus.CLASSIC: (90, 190, 180),
    FrameStatus.BRIDGED: (130, 160, 235),
    FrameStatus.UNCERTAIN: (240, 185, 60),
    FrameStatus.FAILED: (235, 90, 80),
    FrameStatus.ABSENT: (150, 150, 150),
}
# A badge's letters are this share of the picture's longer side high, but can always be read, so many pixels.
BADGE_SHARE, BADGE_LEAST = 1 / 72, 11.0
# Height in pixels of the font's digits at scale 1.
DIGIT = 21.0

Picture = UInt8[np.ndarray, "height width 3"]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Badge:
    """A person's number in their colour."""

    text: str
    colour: Colour

    @property
    def plain(self) -> str:
        return _ascii(self.text)


@dataclass(frozen=True)
class Head:
    """Whose head is where in a picture: its middle, and how far its outline is from there, in pixels."""

    badge: Badge
    at: tuple[float, float]
    reach: float


def paint_badges(picture: Picture, heads: Sequence[Head]) -> list[Box]:
    """Each person's badge beside their head, in place, wherever there is room; returns their boxes (left, top, right,
    bottom). Heads outside the picture have none.
    """
    height, width = picture.shape[:2]
    letters = max(BADGE_LEAST, BADGE_SHARE * max(height, width))
    taken: list[Box] = []
    for head in sorted(heads, key=lambda each: each.at[1]):
        x, y = head.at
        if not (-head.reach <= x < width + head.reach and -head.reach <= y < height + head.reach):
            continue
        wide, high = _badge_size(head.badge, letters)
        # A badge on another's head would be taken for theirs.
        others = [_around(other) for other in heads if other is not head]
        box = _beside(head, (wide, high), (width, height), [*taken, *others])
        near = (min(max(round(x), box[0]), box[2]), min(max(round(y), box[1]), box[3]))
        if np.hypot(near[0] - x, near[1] - y) > head.reach + high:
            # Pushed away by others: a line says whose it is.
            cv2.line(picture, near, (round(x), round(y)), head.badge.colour, max(1, round(letters / 8)), cv2.LINE_AA)
        _badge(picture, head.badge, box, letters)
        taken.append(box)
    return taken


def _beside(head: Head, size: tuple[int, int], room: tuple[int, int], taken: Sequence[Box]) -> Box:
    """The first place that is free of what is ``taken`` and inside: right of the head, left of it, above, then further
    and further up and down; right of it, wherever that is, where none is.
    """
    (x, y), (wide, high) = head.at, size
    gap = head.reach + high / 4
    right, left, level = round(x + gap), round(x - gap - wide), round(y - high / 2)
    corners = [(right, level), (left, level), (round(x - wide / 2), round(y - gap - high))]
    corners += [(side, level + way * step * high) for step in range(1, 12) for way in (-1, 1) for side in (right, left)]
    boxes = [(a, b, a + wide, b + high) for a, b in corners]
    inside = [box for box in boxes if box[0] >= 0 and box[1] >= 0 and box[2] <= room[0] and box[3] <= room[1]]
    free = (box for box in inside if not any(_overlap(box, other) for other in taken))
    return next(free, boxes[0])


def _around(head: Head) -> Box:
    (x, y), reach = head.at, head.reach
    return (round(x - reach), round(y - reach), round(x + reach), round(y + reach))


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _badge_size(badge: Badge, letters: float) -> tuple[int, int]:
    (wide, _), _ = cv2.getTextSize(badge.plain, FONT, letters / DIGIT, _thickness(letters))
    return round(wide + letters), round(1.8 * letters)


def _badge(picture: Picture, badge: Badge, box: Box, letters: float) -> None:
    left, top, right, bottom = box
    cv2.rectangle(picture, (left, top), (right, bottom), badge.colour, -1)
    cv2.rectangle(picture, (left, top), (right, bottom), PAPER, max(1, round(letters / 12)), cv2.LINE_AA)
    at = (round(left + letters / 2), round((top + bottom + letters) / 2))
    ink = lettering_on(badge.colour)
    cv2.putText(picture, badge.plain, at, FONT, letters / DIGIT, ink, _thickness(letters), cv2.LINE_AA)


def _thickness(letters: float) -> int:
    return max(1, round(letters / 9))


def paint_caption(picture: Picture, words: str, status: Sequence[str], badges: Sequence[Badge] = ()) -> None:
    """``words`` and everybody's status in the upper left corner, in place; with ``badges`` each after its person's, and
    only what is no plain ``fitted`` in words. Goes on in another line where the picture ends. OpenCV's fonts are ASCII,
    other letters become '?'.
    """
    height, width = picture.shape[:2]
    scale = max(width, height) / 1600
    size, thickness, pad = 0.9 * scale, max(1, round(1.6 * scale)), round(14 * scale)
    text = _ascii(words)
    (wide, letters), baseline = cv2.getTextSize(text, FONT, size, thickness)
    line = letters + baseline + pad
    # Where each status goes: left end and line.
    x, row, places = pad + wide + 2 * pad, 0, []
    told = [word if not badges or word != FrameStatus.FITTED else "" for word in status]
    for place, word in enumerate(told):
        before = _badge_size(badges[place], float(letters))[0] + pad // 2 if badges else 0
        after = cv2.getTextSize(word, FONT, size, thickness)[0][0] + pad if word else 0
        full = before + 2 * pad + after + pad
        if badges and x + full > width and places:
            x, row = pad, row + 1
        places.append((x, row, before))
        x += full if badges else after + 3 * pad
    ends = [left + before for left, _, before in places]
    right = width if row else min(max([x, pad + wide, *ends]), width)
    strip = picture[: min((row + 1) * line + pad, height), :right]
    strip[:] = strip // 4
    cv2.putText(picture, text, (pad, pad + letters), FONT, size, WORDS, thickness, cv2.LINE_AA)
    for place, (word, (left, below, before)) in enumerate(zip(told, places, strict=True)):
        base = pad + letters + below * line
        if badges:
            wide, high = _badge_size(badges[place], float(letters))
            top = base - (letters + high) // 2
            _badge(picture, badges[place], (left, top, left + wide, top + high), float(letters))
        colour = STATUS_COLOURS[FrameStatus(status[place])]
        dot = left + before + (pad if badges else 0)
        cv2.circle(picture, (dot, base - letters // 2), max(2, letters // 3), colour, -1, cv2.LINE_AA)
        cv2.putText(picture, word, (dot + pad, base), FONT, size, colour, thickness, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
