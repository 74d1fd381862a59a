"""What an optimizer hands back, and how far to trust it."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.solve.gaps import FEWEST_LANDMARKS
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.term import Feedback
from refit_mv.solve.visibility import honest_covariance, seen_joints
from refit_mv.status import FrameStatus

# A body that explains less than half of its evidence has failed; one that leaves out more than a single bad view of
# four is uncertain.
LEAST_EXPLAINED, WELL_EXPLAINED = 0.5, 0.7
# Median joint uncertainty (metres, one sigma) above which a frame is uncertain: a limb is then somewhere within a
# hand's length.
LARGEST_SIGMA = 0.10


@dataclass(frozen=True, eq=False)
class FitResult:
    """The motion and what is known about it.

    ``landmark_offset`` are the session's rest-pose landmark offsets (metres; zero unless solved for). ``cost`` is the
    final cost per frame, ``trace`` the cost by iteration. ``joint_covariance`` in m² in the world. ``explained`` is the
    share of evidence that the body explains. ``joint_seen`` tells the joints that keypoints pin down, in the frame or
    in a gap that the motion bridges; the others are inferred from them. ``per_frame`` is what each frame said alone,
    where time terms have tied the frames since; ``swapped`` tells which views had arms or legs
    (``body.sides.LIMBS``) on the wrong sides, where anybody looked.
    """

    params: BodyParams
    landmark_offset: Float[Tensor, "landmark 3"]
    status: tuple[FrameStatus, ...]
    cost: Float[Tensor, " frame"]
    trace: Float[Tensor, "frame iteration"]
    joint_covariance: Float[Tensor, "frame joint 3 3"]
    explained: Float[Tensor, " frame"]
    seconds: float
    joint_seen: Bool[Tensor, "frame joint"]
    per_frame: BodyParams | None = None
    swapped: Bool[Tensor, "frame view limb"] | None = None

    @classmethod
    def of(
        cls,
        problem: FitProblem,
        params: BodyParams,
        joint_covariance: Float[Tensor, "frame joint 3 3"],
        cost: Float[Tensor, " frame"] | None = None,
        trace: Float[Tensor, "frame iteration"] | None = None,
    ) -> "FitResult":
        """What is known of where an optimizer arrived. Without ``cost`` it is the problem's there, without ``trace``
        nothing but that. ``joint_covariance`` is the optimizer's own: that of joints which nothing shows is found here.
        ``seconds`` are for whoever has the clock.
        """
        if cost is None:
            guess = problem.look(params)
            feedback, cost = guess.feedback, problem.cost(guess)
        else:
            feedback = problem.feedback(params)
        explained = explained_by(problem, feedback)
        seen = seen_joints(problem)
        joint_covariance = honest_covariance(problem, params, joint_covariance, seen)
        return cls(
            params=params,
            landmark_offset=problem.skin.offset,
            status=judge(problem, params, joint_covariance, explained),
            cost=cost,
            trace=cost[:, None] if trace is None else trace,
            joint_covariance=joint_covariance,
            explained=explained,
            seconds=0.0,
            joint_seen=seen,
        )

    def __getitem__(self, frames: slice) -> "FitResult":
        """A range of frames."""
        return replace(
            self,
            params=self.params[frames],
            status=self.status[frames],
            cost=self.cost[frames],
            trace=self.trace[frames],
            joint_covariance=self.joint_covariance[frames],
            explained=self.explained[frames],
            joint_seen=self.joint_seen[frames],
            per_frame=None if self.per_frame is None else self.per_frame[frames],
            swapped=None if self.swapped is None else self.swapped[frames],
        )

    @property
    def joint_sigma(self) -> Float[Tensor, "frame joint"]:
        """Standard deviation per axis (root mean square over the axes), metres."""
        return (self.joint_covariance.diagonal(dim1=-2, dim2=-1).mean(-1)).clamp_min(0).sqrt()


@runtime_checkable
class Optimizer(Protocol):
    """Anything that turns a problem and a start into a motion. ``name`` is what recipes and tables call it."""

    @property
    def name(self) -> str: ...

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult: ...


def explained_share(problem: FitProblem, params: BodyParams) -> Float[Tensor, " frame"]:
    """Confidence-weighted share of observations within one kernel width of the body; 0 for frames without evidence."""
    return explained_by(problem, problem.feedback(params))


def explained_by(problem: FitProblem, feedback: Feedback) -> Float[Tensor, " frame"]:
    """``explained_share`` of a body whose feedback is at hand."""
    squared = (feedback.residual**2).sum(-1)
    near = (squared < problem.options.kernel**2).to(squared.dtype)
    total = problem.confidence.sum((-1, -2))
    return (near * problem.confidence).sum((-1, -2)) / total.clamp_min(1e-9)


def judge(
    problem: FitProblem,
    params: BodyParams,
    joint_covariance: Float[Tensor, "frame joint 3 3"],
    explained: Float[Tensor, " frame"],
) -> tuple[FrameStatus, ...]:
    """A status for every frame."""
    seen = problem.confidence > 0
    landmarks = seen.any(1).sum(-1)
    views = (seen.sum(-1) >= 3).sum(-1)
    sigma = joint_covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(0).sqrt().median(-1).values
    finite = torch.isfinite(params.rotations).flatten(1).all(-1) & torch.isfinite(params.pelvis).all(-1)
    statuses = []
    for landmark_count, view_count, spread, share, good in zip(
        landmarks.tolist(), views.tolist(), sigma.tolist(), explained.tolist(), finite.tolist(), strict=True
    ):
        if landmark_count < FEWEST_LANDMARKS:
            statuses.append(FrameStatus.ABSENT)
        elif not good or share < LEAST_EXPLAINED:
            statuses.append(FrameStatus.FAILED)
        elif view_count < 2 or share < WELL_EXPLAINED or not spread < LARGEST_SIGMA:
            statuses.append(FrameStatus.UNCERTAIN)
        else:
            statuses.append(FrameStatus.FITTED)
    return tuple(statuses)


def concatenate(parts: list[FitResult]) -> FitResult:
    """Join results along the frame axis; traces of unequal length are padded with their last value."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.trace.shape[-1] for part in parts)
    traces = [
        torch.cat([part.trace, part.trace[:, -1:].expand(-1, longest - part.trace.shape[-1])], -1) for part in parts
    ]
    alone = [part.per_frame for part in parts if part.per_frame is not None]
    swapped = [part.swapped for part in parts if part.swapped is not None]
    return replace(
        parts[0],
        params=BodyParams.concatenate([part.params for part in parts]),
        status=tuple(status for part in parts for status in part.status),
        cost=torch.cat([part.cost for part in parts]),
        trace=torch.cat(traces),
        joint_covariance=torch.cat([part.joint_covariance for part in parts]),
        explained=torch.cat([part.explained for part in parts]),
        seconds=sum(part.seconds for part in parts),
        joint_seen=torch.cat([part.joint_seen for part in parts]),
        per_frame=BodyParams.concatenate(alone) if len(alone) == len(parts) else None,
        swapped=torch.cat(swapped) if len(swapped) == len(parts) else None,
    )
