"""What stands in corrections: numbers of people, stretches of frames, names, pixels.

They are read by hand and not by their types, so that a mistake is told in one sentence.
"""

import re
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Int
from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from refit_mv.errors import InputError

# Nobody's name is longer, and no recording has more people.
LONGEST_NAME, MOST_IDS = 60, 10_000


@dataclass(frozen=True)
class Frames:
    """Frames by the recording's own numbers: stretches, first and last included (None: to the end). Without any: all
    frames.
    """

    stretches: tuple[tuple[int, int | None], ...] = ()

    def __str__(self) -> str:
        words = [str(a) if a == b else f"{a} on" if b is None else f"{a}-{b}" for a, b in self.stretches]
        one = len(words) == 1 and self.stretches[0][0] == self.stretches[0][1]
        return f"{'frame' if one else 'frames'} {', '.join(words)}" if words else "all frames"

    def rows(self, numbers: Int[np.ndarray, " frame"]) -> Bool[np.ndarray, " frame"]:
        """Which rows these are of a take with these frame numbers.

        Raises:
            InputError: a stretch that goes beyond the take, or has none of its frames.
        """
        if not self.stretches:
            return np.ones(len(numbers), dtype=bool)
        chosen = np.zeros(len(numbers), dtype=bool)
        for first, last in self.stretches:
            here = (numbers >= first) & (numbers <= (numbers[-1] if last is None else last))
            if first < numbers[0] or (last or 0) > numbers[-1] or not here.any():
                raise InputError(
                    f"{Frames(((first, last),))}: outside of the take, which has frames {numbers[0]}-{numbers[-1]}"
                )
            chosen |= here
        return chosen


def read_frames(value: object) -> Frames:
    """``37``, ``120-180``, ``140-`` (to the end), or a list of these.

    Raises:
        PydanticCustomError: none of these.
    """

    def stretch(part: object) -> tuple[int, int | None]:
        found = re.fullmatch(r"(\d{1,12})(?:\s*(-)\s*(\d{1,12})?)?", part.strip()) if isinstance(part, str) else None
        if isinstance(part, int) and not isinstance(part, bool) and part >= 0:
            return part, part
        if found is None:
            raise wrong("expected frames like 37, 120-180, 140- (to the end), or a list of these")
        first, last = int(found[1]), int(found[3]) if found[3] else None if found[2] else int(found[1])
        if last is not None and last < first:
            raise wrong("the last frame comes before the first")
        return first, last

    parts = value if isinstance(value, list) else [value]
    if not parts:
        raise wrong("no frames in it; leave it out for all frames")
    return Frames(tuple(stretch(part) for part in parts))


def wrong(text: str) -> PydanticCustomError:
    """One line about a word of a file of corrections."""
    return PydanticCustomError("edit", "{text}", {"text": text})


def _read_person(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_IDS:
        raise wrong("expected the number of a person, as the fit reported it")
    return value


def _read_frame(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**12:
        raise wrong("expected the number of a frame")
    return value


def _read_people(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise wrong("expected the numbers of two people, as in [0, 1]")
    people = tuple(map(_read_person, value))
    if len(set(people)) < len(people):
        raise wrong("names somebody twice")
    return people


def _read_two(value: object) -> tuple[int, int]:
    one, other, *more = _read_people(value)
    if more:
        raise wrong("expected the numbers of two people, as in [0, 1]")
    return one, other


def _read_names(value: object) -> tuple[tuple[int, str], ...]:
    if not isinstance(value, dict) or not value:
        raise wrong("expected numbers of people with their names, as in {0: Anna, 1: Ben}")
    names = []
    for key, name in value.items():
        if not (isinstance(key, str) and key.isdecimal() and len(key) < 5):
            raise wrong(f"'{key}' is no number of a person")
        if not (isinstance(name, str) and name.strip() and len(name) <= LONGEST_NAME and name.isprintable()):
            raise wrong(f"the name of {key} must be a text of one line, up to {LONGEST_NAME} characters")
        names.append((int(key), name.strip()))
    if len({name for _, name in names}) < len(names):
        raise wrong("gives two people one name")
    return tuple(names)


def _read_views(value: object) -> tuple[str, ...]:
    views = value if isinstance(value, list) else [value]
    if not views or not all(isinstance(view, str) for view in views):
        raise wrong("expected the name of a view, or a list of names")
    return tuple(map(str, views))


def _read_view(value: object) -> str:
    if not isinstance(value, str):
        raise wrong("expected the name of a view")
    return value


def _read_detection(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST_IDS:
        raise wrong("expected a detection's place in the view's list, counted from 0")
    return value


def _read_pixel(value: object) -> tuple[float, float]:
    two = value if isinstance(value, list) and len(value) == 2 else []
    if not two or not all(isinstance(part, int | float) and not isinstance(part, bool) for part in two):
        raise wrong("expected a pixel, as in [412, 380]")
    return float(two[0]), float(two[1])


FrameRanges = Annotated[Frames, PlainValidator(read_frames)]
FrameNumber = Annotated[int, PlainValidator(_read_frame)]
PersonId = Annotated[int, PlainValidator(_read_person)]
SeveralIds = Annotated[tuple[int, ...], PlainValidator(_read_people)]
TwoIds = Annotated[tuple[int, int], PlainValidator(_read_two)]
Names = Annotated[tuple[tuple[int, str], ...], PlainValidator(_read_names)]
ViewNames = Annotated[tuple[str, ...], PlainValidator(_read_views)]
NewId = Annotated[int | None, PlainValidator(_read_person)]
ViewName = Annotated[str, PlainValidator(_read_view)]
DetectionNumber = Annotated[int | None, PlainValidator(_read_detection)]
Pixel = Annotated[tuple[float, float] | None, PlainValidator(_read_pixel)]
