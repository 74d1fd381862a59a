"""Tuning the classic on training motions, so that whatever beats it beats it at its best.

Of the cost of single frames four figures decide: how much the pose prior counts, where the robust kernel stops
listening, to what power confidence is believed, and how much the shape prior counts; of the time terms: how firmly
accelerations are held, from where on they count as impacts, what the pose prior counts among neighbours, and how
velocities are held. Every setting solves the same cells from the same starts; its score is its mean joint error over
that of the present default, averaged over the cells, so that a cell of large errors does not outvote the others.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Generic, TypeVar

import torch

from refit_mv.body.model import posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.optimizers.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.progress import Progress, quiet
from refit_mv.solve.chain_descent import ChainSolver
from refit_mv.solve.descent import descend
from refit_mv.solve.over_time import SequenceOptions, fit_over_time
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.bench.frames import FrameBench, draw_cell
from refit_mv.workshop.bench.motions import BenchMotions
from refit_mv.workshop.bench.peers import PerFrame
from refit_mv.workshop.synthetic.detector_noise import detector_noise

Setting = TypeVar("Setting")
# From the best setting so far to those that are tried next.
Stage = Callable[[Setting], Sequence[Setting]]
# The tuned figures of a cost, by their headings in the table.
COST_FIGURES = {
    "pose_prior": "pose prior", "kernel": "kernel", "confidence_power": "power", "shape_prior": "shape",
}  # fmt: skip
TIME_FIGURES = {
    "joint_acceleration": "acceleration", "tail": "tail", "pose_prior": "pose prior", "joint_velocity": "velocity",
}  # fmt: skip


@dataclass(frozen=True)
class CostGrid:
    """What is tried of the cost. ``shape_prior`` and ``confidence_power`` are tried at the best of the other two."""

    pose_prior: tuple[float, ...] = (0.15, 0.3, 0.6, 1.2, 2.4)
    kernel: tuple[float, ...] = (0.04, 0.06, 0.10, 0.16, 0.25)
    confidence_power: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    shape_prior: tuple[float, ...] = (0.3, 1.0, 3.0)
    views: tuple[int, ...] = (2, 4, 8)
    noise: tuple[str, ...] = ("standard", "strong")

    def stages(self) -> "list[Stage[CostOptions]]":
        return [
            lambda best: [
                replace(best, pose_prior=prior, kernel=kernel)
                for prior, kernel in product(self.pose_prior, self.kernel)
            ],
            lambda best: [replace(best, confidence_power=power) for power in self.confidence_power],
            lambda best: [replace(best, shape_prior=shape) for shape in self.shape_prior],
        ]


@dataclass(frozen=True)
class TimeGrid:
    """What is tried of the time terms: factors on all accelerations with each tail, then shares of the pose prior and
    factors on all velocities at the best of these.
    """

    acceleration: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tail: tuple[float, ...] = (0.7, 1.0, 2.0, 3.0)
    pose_prior: tuple[float, ...] = (0.02, 0.05, 0.2, 1.0)
    velocity: tuple[float, ...] = (0.3, 1.0, 3.0)

    def stages(self) -> "list[Stage[MotionOptions]]":
        return [
            lambda best: [
                replace(scaled(best, "acceleration", factor), tail=tail)
                for factor, tail in product(self.acceleration, self.tail)
            ],
            lambda best: [replace(best, pose_prior=share) for share in self.pose_prior],
            lambda best: [scaled(best, "velocity", factor) for factor in self.velocity],
        ]


def scaled(options: MotionOptions, kind: str, factor: float) -> MotionOptions:
    """The options with all accelerations or all velocities multiplied."""
    names = [f"{part}_{kind}" for part in ("pelvis", "root", "joint")]
    return replace(options, **{name: factor * getattr(options, name) for name in names})


@dataclass(frozen=True)
class Trial(Generic[Setting]):
    """One setting: ``errors`` are mean joint errors in metres, one a cell, ``score`` relative to the default."""

    setting: Setting
    errors: tuple[float, ...]
    score: float


@dataclass(frozen=True)
class Tuning(Generic[Setting]):
    """All trials in the order they were made, the present default first; ``cells`` names what the errors belong to."""

    cells: tuple[str, ...]
    trials: tuple[Trial[Setting], ...]

    @property
    def winner(self) -> Trial[Setting]:
        return min(self.trials, key=lambda trial: trial.score)


def tune(
    cells: Mapping[str, Sequence[Block]],
    default: Setting,
    stages: Sequence[Stage[Setting]],
    solve: Callable[[Block, Setting], BodyParams],
    progress: Progress = quiet,
) -> Tuning[Setting]:
    """Try the default, then stage after stage, each about the best of all before."""
    trials: list[Trial[Setting]] = []
    runs = 1 + sum(len(stage(default)) for stage in stages)
    for stage in (lambda setting: [setting], *stages):
        best = min(trials, key=lambda trial: trial.score).setting if trials else default
        for setting in stage(best):
            progress("tuning", len(trials), runs)
            errors = tuple(_mean_error(blocks, setting, solve) for blocks in cells.values())
            usual = trials[0].errors if trials else errors
            score = sum(ours / theirs for ours, theirs in zip(errors, usual, strict=True)) / len(errors)
            trials.append(Trial(setting, errors, score))
    progress("tuning", runs, runs)
    return Tuning(tuple(cells), tuple(trials))


def _mean_error(blocks: Sequence[Block], setting: Setting, solve: Callable[[Block, Setting], BodyParams]) -> float:
    """Mean joint error, metres, frames that nobody saw included."""
    errors = []
    for block in blocks:
        body = block.problem.body
        miss = posed_joints(body, solve(block, setting)).positions - posed_joints(body, block.truth).positions
        errors.append(miss[:, body.smpl_joints].norm(dim=-1))
    return float(torch.cat(errors).mean())


def tune_cost(
    bench: FrameBench, motions: BenchMotions, grid: CostGrid, options: GaussNewtonOptions, progress: Progress = quiet
) -> Tuning[CostOptions]:
    """Try the grid about ``bench.cost`` with ``bench.frames`` frames a cell."""
    cells = {
        f"{noise} {views}": draw_cell(bench, motions.motions, views, detector_noise(noise)).blocks
        for noise, views in product(grid.noise, grid.views)
    }

    def solve(block: Block, cost: CostOptions) -> BodyParams:
        return descend(block.problem.with_cost(cost), block.start, options)[0]

    return tune(cells, bench.cost, grid.stages(), solve, progress)


def tune_time(
    cells: Mapping[str, Sequence[Block]],
    grid: TimeGrid,
    options: SequenceOptions,
    default: MotionOptions,
    progress: Progress = quiet,
) -> Tuning[MotionOptions]:
    """Try the grid about ``default``. Frames are fitted alone once, every setting goes on from there."""
    alone = {
        id(block): PerFrame(GaussNewton()).solve(block.problem, block.start)
        for blocks in cells.values()
        for block in blocks
    }

    def solve(block: Block, setting: MotionOptions) -> BodyParams:
        problem = replace(block.problem, options=replace(block.problem.options, time=setting))
        return fit_over_time(problem, alone[id(block)], options, ChainSolver(options)).params

    return tune(cells, default, grid.stages(), solve, progress)


def tuning_table(tuning: Tuning[Setting], figures: Mapping[str, str]) -> str:
    """The default, then every trial, best first; errors in mm. ``figures``: headings by the names of what was tuned."""
    widths = {name: max(5, len(heading)) for name, heading in figures.items()}

    def line(texts: Sequence[str], score: str, errors: Sequence[str]) -> str:
        shown = [f"{text:>{width}}" for text, width in zip(texts, widths.values(), strict=True)]
        return "  ".join([*shown, f"{score:>6}", *(f"{error:>10}" for error in errors)])

    def of(trial: Trial[Setting]) -> str:
        values = [f"{getattr(trial.setting, name):g}" for name in figures]
        return line(values, f"{trial.score:.4f}", [f"{1e3 * error:.2f}" for error in trial.errors])

    default, *tried = tuning.trials
    tried.sort(key=lambda trial: (math.isnan(trial.score), trial.score))
    head = line(tuple(figures.values()), "score", tuning.cells)
    return "\n".join([head, of(default) + "  the default", *map(of, tried)]) + "\n"
