"""The learned optimizer behind a check: where it explains less of the evidence than the classic one, the classic result is taken.

A network may meet what it was never trained on, and has no way to tell. The evidence has: every frame takes one step of the classic optimizer, which costs a small
part of the fit. Where the body explains little, or that one step explains clearly more, the frame is fitted by the classic optimizer from the same start, and the
better of both results is kept.
"""

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyParams
from refit_mv.fitting.gauss_newton import GaussNewton, damped_step
from refit_mv.fitting.normal_equations import linearise, step
from refit_mv.fitting.problem import FitProblem
from refit_mv.fitting.result import WELL_EXPLAINED, FitResult, FrameStatus, explained_share
from refit_mv.learned.optimizer import ReFit

# A share of the evidence that is worth another fit: two keypoints of four views of 25.
WORTH_A_FIT = 0.02
# Light damping: one step shall go nearly all the way to the classic's optimum.
DAMPING = 1e-3


@dataclass(frozen=True)
class AcceptingReFit:
    """``learned`` with ``classic`` as its judge and stand-in."""

    learned: ReFit
    classic: GaussNewton

    @property
    def name(self) -> str:
        return self.learned.name

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Fit all frames from ``initial``; frames that the classic optimizer took over say so in their status."""
        began = time.perf_counter()
        result = self.learned.solve(problem, initial)
        if problem.shape_mode == "shared":
            return result
        doubtful = doubtful_frames(problem, result)
        if bool(doubtful.any()):
            chosen = torch.nonzero(doubtful)[:, 0]
            stand_in = self.classic.solve(problem.frames(chosen), initial[chosen])
            result = _take_over(result, stand_in, chosen)
        return replace(result, seconds=time.perf_counter() - began)


def doubtful_frames(problem: FitProblem, result: FitResult) -> Bool[Tensor, " frame"]:
    """Seen frames whose evidence asks for another fit."""
    explained = result.explained
    return problem.seen & (
        (explained < WELL_EXPLAINED) | (_one_step_share(problem, result.params) > explained + WORTH_A_FIT)
    )


def _one_step_share(problem: FitProblem, params: BodyParams) -> Float[Tensor, " frame"]:
    """What one step of the classic optimizer would explain."""
    with_shape = problem.shape_mode == "free"
    normal = linearise(problem, params, problem.feedback(params), problem.options.kernel, with_shape)
    damping = torch.full((len(problem),), DAMPING, dtype=problem.bearing.dtype, device=problem.bearing.device)
    return explained_share(problem, step(problem, params, damped_step(normal, damping)))


def _take_over(result: FitResult, stand_in: FitResult, chosen: Tensor) -> FitResult:
    """The classic result in the chosen frames where it explains more."""
    better = stand_in.explained > result.explained[chosen]
    frames, rows = chosen[better], torch.nonzero(better)[:, 0]
    status = list(result.status)
    for frame, row in zip(frames.tolist(), rows.tolist(), strict=True):
        mark = stand_in.status[row]
        status[frame] = FrameStatus.CLASSIC if mark is FrameStatus.FITTED else mark

    def patched(old: Tensor, new: Tensor) -> Tensor:
        return old.index_copy(0, frames, new[rows])

    params = BodyParams(
        patched(result.params.pelvis, stand_in.params.pelvis),
        patched(result.params.rotations, stand_in.params.rotations),
        patched(result.params.shape, stand_in.params.shape),
    )
    return replace(
        result,
        params=params,
        status=tuple(status),
        cost=patched(result.cost, stand_in.cost),
        joint_covariance=patched(result.joint_covariance, stand_in.joint_covariance),
        explained=patched(result.explained, stand_in.explained),
    )
