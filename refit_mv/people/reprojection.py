"""How far the body's landmarks project from the keypoints, in pixels, and what each view says of a body fitted without
it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.geometry.camera import CameraRig, StackedRig
from refit_mv.geometry.projection import project
from refit_mv.people.evidence import Evidence
from refit_mv.people.subject import Subject, spread_frames
from refit_mv.session.observations import CONFIDENT
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import Optimizer

# Left-out errors need a few frames only, and two views to stand on.
LEFT_OUT_FRAMES = 32
FEWEST_VIEWS_TO_LEAVE_ONE_OUT = 3


def pixel_error(
    skin: LandmarkSkin, rig: StackedRig, params: BodyParams, evidence: Evidence
) -> Float[Tensor, "frame view landmark"]:
    """Distance between projected landmarks and their keypoints; NaN where there is no keypoint or the landmark is
    behind the camera.
    """
    pixels, depth = project(rig, pose_landmarks(skin, params).positions)
    error = (pixels - evidence.pixels).norm(dim=-1)
    return torch.where((evidence.confidence > 0) & (depth > 0), error, torch.full_like(error, torch.nan))


def left_out_error(
    body: BodyModel,
    rig: CameraRig,
    evidence: Evidence,
    subject: Subject,
    optimizer: Optimizer,
    options: CostOptions,
    device: torch.device | str,
) -> dict[str, float] | None:
    """Median pixel error of each view when the body is fitted to the others alone, in frames where two of these hold
    it; None where too few would be left. A view far off its neighbours is a calibration or synchronisation to look at.
    """
    if len(rig) < FEWEST_VIEWS_TO_LEAVE_ONE_OUT:
        return None
    some = evidence.frames(spread_frames(evidence, LEFT_OUT_FRAMES))
    medians = {}
    for index, name in enumerate(rig.names):
        problem = subject.lock(some.without_view(index).problem(body, rig, options, "locked", device=device))
        _, error = predicted_view(rig, problem, subject.dress(initialise(problem)), optimizer, some, index)
        known = error[error.isfinite()]
        if len(known):
            medians[name] = float(known.median())
    return medians


def predicted_view(
    rig: CameraRig, problem: FitProblem, start: BodyParams, optimizer: Optimizer, wanted: Evidence, view: int
) -> tuple[BodyParams, Float[Tensor, "frame landmark"]]:
    """The body that a ``problem`` without a ``view`` leads to, and how far it passes by that view's confident points as
    ``wanted`` has them, pixels; NaN where there is none, or not two other views hold the person.
    """
    fitted = optimizer.solve(problem, start).params.to(torch.float64, "cpu")
    error = pixel_error(problem.skin.to(torch.float64, "cpu"), rig.stacked(), fitted, wanted)[:, view]
    told = (wanted.confidence[:, view] > CONFIDENT) & wanted.held_without(view)[:, None]
    return fitted, torch.where(told, error, torch.full_like(error, torch.nan))
