"""Batched Gauss–Newton: every frame its own small problem, all frames in one batch, and then, where frames are
neighbours in time, all of them as one chain.

Levenberg–Marquardt damping per frame; the robust kernel starts wide and narrows (graduated non-convexity, Blake &
Zisserman 1987), so that a start far off still sees its evidence. With a shared shape the frames are coupled through a
few common unknowns, eliminated by the Schur complement.
"""

import time
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.cores import over_cores
from refit_mv.solve.normal_equations import NormalEquations, frame_cost, linearise, step
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, concatenate, explained_share, judge
from refit_mv.solve.sequence_fit import SequenceOptions, fit_over_time
from refit_mv.solve.shared_shape import solve_shared
from refit_mv.solve.uncertainty import joint_covariance


@dataclass(frozen=True)
class GaussNewtonOptions:
    """``annealing`` of the ``iterations`` narrow the kernel from ``widest_kernel`` (metres at the body) to the
    problem's own. ``sequence``: how frames that are neighbours in time are then solved together.
    """

    iterations: int = 30
    annealing: int = 8
    widest_kernel: float = 0.5
    batch_frames: int = 128
    # A frame is done when a step changes its cost by less than this share.
    tolerance: float = 1e-5
    sequence: SequenceOptions = field(default_factory=SequenceOptions)

    def __post_init__(self) -> None:
        require_positive(self, "iterations", "widest_kernel", "batch_frames")
        require_not_negative(self, "annealing", "tolerance")

    def kernel(self, final: float, iteration: int) -> float:
        """Geometric schedule."""
        if iteration >= self.annealing or self.widest_kernel <= final:
            return final
        return self.widest_kernel * (final / self.widest_kernel) ** (iteration / self.annealing)


def damped_step(normal: NormalEquations, damping: Float[Tensor, " frame"]) -> Float[Tensor, "frame unknown"]:
    """Levenberg–Marquardt step (Marquardt's diagonal scaling). A frame whose matrix cannot be factored gets a zero
    step.
    """
    damped = normal.hessian.clone()
    diagonal = damped.diagonal(dim1=-2, dim2=-1)
    diagonal += damping[:, None] * diagonal + 1e-6
    factor, failed = torch.linalg.cholesky_ex(damped)
    delta = -torch.cholesky_solve(normal.gradient[..., None], factor)[..., 0]
    usable = (failed == 0) & torch.isfinite(delta).all(-1)
    return torch.where(usable[:, None], delta, torch.zeros_like(delta))


def descend(
    problem: FitProblem, initial: BodyParams, options: GaussNewtonOptions, trace: list[Tensor] | None = None
) -> tuple[BodyParams, Float[Tensor, " frame"]]:
    """Iterate on independent frames; returns the parameters and each frame's cost under the final kernel."""
    with_shape = problem.shape_mode == "free"
    final = problem.options.kernel
    done = initial
    cost_of_all = torch.full((len(problem),), torch.inf, dtype=problem.bearing.dtype, device=problem.bearing.device)
    active = torch.arange(len(problem), device=problem.bearing.device)
    part, params = problem, initial
    damping = torch.full_like(cost_of_all, 1e-3)
    feedback = part.feedback(params)
    for iteration in range(options.iterations):
        kernel = options.kernel(final, iteration)
        cost = frame_cost(part, params, feedback, kernel)
        delta = damped_step(linearise(part, params, feedback, kernel, with_shape), damping)
        trial = step(part, params, delta)
        trial_feedback = part.feedback(trial)
        trial_cost = frame_cost(part, trial, trial_feedback, kernel)
        better = trial_cost < cost
        params = trial.where(better, params)
        damping = torch.where(better, damping / 5, damping * 8).clamp(1e-8, 1e8)
        new_cost = torch.where(better, trial_cost, cost)
        cost_of_all[active] = new_cost
        if trace is not None:
            trace.append(cost_of_all.clone())
        settled = better & (cost - trial_cost <= options.tolerance * cost) | (damping >= 1e7)
        if iteration >= options.annealing and bool(settled.any()):
            done = done.put(active[settled], params[settled])
            left = ~settled
            active, part, params, damping = active[left], part.frames(left), params[left], damping[left]
            if len(active) == 0:
                break
            feedback = part.feedback(params)
        elif bool(better.all()):
            feedback = trial_feedback
        else:
            feedback = part.feedback(params)
    if len(active):
        done = done.put(active, params)
    return done, cost_of_all


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
        result = fit_over_time(problem, concatenate(parts), self.options.sequence)
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
        covariance = joint_covariance(problem, params)
        explained = explained_share(problem, params)
        return FitResult(
            params=params,
            landmark_offset=problem.skin.offset,
            status=judge(problem, params, covariance, explained),
            cost=cost,
            trace=torch.stack(trace, dim=-1),
            joint_covariance=covariance,
            explained=explained,
            seconds=0.0,
        )
