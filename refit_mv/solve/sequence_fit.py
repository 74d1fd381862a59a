"""From frames fitted one by one to one motion: swapped limbs undone, gaps bridged, windows solved as chains, their
answers joined.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.cores import over_cores
from refit_mv.solve.gaps import bridged_frames, interpolated, seen_frames
from refit_mv.solve.normal_equations import frame_cost
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, explained_share, judge
from refit_mv.solve.sequence_descent import ChainProblem, chain_covariance, descend_chains
from refit_mv.solve.swaps import find_swaps, undo_swaps
from refit_mv.solve.uncertainty import carried_to_joints
from refit_mv.solve.windows import Windows, windows_over
from refit_mv.status import FrameStatus

# What all frames get wrong alike (shape, landmark offsets, a detector's habits) no number of neighbours averages away:
# a standard deviation of a joint per axis, metres. Without it 54 % of the joints' errors lay within one standard
# deviation and 80 % within two (4 views, training motions).
SHARED_SIGMA = 0.0035


@dataclass(frozen=True)
class SequenceOptions:
    """How chains are solved. Windows own about ``core_frames``, look ``halo_frames`` further on both sides, and are
    cross-faded over ``fade_frames`` on each side of a border. ``iterations`` at most, the first ``annealing`` of them
    narrowing the kernel from ``widest_kernel`` (metres at the body) to the problem's own.
    """

    core_frames: int = 256
    halo_frames: int = 32
    fade_frames: int = 8
    iterations: int = 12
    annealing: int = 4
    widest_kernel: float = 0.25
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        require_positive(self, "core_frames", "iterations", "widest_kernel")
        require_not_negative(self, "halo_frames", "fade_frames", "annealing", "tolerance")

    def kernels(self, final: float) -> tuple[float, ...]:
        """Geometric schedule, one kernel an iteration."""
        widest = max(self.widest_kernel, final)
        narrowing = [widest * (final / widest) ** (step / self.annealing) for step in range(self.annealing)]
        return tuple([*narrowing, *[final] * self.iterations][: self.iterations])


def fit_over_time(problem: FitProblem, alone: FitResult, options: SequenceOptions) -> FitResult:
    """Tie frames that were fitted ``alone``: the same problem with its time terms. Frames must be evenly spaced by
    ``problem.time_step``.

    The result's ``per_frame`` are the parameters of ``alone``, ``swapped`` the limbs whose sides were exchanged before
    they were believed.
    """
    step = problem.time_step
    if step is None or len(problem) < 2:
        return alone
    seen = seen_frames(problem.confidence)
    bridged = problem.bridged
    if bridged is None:
        bridged = bridged_frames(seen, step, problem.options.time.longest_gap)
    trusted = seen & torch.tensor([status is not FrameStatus.FAILED for status in alone.status], device=seen.device)
    start = _started(problem.preceding, alone.params, trusted)
    problem = replace(problem, pose_term=problem.pose_term.scaled(problem.options.time.pose_prior))
    swapped = find_swaps(problem, start, trusted)
    problem = undo_swaps(problem, swapped)
    params, covariance = _solve_all(problem, start, seen | bridged, step, options)
    # Where a swap bent the frames that were to show it, the motion of a whole window sees it better.
    more = find_swaps(problem, params, seen | bridged)
    if bool(more.any()):
        problem, swapped = undo_swaps(problem, more), swapped ^ more
        params, covariance = _solve_all(problem, params, seen | bridged, step, options)
    explained = explained_share(problem, params)
    statuses = judge(problem, params, covariance, explained)
    return replace(
        alone,
        params=params,
        status=tuple(
            FrameStatus.BRIDGED if carried else status
            for carried, status in zip(bridged.tolist(), statuses, strict=True)
        ),
        cost=frame_cost(problem, params, problem.feedback(params), problem.options.kernel),
        joint_covariance=covariance,
        explained=explained,
        per_frame=alone.params,
        swapped=swapped,
    )


def _started(preceding: BodyParams | None, params: BodyParams, trusted: Bool[Tensor, " frame"]) -> BodyParams:
    """Every frame where its own fit has it, or between its neighbours."""
    if preceding is None:
        return interpolated(params, trusted)
    known = torch.cat([trusted.new_ones(1), trusted])
    return interpolated(BodyParams.concatenate([preceding[-1:], params]), known)[1:]


def _solve_all(
    problem: FitProblem, start: BodyParams, present: Bool[Tensor, " frame"], step: float, options: SequenceOptions
) -> tuple[BodyParams, Float[Tensor, "frame joint 3 3"]]:
    """All windows, and what they agree on: the motion and the covariances of its joints."""
    windows = windows_over(len(problem), options.core_frames, options.halo_frames, options.fade_frames)
    parts = over_cores(
        lambda chosen: _solve_window(problem, start, present, windows, chosen.start, step, options),
        len(windows.frame),
        1,
        problem.bearing.device,
    )
    motion = windows.join(BodyParams.concatenate([params for params, _ in parts]))
    return motion, windows.join_values(torch.cat([covariance for _, covariance in parts]))


def _solve_window(
    problem: FitProblem,
    start: BodyParams,
    present: Bool[Tensor, " frame"],
    windows: Windows,
    window: int,
    step: float,
    options: SequenceOptions,
) -> tuple[BodyParams, Tensor]:
    """Motion and joint covariances of a window's places. The first window goes on from the frames that precede the
    sequence, which do not move.
    """
    inside = windows.present[window].to(present.device)
    frame = windows.frame[window].to(present.device)[inside]
    here = free = present[frame]
    initial = start[frame]
    before = problem.preceding if window == 0 else None
    count = 0 if before is None else len(before)
    if before is not None:
        # Their evidence has been used already: any frame's will do, for they stay where they are.
        frame = torch.cat([frame.new_zeros(count), frame])
        initial = BodyParams.concatenate([before, initial])
        here, free = torch.cat([here.new_ones(count), here]), torch.cat([here.new_zeros(count), free])
    times = (torch.arange(len(frame), device=present.device).to(problem.bearing) * step)[None]
    chains = ChainProblem(
        problem.frames(frame),
        times,
        here[None],
        free[None],
        problem.options.time.weights(times, problem.body.joint_count),
    )
    kernel = problem.options.kernel
    params = descend_chains(chains, initial, options.kernels(kernel), options.tolerance)
    covariance = carried_to_joints(chains.frames, params, chain_covariance(chains, params, kernel))
    covariance.diagonal(dim1=-2, dim2=-1).add_(SHARED_SIGMA**2)
    # Places beyond the sequence's ends hold anything: nobody reads them.
    place = count + (inside.long().cumsum(0) - 1).clamp_min(0)
    return params[place], covariance[place]
