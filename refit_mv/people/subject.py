"""The person behind a session: shape and landmark offsets, solved once from a spread of frames and then locked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.session.observations import spread_rows
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import Optimizer

# Where frames begin: called with a problem and the rows of the evidence that it is about.
Start = Callable[[FitProblem, Tensor], BodyParams]


@dataclass(frozen=True, eq=False)
class Subject:
    """What does not change over a session. Offsets in metres in the rest frame."""

    shape: Float[Tensor, " shape"]
    landmark_offset: Float[Tensor, "landmark 3"]

    def lock(self, problem: FitProblem) -> FitProblem:
        """The problem with this subject's landmark offsets, shape no longer sought."""
        return replace(
            problem, shape_mode="locked", skin=problem.skin.displaced(self.landmark_offset.to(problem.bearing))
        )

    def dress(self, params: BodyParams) -> BodyParams:
        """Parameters with this subject's shape."""
        return replace(params, shape=self.shape.to(params.shape).expand(len(params), -1))


def spread_frames(evidence: Evidence, count: int) -> Tensor:
    """Frames spread over the session, taken among the better-seen half so that shape is learned from good evidence."""
    return best_frames([evidence_quality(evidence)], count)[0]


def evidence_quality(evidence: Evidence) -> Float[np.ndarray, " frame"]:
    """How much is seen in every frame."""
    return evidence.confidence.sum((-1, -2)).numpy()


def best_frames(qualities: Sequence[Float[np.ndarray, " _"]], count: int) -> list[Tensor]:
    """The rows of each of several takes that :func:`spread_frames` would choose of all of them in a row."""
    quality = np.concatenate(qualities)
    good = np.flatnonzero(quality >= max(np.median(quality), 1e-9))
    if not len(good):
        good = np.arange(len(quality))
    chosen = good[spread_rows(len(good), count)]
    ends = np.cumsum([len(each) for each in qualities])
    return [
        torch.from_numpy(chosen[(chosen >= end - len(each)) & (chosen < end)] - (end - len(each)))
        for each, end in zip(qualities, ends, strict=True)
    ]


def meet(
    body: BodyModel,
    rig: CameraRig,
    evidence: Evidence,
    optimizer: Optimizer,
    options: CostOptions,
    frames: int,
    device: torch.device | str,
    start: Start | None = None,
) -> Subject:
    """Solve for the subject of a session, from the keypoints' own start unless another is given."""
    rows = spread_frames(evidence, frames)
    begin = None if start is None else lambda problem, _: start(problem, rows)
    return meet_in(body, rig, evidence.frames(rows), optimizer, options, device, begin)


def meet_in(
    body: BodyModel,
    rig: CameraRig,
    evidence: Evidence,
    optimizer: Optimizer,
    options: CostOptions,
    device: torch.device | str,
    start: Start | None = None,
) -> Subject:
    """Solve for the subject from all frames of the evidence."""
    problem = evidence.problem(body, rig, options, "shared", device=device)
    result = optimizer.solve(
        problem, initialise(problem) if start is None else start(problem, torch.arange(len(evidence)))
    )
    return Subject(result.params.shape[0].cpu(), result.landmark_offset.cpu())
