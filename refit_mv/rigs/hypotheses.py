"""What would explain that rays do not meet: names exchanged, poses read the wrong way, pictures of another size, turned
or mirrored. Each is undone, and rays say whether they meet then.

All of them are so wrong that no small error can be taken for them: rays miss each other ten times as far as with the
right one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.mismatch import (
    ALL_ORDERS,
    BETTER,
    FAR_BETTER,
    GOOD_ENOUGH,
    Order,
    descended,
    points_in_upper_left,
)
from refit_mv.rigs.meeting import View, as_mended, mean, miss, view_through
from refit_mv.rigs.mends import ASKED, LENSES, MENDS, Mend

FRAMES = 40
# Rays of every view miss the others' by less than this (radians): nothing has to be explained.
MEETING = 0.009
# Views that are wrong in ways of their own.
MOST_ROUNDS = 3


@dataclass(frozen=True)
class Reading:
    """How one view is read: what is wrong with it, and the place of the camera that it really is."""

    mend: Mend
    camera: int


Guess = tuple[Reading, ...]


@dataclass(frozen=True, eq=False)
class Explained:
    """The reading under which rays meet best: ``rig`` and ``evidence`` as they are then, ``guess`` what was wrong with
    each view. ``missed`` and ``misses``: radians, as given and with it, of the views that it is about.
    """

    rig: CameraRig
    evidence: Evidence
    guess: Guess
    missed: float
    misses: float

    @property
    def exchanged(self) -> dict[str, str]:
        """Views whose keypoints are another camera's, and whose."""
        names = self.rig.names
        return {names[view]: names[reading.camera] for view, reading in enumerate(self.guess) if reading.camera != view}

    @property
    def in_calibration(self) -> bool:
        """Whether any of it can be mended in the calibration file, as mirrored pictures cannot."""
        return any(
            reading.camera != view or (reading.mend != ASKED and not reading.mend.flip)
            for view, reading in enumerate(self.guess)
        )

    def of(self, mend: Mend) -> tuple[int, ...]:
        """The views with which this is wrong."""
        return tuple(view for view, reading in enumerate(self.guess) if reading.mend == mend)


class _Table:
    """Misses of pairs of views, each once."""

    def __init__(self, rig: CameraRig, evidence: Evidence, rows: Int[Tensor, " frame"]) -> None:
        self.rig, self.evidence, self.rows = rig, evidence, rows
        self.views: dict[tuple[int, Reading], View | None] = {}
        self.misses: dict[tuple[int, Reading, int, Reading], float] = {}

    def view(self, place: int, reading: Reading) -> View | None:
        key = (place, reading)
        if key not in self.views:
            camera = self.rig.cameras[reading.camera]
            self.views[key] = view_through(self.evidence, self.rows, place, camera, reading.mend)
        return self.views[key]

    def miss(self, first: int, second: int, guess: Guess) -> float:
        key = (first, guess[first], second, guess[second])
        if key not in self.misses:
            a, b = self.view(first, guess[first]), self.view(second, guess[second])
            self.misses[key] = float("inf") if a is None or b is None else miss(a, b)
        return self.misses[key]

    def cost(self, guess: Guess, about: frozenset[int] | None = None) -> float:
        """Mean miss of all pairs, or of those that one of the views ``about`` is in."""
        pairs = combinations(range(len(guess)), 2)
        found = [self.miss(i, j, guess) for i, j in pairs if about is None or {i, j} & about]
        return float("inf") if float("inf") in found else mean(found)


def explained(rig: CameraRig, evidence: Evidence, rows: Int[Tensor, " frame"]) -> Explained | None:
    """What makes rays meet that do not as given, None where nothing does or nothing has to."""
    if len(rig) < 2 or not len(rows):
        return None
    table = _Table(rig, evidence, rows)
    given = tuple(Reading(ASKED, view) for view in range(len(rig)))
    best, first = given, table.cost(given)
    if max(_known(table.cost(given, frozenset({view}))) for view in range(len(rig))) < MEETING:
        return None
    for _ in range(MOST_ROUNDS):
        better = min(_neighbours(best, table), key=lambda guess: _finite(table.cost(guess)))
        # Of many views those that were right all along say nothing.
        about = frozenset(view for view in range(len(rig)) if better[view] != best[view])
        if not table.cost(better, about) < FAR_BETTER * table.cost(best, about):
            break
        best = better
    enough = FAR_BETTER
    if best == given and points_in_upper_left(evidence.pixels.numpy(), evidence.confidence.numpy(), rig):
        best, enough = min(_smaller(given), key=lambda guess: _finite(table.cost(guess))), BETTER
    about = frozenset(view for view, reading in enumerate(best) if reading != given[view])
    missed, misses = table.cost(given, about), table.cost(best, about)
    if not about or not np.isfinite(first) or not misses < min(enough * missed, GOOD_ENOUGH):
        return None
    return Explained(*_read(rig, evidence, best), best, missed, misses)


def _known(value: float) -> float:
    """Views that share nothing with others miss nobody."""
    return value if np.isfinite(value) else 0.0


def _smaller(guess: Guess) -> list[Guess]:
    """All pictures made smaller."""
    return [
        tuple(replace(reading, mend=mend) for reading in guess)
        for mend in MENDS
        if mend.factor is not None and mend.factor < 1
    ]


def _finite(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _neighbours(guess: Guess, table: _Table) -> Iterator[Guess]:
    """Everything that one mistake more explains: of one view, of all, or of names."""
    views = range(len(guess))
    for mend in MENDS:
        if mend.key in LENSES:
            continue
        if all(reading.mend == ASKED for reading in guess):
            yield tuple(replace(reading, mend=mend) for reading in guess)
        for view in views:
            if guess[view].mend == ASKED:
                yield (*guess[:view], replace(guess[view], mend=mend), *guess[view + 1 :])
    if len(guess) <= ALL_ORDERS:
        orders = permutations(views)
    else:
        orders = iter([_descend(tuple(reading.camera for reading in guess), guess, table)])
    for order in orders:
        yield tuple(replace(reading, camera=camera) for reading, camera in zip(guess, order, strict=True))


def _descend(order: Order, guess: Guess, table: _Table) -> Order:
    """The best order that exchanges of two, each for the better, lead to."""

    def cost(order: Order) -> float:
        return _finite(
            table.cost(tuple(replace(reading, camera=camera) for reading, camera in zip(guess, order, strict=True)))
        )

    return descended(order, cost)


def _read(rig: CameraRig, evidence: Evidence, guess: Guess) -> tuple[CameraRig, Evidence]:
    """Rig and evidence as the guess has them."""
    cameras, pixels, confidence = [], [], []
    for view, reading in enumerate(guess):
        camera = rig.cameras[reading.camera]
        mended = reading.mend.camera(camera)
        seen = as_mended(evidence, view, camera, reading.mend)
        cameras.append(replace(camera if mended is None else mended, name=rig.names[view]))
        pixels.append(seen.pixels)
        confidence.append(seen.confidence)
    seen = replace(evidence, pixels=torch.cat(pixels, 1), confidence=torch.cat(confidence, 1))
    return CameraRig(tuple(cameras)), seen


def unexplained(rig: CameraRig, evidence: Evidence, rows: Int[Tensor, " frame"]) -> tuple[float, tuple[int, ...]]:
    """By what angle rays miss each other, radians, and the views that all the others miss, where the rest meet."""
    views = range(len(rig))
    table = _Table(rig, evidence, rows)
    given = tuple(Reading(ASKED, view) for view in views)
    whole = table.cost(given)
    if len(rig) < 3:
        return whole, ()
    own = [table.cost(given, frozenset({view})) for view in views]
    worst = max(views, key=lambda view: own[view] if np.isfinite(own[view]) else 0.0)
    rest = mean([table.miss(i, j, given) for i, j in combinations(views, 2) if worst not in (i, j)])
    return whole, (worst,) if rest < FAR_BETTER * own[worst] else ()
