"""Which joints the keypoints show, and how far the others may be from where they were put.

A joint that no keypoint pins down is inferred: from the rest of the body, by what poses people take. How well that can
work does not depend on the optimizer, and an optimizer's own covariance need not know it: a network holds what it
guessed. So the covariance of inferred joints is found here: of a body whose shown keypoints lie where they lie, and
whose other joints are distributed as people's poses are, given those.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.solve.cores import over_cores
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.pose_prior import PosePriorTerm
from refit_mv.solve.uncertainty import factored_covariance
from refit_mv.solve.unknowns import POSE_BEGIN

# What a shown keypoint leaves open of the body's surface there, a standard deviation per axis, metres.
SHOWN_NOISE = 0.015
# A joint is seen while it is known to this (metres, 1 sigma), or to so many times what all keypoints of the set would
# tell: COCO's 17 points never tell much of feet and hands.
KNOWN_SIGMA, KNOWN_RATIO = 0.018, 1.6
# How much the pose prior counts here, and what bends between seen ends (a knee between hip and foot) move beyond a
# linear model, a standard deviation per axis in metres: so that 68 % of the errors per axis lie within one sigma, and
# 95 % within three in every part of the body that was hidden (training motions; legs, arms, knees, face only).
PRIOR_COUNT, BEND_SIGMA = 0.65, 0.035
BATCH_FRAMES = 128


def seen_joints(problem: FitProblem) -> Bool[Tensor, "frame joint"]:
    """Joints that the shown landmarks pin down: judged on the mean pose, so that it depends on nothing but them."""
    shown = problem.shown_landmarks
    if bool(shown.all()):
        return shown.new_ones(len(shown), len(problem.mean_pose) + 1)
    patterns, place = torch.unique(shown, dim=0, return_inverse=True)
    every = torch.cat([torch.ones_like(patterns[:1]), patterns])
    rest = problem.body.rest(1)
    mean = replace(rest, rotations=torch.cat([rest.rotations[:, :1], problem.mean_pose[None]], dim=1))
    parts = over_cores(
        lambda chosen: _given(problem, mean[torch.zeros(len(every[chosen]), dtype=torch.long)], every[chosen]),
        len(every),
        BATCH_FRAMES,
        shown.device,
    )
    sigma = torch.cat(parts).diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
    return (sigma[1:] <= (KNOWN_RATIO * sigma[0]).clamp_min(KNOWN_SIGMA))[place] & shown.any(-1, keepdim=True)


def honest_covariance(
    problem: FitProblem,
    params: BodyParams,
    covariance: Float[Tensor, "frame joint 3 3"],
    seen: Bool[Tensor, "frame joint"],
) -> Float[Tensor, "frame joint 3 3"]:
    """An optimizer's covariance of the joints' world positions (m²) with that of inferred joints replaced. Frames that
    show nothing keep theirs.
    """
    shown = problem.shown_landmarks
    rows = torch.nonzero(~seen.all(-1) & shown.any(-1))[:, 0]
    if not len(rows):
        return covariance
    parts = over_cores(
        lambda chosen: _given(problem, params[rows[chosen]], shown[rows[chosen]]),
        len(rows),
        BATCH_FRAMES,
        shown.device,
    )
    own, known = covariance[rows], seen[rows].to(covariance.dtype)
    # Where the body is as a whole is as uncertain as the joints that are seen.
    whole = torch.where(known.any(-1)[:, None], known, torch.ones_like(known))[..., None, None]
    whole = (own * whole).sum(1, keepdim=True) / whole.sum(1, keepdim=True)
    inferred = torch.cat(parts).to(covariance.dtype) + whole
    inferred.diagonal(dim1=-2, dim2=-1).add_(BEND_SIGMA**2)
    return covariance.index_copy(0, rows, torch.where(seen[rows][..., None, None], own, inferred))


def _given(
    problem: FitProblem, params: BodyParams, shown: Bool[Tensor, "frame landmark"]
) -> Float[Tensor, "frame joint 3 3"]:
    """Covariance of the joints' positions given where the shown landmarks are, shape held."""
    unknowns, prior = replace(problem.unknowns, with_shape=False), problem.term(PosePriorTerm)
    jacobian = unknowns.jacobian(pose_landmarks(unknowns.skin, params), unknowns.tangent(params))
    weight = shown.to(jacobian.dtype).repeat_interleave(3, dim=1) / SHOWN_NOISE**2
    normal = jacobian.mT @ (weight[..., None] * jacobian)
    normal[:, POSE_BEGIN:, POSE_BEGIN:] += PRIOR_COUNT * prior.precision
    # The floor is a standard deviation of 1 km: it only keeps the normal matrix invertible.
    normal.diagonal(dim1=-2, dim2=-1).add_(1e-6)
    return factored_covariance(unknowns, params, torch.linalg.cholesky(normal))
