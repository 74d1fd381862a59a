"""Tuning the classic's cost on training motions, so that whatever beats it beats it at its best.

Three figures of the cost decide: how much the pose prior counts, where the robust kernel stops listening, and to what
power confidence is believed. Every combination solves the same cells from the same starts; a combination's score is its
mean joint error over that of the present default, averaged over the cells, so that a cell of large errors does not
outvote the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.optimizers.gauss_newton import GaussNewtonOptions
from refit_mv.progress import Progress, quiet
from refit_mv.solve.descent import descend
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.bench.cell import Block, draw_cell
from refit_mv.workshop.bench.motions import BenchMotions
from refit_mv.workshop.bench.request import BenchRequest
from refit_mv.workshop.synthetic.detector_noise import detector_noise


@dataclass(frozen=True)
class TuningGrid:
    """What is tried. ``shape_prior`` and ``confidence_power`` are tried at the best of the other two."""

    pose_prior: tuple[float, ...] = (0.15, 0.3, 0.6, 1.2, 2.4)
    kernel: tuple[float, ...] = (0.04, 0.06, 0.10, 0.16, 0.25)
    confidence_power: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0)
    shape_prior: tuple[float, ...] = (0.3, 1.0, 3.0)
    views: tuple[int, ...] = (2, 4, 8)
    noise: tuple[str, ...] = ("standard", "strong")


@dataclass(frozen=True)
class Trial:
    """One combination: ``errors`` are mean joint errors in metres, one a cell, ``score`` relative to the present
    default.
    """

    cost: CostOptions
    errors: tuple[float, ...]
    score: float


@dataclass(frozen=True)
class Tuning:
    """All trials in the order they were made; ``cells`` names what the errors belong to."""

    cells: tuple[str, ...]
    trials: tuple[Trial, ...]
    reference: Trial

    @property
    def winner(self) -> Trial:
        return min(self.trials, key=lambda trial: trial.score)


def tune(
    request: BenchRequest,
    motions: BenchMotions,
    grid: TuningGrid,
    options: GaussNewtonOptions,
    progress: Progress = quiet,
) -> Tuning:
    """Try the grid about ``request.cost`` with ``request.frames`` frames a cell."""
    cells = [
        (f"{noise} {views}", draw_cell(request, motions.motions, views, detector_noise(noise)).blocks)
        for noise in grid.noise
        for views in grid.views
    ]
    runs = 1 + len(grid.pose_prior) * len(grid.kernel) + len(grid.confidence_power) + len(grid.shape_prior)
    trials: list[Trial] = []
    reference = _errors(request.body, cells, request.cost, options)

    def attempt(costs: Sequence[CostOptions]) -> CostOptions:
        for cost in costs:
            progress("tuning", len(trials) + 1, runs)
            errors = _errors(request.body, cells, cost, options)
            score = sum(ours / theirs for ours, theirs in zip(errors, reference, strict=True)) / len(cells)
            trials.append(Trial(cost, errors, score))
        return min(trials, key=lambda trial: trial.score).cost

    best = attempt(
        [
            replace(request.cost, pose_prior=prior, kernel=kernel)
            for prior, kernel in product(grid.pose_prior, grid.kernel)
        ]
    )
    best = attempt([replace(best, confidence_power=power) for power in grid.confidence_power])
    attempt([replace(best, shape_prior=shape) for shape in grid.shape_prior])
    progress("tuning", runs, runs)
    return Tuning(tuple(name for name, _ in cells), tuple(trials), Trial(request.cost, reference, 1.0))


def _errors(
    body: BodyModel, cells: Sequence[tuple[str, Sequence[Block]]], cost: CostOptions, options: GaussNewtonOptions
) -> tuple[float, ...]:
    """Mean joint error of every cell, metres."""
    chosen = body.smpl_joints
    found = []
    for _, blocks in cells:
        errors = []
        for block in blocks:
            params, _ = descend(block.problem.with_cost(cost), block.start, options)
            miss = posed_joints(body, params).positions - posed_joints(body, block.truth).positions
            errors.append(miss[:, chosen].norm(dim=-1))
        found.append(float(torch.cat(errors).mean()))
    return tuple(found)


def tuning_table(tuning: Tuning) -> str:
    """Every trial, best first, errors in mm."""
    head = f"{'pose prior':>10}  {'kernel':>6}  {'power':>5}  {'shape':>5}  {'score':>6}  " + "  ".join(
        f"{name:>10}" for name in tuning.cells
    )
    lines = [head, _line(tuning.reference) + "  the default"]
    lines.extend(
        _line(trial) for trial in sorted(tuning.trials, key=lambda trial: (math.isnan(trial.score), trial.score))
    )
    return "\n".join(lines) + "\n"


def _line(trial: Trial) -> str:
    cost = trial.cost
    return (
        f"{cost.pose_prior:>10g}  {cost.kernel:>6g}  {cost.confidence_power:>5g}  {cost.shape_prior:>5g}  "
        f"{trial.score:>6.4f}  " + "  ".join(f"{1e3 * error:>10.2f}" for error in trial.errors)
    )
