"""What a larger heap of takes would cost, from what nights did cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refit_mv.errors import InputError
from refit_mv.farm.manifest import Manifest, State
from refit_mv.farm.places import Place
from refit_mv.farm.receipts import FILE as RECEIPT
from refit_mv.farm.receipts import Receipt
from refit_mv.farm.tasks import Stage
from refit_mv.ranges import require_positive

# What a stage's cost grows with.
UNITS = {
    Stage.READ: "take",
    Stage.DETECT: "picture",
    Stage.ASSOCIATE: "picture",
    Stage.PERFORMER: "person of a take",
    Stage.MEET: "person of a take",
    Stage.FIT: "frame of a person",
    Stage.DELIVER: "frame of a person",
}


@dataclass(frozen=True)
class Heap:
    """So many hours in front of ``cameras``, in takes of ``minutes`` with ``people`` each; ``price`` of an hour of a
    core.
    """

    hours: float
    cameras: int
    fps: float = 60.0
    people: float = 1.0
    minutes: float = 2.0
    price: float = 0.05

    def __post_init__(self) -> None:
        require_positive(self, "hours", "cameras", "fps", "people", "minutes", "price")

    def count(self, unit: str) -> float:
        """How many of a unit there are."""
        frames, takes = self.hours * 3600 * self.fps, self.hours * 60 / self.minutes
        found = {"take": takes, "picture": frames * self.cameras, "person of a take": takes * self.people}
        return found.get(unit, frames * self.people)


@dataclass(frozen=True)
class StageShare:
    """``seconds`` of a core for each unit, over ``units`` of them, as they were measured."""

    stage: Stage
    unit: str
    seconds: float
    units: float

    def hours(self, heap: Heap) -> float:
        """Hours of a core for the heap."""
        return self.seconds * heap.count(self.unit) / 3600


def shares(books: Sequence[Manifest]) -> tuple[StageShare, ...]:
    """What each stage costs, from the night that did most of it.

    Raises:
        InputError: no take is done.
    """
    found: dict[Stage, StageShare] = {}
    for book in books:
        measured, days = book.measured(), Counter[str]()
        rows = {row.name: row for row in book.takes(State.DONE)}
        for row in rows.values():
            days[row.day] += len(row.performers)
        totals: dict[Stage, tuple[float, float]] = {}
        for name, take, cpu in measured:
            stage = Stage(name)
            units, spent = totals.get(stage, (0.0, 0.0))
            # A performer was met from all takes of the day.
            more = days[take] if stage is Stage.PERFORMER else _units(UNITS[stage], rows[take].summary)
            totals[stage] = units + more, spent + cpu
        for stage, (units, spent) in totals.items():
            if units and (stage not in found or units > found[stage].units):
                found[stage] = StageShare(stage, UNITS[stage], spent / units, units)
    if not found:
        raise InputError("no take is done in these nights: nothing was measured")
    return tuple(found[stage] for stage in Stage if stage in found)


def _units(unit: str, summary: Mapping[str, Any]) -> float:
    """How many there are in a take."""
    frames, views, people = (float(summary[name]) for name in ("frames", "views", "people"))
    found = {
        "take": 1.0,
        "picture": frames * views,
        "person of a take": people,
        "frame of a person": frames * people,
    }
    return found[unit]


def bytes_of_a_frame(out: Place, book: Manifest) -> float:
    """How long the delivered files of a take are, for each frame of a person; 0 where none are there."""
    total, frames = 0.0, 0.0
    for row in book.takes(State.DONE):
        receipt = Receipt.read((out / row.name).read(RECEIPT))
        if receipt is not None:
            total += sum(each.bytes for each in receipt.files.values())
            frames += row.summary["frames"] * row.summary["people"]
    return total / frames if frames else 0.0
