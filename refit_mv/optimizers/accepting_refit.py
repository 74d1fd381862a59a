"""The learned optimizer behind a check: where it explains less of the evidence than the classic one, the classic result
is taken.

A network may meet what it was never trained on, and has no way to tell. The evidence has: every frame takes one step of
the classic optimizer, which costs a small part of the fit. Where the body explains little, or that one step explains
clearly more, the frame is fitted by the classic optimizer from the same start, and the better of both results is kept.
"""

import time
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.networks.scene import Scene
from refit_mv.networks.unroll import Recurrence
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit import ReFit
from refit_mv.solve.cores import over_cores
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import WELL_EXPLAINED, FitResult, explained_share
from refit_mv.solve.system import RobustCounts, linearise, robust_step
from refit_mv.status import FrameStatus

# A share of the evidence that is worth another fit: two keypoints of four views of 25.
WORTH_A_FIT = 0.02
BATCH_FRAMES = 64


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
        return self.solve_keeping_states(problem, initial)[0]

    def solve_keeping_states(
        self, problem: FitProblem, initial: BodyParams, with_covariance: bool = True
    ) -> tuple[FitResult, Recurrence]:
        """As ``solve``; with it where the recurrent iterations of every frame ended. What the classic optimizer took
        over ends where it put it.
        """
        began = time.perf_counter()
        result, states = self.learned.solve_keeping_states(problem, initial, with_covariance)
        if problem.shape_mode == "shared":
            return result, states
        doubtful = doubtful_frames(problem, result)
        if bool(doubtful.any()):
            chosen = torch.nonzero(doubtful)[:, 0]
            stand_in = self.classic.solve(problem.frames(chosen), initial[chosen])
            better = stand_in.explained > result.explained[chosen]
            result = _take_over(result, stand_in, chosen, better)
            estimate = states.predictions[-1]
            taken = stand_in.params[better].to(estimate.pelvis.dtype)
            states = replace(states, predictions=[estimate.put(chosen[better], taken)])
        return replace(result, seconds=time.perf_counter() - began), states


def doubtful_frames(problem: FitProblem, result: FitResult) -> Bool[Tensor, " frame"]:
    """Seen frames whose evidence asks for another fit."""
    explained = result.explained
    return problem.seen & (
        (explained < WELL_EXPLAINED) | (_one_step_share(problem, result.params) > explained + WORTH_A_FIT)
    )


def _one_step_share(problem: FitProblem, params: BodyParams) -> Float[Tensor, " frame"]:
    """What one step of the classic optimizer would explain."""
    parts = over_cores(
        lambda chosen: _one_step(problem.frames(chosen), params[chosen]),
        len(problem),
        BATCH_FRAMES,
        problem.bearing.device,
    )
    return torch.cat(parts)


@torch.no_grad()
def _one_step(problem: FitProblem, params: BodyParams) -> Float[Tensor, " frame"]:
    scene, options = Scene.of_problem(problem), problem.options
    unknowns, rays = scene.unknowns, problem.rays.to(torch.float32)
    here = linearise(unknowns, rays, params.to(torch.float32))
    counts = RobustCounts(options.kernel, options.pose_prior, options.shape_prior)
    step = unknowns.limited(robust_step(unknowns, scene.prior, here, rays.precision, counts).step)
    stepped = unknowns.moved(here.params, here.tangent, step)
    return explained_share(problem, stepped.to(problem.bearing.dtype))


def _take_over(result: FitResult, stand_in: FitResult, chosen: Tensor, better: Bool[Tensor, " chosen"]) -> FitResult:
    """The classic result in the chosen frames where it explains more."""
    frames, rows = chosen[better], torch.nonzero(better)[:, 0]
    status = list(result.status)
    for frame, row in zip(frames.tolist(), rows.tolist(), strict=True):
        mark = stand_in.status[row]
        status[frame] = FrameStatus.CLASSIC if mark is FrameStatus.FITTED else mark

    def patched(old: Tensor, new: Tensor) -> Tensor:
        return old.index_copy(0, frames, new[rows])

    return replace(
        result,
        params=result.params.put(frames, stand_in.params[better]),
        status=tuple(status),
        cost=patched(result.cost, stand_in.cost),
        joint_covariance=patched(result.joint_covariance, stand_in.joint_covariance),
        explained=patched(result.explained, stand_in.explained),
        joint_seen=patched(result.joint_seen, stand_in.joint_seen),
    )
