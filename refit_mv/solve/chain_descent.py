"""Levenberg–Marquardt on whole chains of frames: the frames' own cost plus the time terms, all windows of a batch at
once.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.solve.chain import ChainSystem, factorise, solve
from refit_mv.solve.over_time import SequenceOptions, Window
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.motion import TimeWeights, linearised_rates, rates, tie, time_cost
from refit_mv.solve.terms.pose_prior import PosePriorTerm
from refit_mv.solve.uncertainty import carried_to_joints

# A chain is done when damping has grown beyond this without finding anything better.
STUCK = 1e6
# Accelerations count by this share when uncertainty is stated: real ones have longer tails than what they cost at rest
# says. In gaps of 0.3 s 79 % of the joints lay within two standard deviations with all of it.
BELIEVED_ACCELERATION = 0.5
# Scatter leaves less than a chain says, a variance: detections scatter less than their confidence is taken to mean.
# Squared residuals of plain noise are 0.53 of what is expected. Chosen on a validation subject's motions.
SCATTER = 0.6
# Damping a chain starts from, and how it follows success and failure.
FIRST_DAMPING, EASE, STIFFEN = 1e-4, 5.0, 8.0


@dataclass(frozen=True, eq=False)
class ChainProblem:
    """Chains of equally many frames: ``frames`` holds them one after the other, ``present`` is False for padding and
    for frames too far from all evidence, ``free`` for these and for frames that stay where they are and only tell the
    others where the motion comes from.
    """

    frames: FitProblem
    times: Float[Tensor, "chain place"]
    present: Bool[Tensor, "chain place"]
    free: Bool[Tensor, "chain place"]
    weights: TimeWeights

    def tied(self) -> "ChainProblem":
        """The same with every term gone that touches a frame that is not present."""
        both = self.present[:, 1:] & self.present[:, :-1]
        three = both[:, 1:] & both[:, :-1]
        weights = TimeWeights(
            self.weights.velocity * both[..., None], self.weights.acceleration * three[..., None], self.weights.tail
        )
        return replace(self, weights=weights)

    def quadratic(self) -> "ChainProblem":
        """The same with every acceleration counting in full: at first most are errors."""
        return replace(self, weights=replace(self.weights, tail=None))

    def cost(self, params: BodyParams, kernel: float) -> Float[Tensor, " chain"]:
        """Twice the negative log-posterior of each chain, up to a constant."""
        own = self.frames.cost(self.frames.look(params), kernel).view_as(self.times)
        shape = self.times.shape
        moved = rates(params.pelvis.unflatten(0, shape), params.rotations.unflatten(0, shape), self.times)
        return (own * self.free).sum(-1) + time_cost(moved, self.times, self.weights)

    def linearised(self, params: BodyParams, kernel: float) -> ChainSystem:
        """Normal equations of the whole chains."""
        normal = self.frames.normal_equations(self.frames.linearise(params), kernel)
        shape = self.times.shape
        system = tie(
            normal.hessian.unflatten(0, shape),
            normal.gradient.unflatten(0, shape),
            linearised_rates(params, self.frames.mean_pose, self.times),
            self.weights,
        )
        return system.restricted(self.free)


def descend_chains(
    problem: ChainProblem, initial: BodyParams, kernels: tuple[float, ...], tolerance: float
) -> BodyParams:
    """One step for every kernel (metres at the body), fewer where the last kernel's steps no longer change a chain's
    cost by more than the share ``tolerance``.
    """
    whole = problem.tied()
    params = initial
    damping = torch.full_like(problem.times[:, 0], FIRST_DAMPING)
    final, at = kernels[-1], None
    cost = torch.zeros_like(damping)
    for kernel in kernels:
        if kernel != at:
            problem = whole if kernel == final else whole.quadratic()
            cost, at = problem.cost(params, kernel), kernel
        delta, _ = solve(problem.linearised(params, kernel).damped(damping))
        unknowns = problem.frames.unknowns
        trial = unknowns.moved(params, unknowns.tangent(params), delta.flatten(0, 1))
        trial_cost = problem.cost(trial, kernel)
        better = trial_cost < cost
        params = trial.where(better.repeat_interleave(problem.times.shape[1]), params)
        damping = torch.where(better, damping / EASE, damping * STIFFEN).clamp_min(1e-8)
        gain = torch.where(better, cost - trial_cost, torch.zeros_like(cost))
        settled = better & (gain <= tolerance * cost) | (damping > STUCK)
        cost = torch.where(better, trial_cost, cost)
        if kernel == final and bool(settled.all()):
            break
    return params


def chain_covariance(
    problem: ChainProblem, params: BodyParams, kernel: float
) -> Float[Tensor, "frame unknown unknown"]:
    """Covariance of every frame's unknowns given all evidence of its chain (Laplace's approximation)."""
    problem = problem.tied()
    believed = replace(problem.weights, acceleration=BELIEVED_ACCELERATION * problem.weights.acceleration)
    system = replace(problem, weights=believed).linearised(params, kernel)
    # The floor is a standard deviation of 1 km: it only keeps frames without any evidence invertible.
    floor = 1e-6 * torch.eye(system.gradient.shape[-1], dtype=system.gradient.dtype, device=system.gradient.device)
    factor = factorise(replace(system, diagonal=system.diagonal + floor))
    return factor.marginal_covariance().flatten(0, 1)


@dataclass(frozen=True)
class ChainSolver:
    """The classic optimizers' way with a window: its frames as one chain."""

    options: SequenceOptions

    def arranged(self, problem: FitProblem) -> FitProblem:
        """With as much of the pose prior as counts among neighbours."""
        return problem.with_term(problem.term(PosePriorTerm).scaled(problem.options.time.pose_prior))

    def solve(
        self, problem: FitProblem, start: BodyParams, window: Window
    ) -> tuple[BodyParams, Float[Tensor, "place joint 3 3"]]:
        """Motion and joint covariances of a window's places."""
        chains, params, place = self._descended(problem, start, window)
        unknowns, kernel = chains.frames.unknowns, problem.options.kernel
        covariance = SCATTER * carried_to_joints(unknowns, params, chain_covariance(chains, params, kernel))
        return params[place], covariance[place]

    def motion(self, problem: FitProblem, start: BodyParams, window: Window) -> BodyParams:
        """The motion alone: half the time."""
        _, params, place = self._descended(problem, start, window)
        return params[place]

    def _descended(
        self, problem: FitProblem, start: BodyParams, window: Window
    ) -> tuple[ChainProblem, BodyParams, Int[Tensor, " place"]]:
        """The window's chain, where it ends, and which of its places is which of the window's."""
        frame = window.frame[window.inside]
        here = free = window.present[window.inside]
        initial, count = start[frame], 0
        if window.preceding is not None:
            # Their evidence has been used already: any frame's will do, for they stay where they are.
            count = len(window.preceding)
            frame = torch.cat([frame.new_zeros(count), frame])
            initial = BodyParams.concatenate([window.preceding, initial])
            here, free = torch.cat([here.new_ones(count), here]), torch.cat([here.new_zeros(count), free])
        step = problem.time_step
        assert step is not None
        times = (torch.arange(len(frame), device=frame.device).to(problem.bearing) * step)[None]
        weights = problem.options.time.weights(times, problem.body.joint_count)
        chains = ChainProblem(problem.frames(frame), times, here[None], free[None], weights)
        params = descend_chains(chains, initial, self.options.kernels(problem.options.kernel), self.options.tolerance)
        # Places beyond the sequence's ends hold anything: nobody reads them.
        return chains, params, count + (window.inside.long().cumsum(0) - 1).clamp_min(0)

    def again(self, params: BodyParams, seen: Bool[Tensor, " frame"], bent: Bool[Tensor, " frame"]) -> "ChainSolver":
        """Itself: it begins wherever it is told to."""
        return self
