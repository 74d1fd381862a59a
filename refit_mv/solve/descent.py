"""Batched Levenberg–Marquardt: every frame its own small problem, all frames in one batch.

The robust kernel starts wide and narrows (graduated non-convexity, Blake & Zisserman 1987), so that a start far off
still sees its evidence.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.term import NormalEquations


@dataclass(frozen=True)
class DescentOptions:
    """``annealing`` of the ``iterations`` narrow the kernel from ``widest_kernel`` (metres at the body) to the
    problem's own.
    """

    iterations: int = 30
    annealing: int = 8
    widest_kernel: float = 0.5
    # A frame is done when a step changes its cost by less than this share.
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        require_positive(self, "iterations", "widest_kernel")
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
    problem: FitProblem, initial: BodyParams, options: DescentOptions, trace: list[Tensor] | None = None
) -> tuple[BodyParams, Float[Tensor, " frame"]]:
    """Iterate on independent frames; returns the parameters and each frame's cost under the final kernel."""
    final = problem.options.kernel
    done = initial
    cost_of_all = torch.full((len(problem),), torch.inf, dtype=problem.bearing.dtype, device=problem.bearing.device)
    active = torch.arange(len(problem), device=problem.bearing.device)
    part, params = problem, initial
    damping = torch.full_like(cost_of_all, 1e-3)
    here = part.linearise(params)
    for iteration in range(options.iterations):
        kernel = options.kernel(final, iteration)
        cost = part.cost(here, kernel)
        delta = damped_step(part.normal_equations(here, kernel), damping)
        ahead = part.linearise(part.unknowns.moved(params, here.tangent, delta))
        trial, trial_cost = ahead.params, part.cost(ahead, kernel)
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
            here = part.linearise(params)
        elif bool(better.all()):
            here = ahead
        else:
            here = part.linearise(params)
    if len(active):
        done = done.put(active, params)
    return done, cost_of_all
