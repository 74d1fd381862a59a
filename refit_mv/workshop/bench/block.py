"""People before one rig: what a detector says of them, the truth behind it, and one start for everybody."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.people.evidence import evidence_on
from refit_mv.solve.gaps import FEWEST_LANDMARKS
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.workshop.bench.run import Contender
from refit_mv.workshop.synthetic.session import SyntheticSession


@dataclass(frozen=True, eq=False)
class Block:
    """Independent frames, or one person's sequence. ``start`` is the cold start, which took ``start_seconds``; ``lost``
    are the frames of a sequence that no view saw on purpose.
    """

    problem: FitProblem
    truth: BodyParams
    start: BodyParams
    start_seconds: float
    session: SyntheticSession
    lost: slice = field(default_factory=lambda: slice(0, 0))

    @staticmethod
    def of_seen(
        body: BodyModel, session: SyntheticSession, cost: CostOptions, frames: int | None = None, runs: int = 1
    ) -> "Block":
        """The first ``frames`` (or all) in which enough is seen; the start is the best of so many runs."""
        evidence = evidence_on(body, session.observations.person(0))
        visible = ((evidence.confidence > 0).any(1).sum(-1) >= FEWEST_LANDMARKS).nonzero()[:frames, 0]
        problem = evidence.frames(visible).problem(body, session.rig, cost, "free")
        return Block(problem, session.truth[visible], *cold_start(problem, runs), session)

    def __len__(self) -> int:
        return len(self.problem)

    def part(self, mask: Bool[Tensor, " frame"]) -> "Block":
        """Some of the frames."""
        return replace(self, problem=self.problem.frames(mask), truth=self.truth[mask], start=self.start[mask])

    def solve(self, contender: Contender) -> tuple[FitResult, float]:
        """The contender's answer, and its seconds by the clock, the start not counted."""
        return solved(contender, self.problem, self.start if contender.start == "cold" else self.truth)


def solved(contender: Contender, problem: FitProblem, start: BodyParams) -> tuple[FitResult, float]:
    """A result and its seconds by the clock."""
    began = time.perf_counter()
    result = contender.optimizer.solve(problem, start)
    return result, time.perf_counter() - began


def cold_start(
    problem: FitProblem, runs: int = 1, dress: Callable[[BodyParams], BodyParams] = lambda start: start
) -> tuple[BodyParams, float]:
    """The start that everybody gets, ``dress`` included, and its seconds: the best of so many runs."""
    seconds = math.inf
    for _ in range(runs):
        began = time.perf_counter()
        start = dress(initialise(problem))
        seconds = min(seconds, time.perf_counter() - began)
    return start, seconds
