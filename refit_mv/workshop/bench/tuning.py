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
from refit_mv.motion.motion import Motion
from refit_mv.optimizers.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.progress import Progress, quiet
from refit_mv.solve.chain_descent import ChainSolver
from refit_mv.solve.descent import descend
from refit_mv.solve.over_time import SequenceOptions, fit_over_time
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.bench.frames import FrameBench, draw_cell
from refit_mv.workshop.bench.peers import PerFrame
from refit_mv.workshop.synthetic.world import noise_named

Setting = TypeVar("Setting", CostOptions, MotionOptions)
Solve = Callable[[Block, Setting], BodyParams]
# Stage after stage, values by the names of a setting's figures; every combination within a stage is tried, about the
# best of all before.
Grid = Sequence[Mapping[str, tuple[float, ...]]]
COST_GRID: Grid = (
    {"pose_prior": (0.15, 0.3, 0.6, 1.2, 2.4), "kernel": (0.04, 0.06, 0.10, 0.16, 0.25)},
    {"confidence_power": (0.5, 1.0, 1.5, 2.0)},
    {"shape_prior": (0.3, 1.0, 3.0)},
)
# Factors on all accelerations and on all velocities.
TIME_GRID: Grid = (
    {"acceleration": (0.5, 1.0, 2.0, 4.0), "tail": (0.7, 1.0, 2.0, 3.0)},
    {"pose_prior": (0.02, 0.05, 0.2, 1.0)},
    {"velocity": (0.3, 1.0, 3.0)},
)
SCALED = ("acceleration", "velocity")


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


def changed(setting: Setting, name: str, value: float) -> Setting:
    """A figure set to the value; all accelerations or all velocities multiplied by it."""
    if name not in SCALED:
        return replace(setting, **{name: value})
    names = [f"{part}_{name}" for part in ("pelvis", "root", "joint")]
    return replace(setting, **{each: value * getattr(setting, each) for each in names})


def tune(
    cells: Mapping[str, Sequence[Block]],
    default: Setting,
    grid: Grid,
    solve: Solve[Setting],
    progress: Progress = quiet,
) -> Tuning[Setting]:
    """Try the default, then the grid."""
    trials: list[Trial[Setting]] = []
    stages = [list(product(*stage.values())) for stage in grid]
    runs = 1 + sum(map(len, stages))

    def attempt(setting: Setting) -> None:
        progress("tuning", len(trials), runs)
        errors = tuple(_mean_error(blocks, setting, solve) for blocks in cells.values())
        usual = trials[0].errors if trials else errors
        score = sum(ours / theirs for ours, theirs in zip(errors, usual, strict=True)) / len(errors)
        trials.append(Trial(setting, errors, score))

    attempt(default)
    for names, stage in zip(grid, stages, strict=True):
        best = Tuning((), tuple(trials)).winner.setting
        for values in stage:
            setting = best
            for name, value in zip(names, values, strict=True):
                setting = changed(setting, name, value)
            attempt(setting)
    progress("tuning", runs, runs)
    return Tuning(tuple(cells), tuple(trials))


def _mean_error(blocks: Sequence[Block], setting: Setting, solve: Solve[Setting]) -> float:
    """Mean joint error, metres, frames that nobody saw included."""
    errors = []
    for block in blocks:
        body = block.problem.body
        miss = posed_joints(body, solve(block, setting)).positions - posed_joints(body, block.truth).positions
        errors.append(miss[:, body.smpl_joints].norm(dim=-1))
    return float(torch.cat(errors).mean())


def tune_cost(
    bench: FrameBench,
    motions: Sequence[Motion],
    options: GaussNewtonOptions,
    grid: Grid = COST_GRID,
    progress: Progress = quiet,
) -> Tuning[CostOptions]:
    """Try the grid about ``bench.cost`` in the benchmark's cells of these motions."""
    cells = {
        f"{noise} {views}": draw_cell(bench, motions, views, noise_named(noise)).blocks
        for noise, views in product(bench.noise, bench.views)
    }

    def solve(block: Block, cost: CostOptions) -> BodyParams:
        return descend(block.problem.with_cost(cost), block.start, options)[0]

    return tune(cells, bench.cost, grid, solve, progress)


def tune_time(
    cells: Mapping[str, Sequence[Block]],
    default: MotionOptions,
    options: SequenceOptions,
    grid: Grid = TIME_GRID,
    progress: Progress = quiet,
) -> Tuning[MotionOptions]:
    """Try the grid about ``default``. Frames are fitted alone once, every setting goes on from there."""
    classic = PerFrame(GaussNewton())
    alone = {block: classic.solve(block.problem, block.start) for blocks in cells.values() for block in blocks}

    def solve(block: Block, setting: MotionOptions) -> BodyParams:
        problem = replace(block.problem, options=replace(block.problem.options, time=setting))
        return fit_over_time(problem, alone[block], options, ChainSolver(options)).params

    return tune(cells, default, grid, solve, progress)


def tuning_table(tuning: Tuning[Setting], grid: Grid) -> str:
    """The default, then every trial, best first: what the grid changes, and errors in mm."""
    names = [name for stage in grid for name in stage]
    fields = [f"joint_{name}" if name in SCALED else name for name in names]

    def line(figures: Sequence[str], score: str, errors: Sequence[str]) -> str:
        cells = [f"{figure:>{max(5, len(name))}}" for figure, name in zip(figures, names, strict=True)]
        return "  ".join([*cells, f"{score:>6}", *(f"{error:>10}" for error in errors)])

    def of(trial: Trial[Setting]) -> str:
        figures = [f"{getattr(trial.setting, field):g}" for field in fields]
        return line(figures, f"{trial.score:.4f}", [f"{1e3 * error:.2f}" for error in trial.errors])

    default, *tried = tuning.trials
    tried.sort(key=lambda trial: (math.isnan(trial.score), trial.score))
    head = line([name.replace("_", " ") for name in names], "score", tuning.cells)
    return "\n".join([head, of(default) + "  the default", *map(of, tried)]) + "\n"
