"""One cell of the benchmark: evidence of so many views under so much noise, the truth behind it, and one cold start for
everybody.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from refit_mv.body.params import BodyParams
from refit_mv.motion.motion import Motion
from refit_mv.people.evidence import evidence_on
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FEWEST_LANDMARKS
from refit_mv.workshop.bench.request import BenchRequest
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise
from refit_mv.workshop.synthetic.session import SyntheticSession, independent_frames

# One more frame is drawn for every four, to replace those in which no view saw anybody: a lost view of one, 4 %, leaves
# nothing to measure.
SPARE = 0.25
# The start's time is the best of so many.
TIMED_STARTS = 3


@dataclass(frozen=True, eq=False)
class Block:
    """Independent frames before one rig. ``start`` is the cold start, which took ``start_seconds``."""

    problem: FitProblem
    truth: BodyParams
    start: BodyParams
    start_seconds: float
    session: SyntheticSession

    def __len__(self) -> int:
        return len(self.problem)


@dataclass(frozen=True, eq=False)
class Cell:
    """``blocks`` are measured; ``timed`` is one large batch of the same kind, for time alone."""

    views: int
    noise: DetectorNoise
    blocks: tuple[Block, ...]
    timed: Block

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)


def _block(request: BenchRequest, session: SyntheticSession, frames: int, runs: int = 1) -> Block:
    evidence = evidence_on(request.body, session.observations.person(0))
    visible = ((evidence.confidence > 0).any(1).sum(-1) >= FEWEST_LANDMARKS).nonzero()[:frames, 0]
    problem = evidence.frames(visible).problem(request.body, session.rig, request.cost, "free")
    seconds = math.inf
    for _ in range(runs):
        began = time.perf_counter()
        start = initialise(problem)
        seconds = min(seconds, time.perf_counter() - began)
    return Block(problem, session.truth[visible], start, seconds, session)


def draw_cell(request: BenchRequest, motions: Sequence[Motion], views: int, noise: DetectorNoise) -> Cell:
    """Draw a cell. The same seed gives the same people in the same poses whatever the views and the noise, but for
    frames that had to be replaced.
    """
    blocks = math.ceil(request.frames / request.frames_per_rig)
    sizes = [len(part) for part in torch.arange(request.frames).tensor_split(blocks)]
    drawn = blocks * math.ceil(max(sizes) * (1 + SPARE))
    sessions = independent_frames(request.body, request.keypoints, motions, views, noise, drawn, request.seed, blocks)
    timed = independent_frames(
        request.body,
        request.keypoints,
        motions,
        views,
        noise,
        math.ceil(request.timed_frames * (1 + SPARE)),
        request.seed,
        blocks=1,
    )[0]
    measured = tuple(_block(request, session, size) for session, size in zip(sessions, sizes, strict=True))
    return Cell(views, noise, measured, _block(request, timed, request.timed_frames, TIMED_STARTS))
