"""Tuning the classic's time terms on training motions, so that whatever beats it beats it at its best.

Four figures decide: how firmly accelerations are held, from where on they count as impacts, what the pose prior counts
among neighbours, and how velocities are held. A setting's score is its mean joint error over that of the present
default, averaged over the cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.progress import Progress, quiet
from refit_mv.solve.chain_descent import ChainSolver
from refit_mv.solve.over_time import SequenceOptions, fit_over_time
from refit_mv.solve.result import FitResult
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.workshop.bench.filtered import PerFrame
from refit_mv.workshop.bench.sequence_cell import Take


@dataclass(frozen=True)
class TimeGrid:
    """What is tried: factors on all accelerations with each tail, then shares of the pose prior and factors on all
    velocities at the best of these.
    """

    acceleration: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tail: tuple[float, ...] = (0.7, 1.0, 2.0, 3.0)
    pose_prior: tuple[float, ...] = (0.02, 0.05, 0.2, 1.0)
    velocity: tuple[float, ...] = (0.3, 1.0, 3.0)


@dataclass(frozen=True)
class TimeTrial:
    """One setting: ``errors`` are mean joint errors in metres, one a cell, ``score`` relative to the default."""

    options: MotionOptions
    errors: tuple[float, ...]
    score: float


def scaled(options: MotionOptions, acceleration: float = 1.0, velocity: float = 1.0) -> MotionOptions:
    """The options with all accelerations and all velocities multiplied."""
    return replace(
        options,
        pelvis_velocity=options.pelvis_velocity * velocity,
        root_velocity=options.root_velocity * velocity,
        joint_velocity=options.joint_velocity * velocity,
        pelvis_acceleration=options.pelvis_acceleration * acceleration,
        root_acceleration=options.root_acceleration * acceleration,
        joint_acceleration=options.joint_acceleration * acceleration,
    )


def tune_time(
    body: BodyModel,
    cells: Mapping[str, Sequence[Take]],
    grid: TimeGrid,
    options: SequenceOptions,
    default: MotionOptions,
    progress: Progress = quiet,
) -> tuple[TimeTrial, ...]:
    """Try the grid about ``default``; the first trial is the default itself. Frames are fitted alone once, every
    setting goes on from there.
    """
    alone = {
        name: [PerFrame(GaussNewton()).solve(take.problem, take.start) for take in takes]
        for name, takes in cells.items()
    }
    runs = 1 + len(grid.acceleration) * len(grid.tail) + len(grid.pose_prior) + len(grid.velocity)
    trials: list[TimeTrial] = []

    def attempt(settings: Sequence[MotionOptions]) -> MotionOptions:
        for setting in settings:
            progress("tuning", len(trials), runs)
            errors = tuple(_error(body, takes, alone[name], setting, options) for name, takes in cells.items())
            reference = trials[0].errors if trials else errors
            score = sum(ours / theirs for ours, theirs in zip(errors, reference, strict=True)) / len(errors)
            trials.append(TimeTrial(setting, errors, score))
        return min(trials, key=lambda trial: trial.score).options

    attempt([default])
    best = attempt([replace(scaled(default, factor), tail=tail) for factor in grid.acceleration for tail in grid.tail])
    best = attempt([replace(best, pose_prior=share) for share in grid.pose_prior])
    attempt([scaled(best, velocity=factor) for factor in grid.velocity])
    progress("tuning", runs, runs)
    return tuple(trials)


def _error(
    body: BodyModel, takes: Sequence[Take], alone: Sequence[FitResult], setting: MotionOptions, options: SequenceOptions
) -> float:
    """Mean joint error of a cell, metres, frames that nobody saw included."""
    chosen = body.smpl_joints
    errors = []
    for take, start in zip(takes, alone, strict=True):
        problem = replace(take.problem, options=replace(take.problem.options, time=setting))
        params = fit_over_time(problem, start, options, ChainSolver(options)).params
        miss = posed_joints(body, params).positions - posed_joints(body, take.truth).positions
        errors.append(miss[:, chosen].norm(dim=-1))
    return float(torch.cat(errors).mean())
