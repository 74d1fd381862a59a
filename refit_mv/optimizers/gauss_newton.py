"""The classic optimizer in one batch: every frame by itself, and then, where frames are neighbours in time, all of them
as one chain. With a shared shape the frames are coupled through a few common unknowns, eliminated by the Schur
complement.
"""

import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.ranges import require_positive
from refit_mv.solve.chain_descent import ChainSolver
from refit_mv.solve.cores import over_cores
from refit_mv.solve.descent import DescentOptions, descend
from refit_mv.solve.over_time import SequenceOptions, fit_over_time
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, concatenate
from refit_mv.solve.shared_shape import solve_shared
from refit_mv.solve.uncertainty import joint_covariance


@dataclass(frozen=True)
class GaussNewtonOptions(DescentOptions):
    """``batch_frames`` are solved side by side. ``sequence``: how frames that are neighbours in time are then solved
    together.
    """

    batch_frames: int = 128
    sequence: SequenceOptions = field(default_factory=SequenceOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "batch_frames")


@dataclass(frozen=True)
class GaussNewton:
    """The classic optimizer in one batch."""

    options: GaussNewtonOptions = GaussNewtonOptions()
    name: str = "gauss-newton"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Fit all frames from ``initial``."""
        began = time.perf_counter()
        if problem.shape_mode == "shared":
            problem, initial = self._share(problem, initial)
        parts = over_cores(
            lambda chosen: self._solve_batch(problem.frames(chosen), initial[chosen]),
            len(problem),
            self.options.batch_frames,
            problem.bearing.device,
        )
        result = fit_over_time(problem, concatenate(parts), self.options.sequence, ChainSolver(self.options.sequence))
        return replace(result, seconds=time.perf_counter() - began)

    def _share(self, problem: FitProblem, initial: BodyParams) -> tuple[FitProblem, BodyParams]:
        """Solve for one shape and one set of offsets, then lock them."""
        # Frames alone first: the coupled problem then starts close, where its plain Gauss–Newton steps are safe.
        alone, _ = descend(replace(problem, shape_mode="free"), initial, self.options)
        params, offset = solve_shared(problem, alone, iterations=self.options.iterations - self.options.annealing)
        return replace(problem, shape_mode="locked", skin=problem.skin.displaced(offset)), params

    def _solve_batch(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        trace: list[Tensor] = []
        params, cost = descend(problem, initial, self.options, trace)
        return FitResult.of(problem, params, joint_covariance(problem, params), cost, torch.stack(trace, dim=-1))
