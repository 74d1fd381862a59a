"""What somebody who has looked at a fit can say of its frames, one dataclass for each word of ``edits.yaml``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field, PlainValidator

from refit_mv.body.keypoint_names import landmark_called
from refit_mv.body.sides import LIMBS
from refit_mv.people.edit_values import FrameNumber, FrameRanges, NewId, PersonId, Pixel, ViewName, wrong

Foot = Literal["left", "right"]
Strength = Literal["default", "strong"]


def _read_limbs(value: object) -> tuple[str, ...]:
    limbs = value if isinstance(value, list) else [value]
    if not limbs or any(limb not in LIMBS for limb in limbs):
        raise wrong(f"expected a list of limbs, out of {', '.join(LIMBS)}")
    return tuple(limb for limb in LIMBS if limb in limbs)


def _read_point(value: object) -> str:
    found = landmark_called(value) if isinstance(value, str) else None
    if found is None:
        raise wrong("expected the name of a keypoint, such as LWrist or left_wrist")
    return found


def _one_of(words: tuple[str, ...]) -> Callable[[object], object]:
    def read(value: object) -> object:
        if value not in words:
            raise wrong(f"expected {' or '.join(words)}")
        return value

    return read


Limbs = Annotated[tuple[str, ...], PlainValidator(_read_limbs)]
PointName = Annotated[str, PlainValidator(_read_point)]
FootName = Annotated[Foot, PlainValidator(_one_of(get_args(Foot)))]
StrengthName = Annotated[Strength, PlainValidator(_one_of(get_args(Strength)))]


@dataclass(frozen=True)
class Wrong:
    """What a view shows of the ``person`` (None: of everybody) in these frames is not theirs: it counts for nothing."""

    view: ViewName
    frames: FrameRanges
    person: NewId = None

    def __str__(self) -> str:
        return f"{self.view} is wrong{_of(self.person)} in {self.frames}"


@dataclass(frozen=True)
class SwapSides:
    """Left and right of these limbs are exchanged in a view, for the ``person`` (None: for everybody)."""

    view: ViewName
    frames: FrameRanges
    limbs: Limbs = LIMBS
    person: NewId = None

    def __str__(self) -> str:
        return f"sides of {' and '.join(self.limbs)} exchanged in {self.view}{_of(self.person)} in {self.frames}"


@dataclass(frozen=True)
class Keypoint:
    """In a view's frame the point ``name`` (any tool's name of it) is ``at`` this pixel. ``person`` None: the only
    one.
    """

    view: ViewName
    frame: FrameNumber
    name: PointName
    at: Pixel
    person: NewId = None

    def __str__(self) -> str:
        x, y = self.at or (0.0, 0.0)
        return f"{self.name}{_of(self.person)} is at {x:g},{y:g} of {self.view} in frame {self.frame}"


@dataclass(frozen=True)
class HoldFoot:
    """A foot stands still in these frames. ``person`` None: the only one."""

    foot: FootName
    frames: FrameRanges
    person: NewId = None

    def __str__(self) -> str:
        return f"{self.foot} foot{_of(self.person)} held in {self.frames}"


@dataclass(frozen=True)
class Whose:
    """Whom a view shows ``at`` this pixel in these frames is the person ``is_``, and nobody else."""

    is_: Annotated[PersonId, Field(alias="is")]
    view: ViewName
    frames: FrameRanges
    at: Pixel

    def __str__(self) -> str:
        x, y = self.at or (0.0, 0.0)
        return f"who is at {x:g},{y:g} of {self.view} in {self.frames} is person {self.is_}"


@dataclass(frozen=True)
class Smooth:
    """Frames are tied to their neighbours so firmly. ``person`` None: for everybody."""

    frames: FrameRanges
    strength: StrengthName = "strong"
    person: NewId = None

    def __str__(self) -> str:
        return f"{self.strength} smoothing{_of(self.person)} in {self.frames}"


FrameEdit = Wrong | SwapSides | Keypoint | HoldFoot | Whose | Smooth
# The word that an edit has in the file.
WORDS: dict[str, type[FrameEdit]] = {
    "wrong": Wrong,
    "swap_sides": SwapSides,
    "keypoint": Keypoint,
    "hold_foot": HoldFoot,
    "person": Whose,
    "smooth": Smooth,
}


def _of(person: int | None) -> str:
    return "" if person is None else f" of person {person}"
