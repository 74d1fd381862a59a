"""How well a motion is met: accelerations, impacts, gaps, sides, and whether the stated uncertainty is true."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.workshop.synthetic.impacts import IMPACT_INDEX, impact_peaks

# A fitted peak may come so many frames early or late.
PEAK_SLACK = 2
# Joints that can be on the wrong side, and how far apart (metres) the two sides must truly be for that to mean
# anything.
SIDED = ("elbow", "wrist", "hand", "knee", "ankle", "foot")
APART = 0.10


@dataclass(frozen=True, eq=False)
class SequenceErrors:
    """Measures of one sequence, over SMPL's 24 joints. Frames that no view saw on purpose are kept apart, in ``lost``.

    ``joint`` in metres, ``acceleration`` in m/s² (of inner frames), ``kept`` what is left of each impact's peak
    acceleration along its true direction, ``wrong_side`` of joints that have a side, ``within`` one and two standard
    deviations per axis.
    """

    joint: Float[Tensor, "frame joint"]
    lost: Float[Tensor, "gap joint"]
    acceleration: Float[Tensor, "inner joint"]
    kept: Float[Tensor, " impact"]
    wrong_side: Bool[Tensor, "any_frame sided"]
    within: Bool[Tensor, "frame joint 3 2"]
    lost_within: Bool[Tensor, "gap joint 3 2"]


def accelerations(places: Float[Tensor, "frame joint 3"], fps: float) -> Float[Tensor, "inner joint 3"]:
    """Second differences, m/s²."""
    return (places[2:] - 2 * places[1:-1] + places[:-2]) * fps**2


def peak_places(truth: Float[Tensor, "inner joint 3"], fps: float) -> tuple[Tensor, Tensor]:
    """Frames (counted from the first inner one) and joints at which the true acceleration peaks, the outermost frames
    left out.
    """
    peak = impact_peaks(truth, 1 / fps)
    peak[:PEAK_SLACK], peak[-PEAK_SLACK:] = False, False
    frame, index = peak.nonzero().unbind(-1)
    return frame, torch.tensor(IMPACT_INDEX)[index]


def kept_peaks(
    fitted: Float[Tensor, "inner joint 3"], truth: Float[Tensor, "inner joint 3"], fps: float
) -> Float[Tensor, " impact"]:
    """The fitted acceleration along each impact's true direction over the true peak: the best within the slack. Errors
    across it do not count, so jitter is no merit.
    """
    frame, joint = peak_places(truth, fps)
    peak = truth[frame, joint]
    along = [
        (fitted[frame + shift, joint] * peak).sum(-1) / (peak**2).sum(-1)
        for shift in range(-PEAK_SLACK, PEAK_SLACK + 1)
    ]
    return torch.stack(along).amax(0) if len(frame) else truth.new_zeros(0)


def wrong_sides(
    fitted: Float[Tensor, "frame joint 3"], truth: Float[Tensor, "frame joint 3"]
) -> Bool[Tensor, "frame sided"]:
    """Which joints are nearer to where the other side's truly is; never where the two are close together."""
    found = []
    for name in SIDED:
        left, right = (SMPL_JOINT_NAMES.index(f"{side}_{name}") for side in ("left", "right"))
        apart = (truth[:, left] - truth[:, right]).norm(dim=-1) > APART
        for own, other in ((left, right), (right, left)):
            nearer = (fitted[:, own] - truth[:, other]).norm(dim=-1) < (fitted[:, own] - truth[:, own]).norm(dim=-1)
            found.append(nearer & apart)
    return torch.stack(found, dim=-1)


def sequence_errors(
    body: BodyModel,
    fitted: BodyParams,
    covariance: Float[Tensor, "frame joint 3 3"],
    truth: BodyParams,
    fps: float,
    lost: slice,
) -> SequenceErrors:
    """Compare a sequence with its truth. ``covariance`` of the fitted joints in m²."""
    chosen = body.smpl_joints
    ours, theirs = (posed_joints(body, params).positions[:, chosen] for params in (fitted, truth))
    inside = torch.zeros(len(truth), dtype=torch.bool)
    inside[lost] = True
    error = ours - theirs
    sigma = covariance[:, chosen].diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt().to(error)
    within = torch.stack([error.abs() <= sigma, error.abs() <= 2 * sigma], dim=-1)
    moved, truly = accelerations(ours, fps), accelerations(theirs, fps)
    return SequenceErrors(
        joint=error.norm(dim=-1)[~inside],
        lost=error.norm(dim=-1)[inside],
        acceleration=(moved - truly).norm(dim=-1),
        kept=kept_peaks(moved, truly, fps),
        wrong_side=wrong_sides(ours, theirs),
        within=within[~inside],
        lost_within=within[inside],
    )
