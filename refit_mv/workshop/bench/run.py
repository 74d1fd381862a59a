"""Running a benchmark: in every cell of evidence every optimizer, on the same evidence from the same start."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from refit_mv.errors import InputError
from refit_mv.progress import Progress, quiet
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.columns import BOUND, Layout, Row

MOST_VIEWS = 16


@dataclass(frozen=True)
class Contender:
    """An optimizer under the name that the table gives it, and the start it is given: "cold" or "truth". ``few``: on so
    many frames everybody is measured apart.
    """

    name: str
    optimizer: Optimizer
    start: str = "cold"
    few: int | None = None


@runtime_checkable
class Cell(Protocol):
    """Evidence that contenders are measured on."""

    def measure(self, contender: Contender) -> list[Row]:
        """What becomes of a contender."""
        ...

    def limits(self) -> list[Row]:
        """What the evidence allows, where that is known."""
        ...


@runtime_checkable
class Bench(Protocol):
    """A benchmark: what is measured, on what, and how it is written down."""

    @property
    def layout(self) -> Layout: ...

    def contenders(self, optimizers: Mapping[str, Optimizer]) -> Sequence[Contender]:
        """What is measured of the optimizers in every cell."""
        ...

    def cells(self) -> Sequence[Callable[[], Cell]]:
        """The cells, to be drawn one after the other: each may fill memory.

        Raises:
            InputError: their evidence cannot be read or made.
        """
        ...


def run_bench(bench: Bench, optimizers: Mapping[str, Optimizer], progress: Progress = quiet) -> tuple[Row, ...]:
    """Measure ``optimizers``, by the name that the table gives them.

    Raises:
        InputError: evidence that cannot be read or made, no optimizer, or one called "bound".
    """
    if BOUND in optimizers or not optimizers:
        raise InputError(f"give at least one optimizer, and none called '{BOUND}'")
    contenders, cells = bench.contenders(optimizers), bench.cells()
    runs, rows = len(contenders) * len(cells), []
    for place, draw in enumerate(cells):
        cell = draw()
        for number, contender in enumerate(contenders):
            progress("measuring", place * len(contenders) + number, runs)
            rows += cell.measure(contender)
        rows += cell.limits()
    progress("measuring", runs, runs)
    return tuple(rows)


def check_views(views: tuple[int, ...]) -> None:
    """Refuse numbers of views that no rig is made for."""
    for count in views:
        if not 1 <= count <= MOST_VIEWS:
            raise InputError(
                f"cannot measure with {count} views: expected 1 to {MOST_VIEWS}, for example --views 1,2,4,8"
            )
