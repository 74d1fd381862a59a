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

# What a keypoint leaves open of where its landmark is, a standard deviation per axis in metres, and how fast that grows
# with the time from its nearest sight, m/s.
SHOWN_NOISE, DRIFT = 0.015, 0.5
# A joint is seen while it is known to this (metres, 1 sigma), or to so many times what all keypoints of the set would
# tell: COCO's 17 points never tell much of feet and hands.
KNOWN_SIGMA, KNOWN_RATIO = 0.018, 1.6
# How much the pose prior counts here, and what bends between seen ends (a knee between hip and foot) may move beyond a
# linear model, a standard deviation per axis in metres. Chosen on training motions with legs, arms, knees, all but the
# torso or all but the face hidden, for good or for moments (docs/fitting.md).
PRIOR_COUNT, BEND_SIGMA = 0.65, 0.035
BATCH_FRAMES = 128


def seen_joints(problem: FitProblem) -> Bool[Tensor, "frame joint"]:
    """Joints that keypoints pin down: judged on the mean pose, so that it depends on nothing but how long landmarks
    are unseen.
    """
    noise = _noise(problem)
    if bool((noise == SHOWN_NOISE).all()):
        return torch.ones(len(noise), len(problem.mean_pose) + 1, dtype=torch.bool, device=noise.device)
    patterns, place = torch.unique(noise, dim=0, return_inverse=True)
    every = torch.cat([torch.full_like(patterns[:1], SHOWN_NOISE), patterns])
    rest = problem.body.rest(1, noise.dtype, noise.device)
    mean = replace(rest, rotations=torch.cat([rest.rotations[:, :1], problem.mean_pose[None]], dim=1))
    variance = _over_cores(problem, mean[torch.zeros_like(every[:, 0], dtype=torch.long)], every)
    sigma = variance.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
    known = sigma[1:] <= (KNOWN_RATIO * sigma[0]).clamp_min(KNOWN_SIGMA)
    return known[place] & torch.isfinite(noise).any(-1, keepdim=True)


def honest_covariance(
    problem: FitProblem,
    params: BodyParams,
    covariance: Float[Tensor, "frame joint 3 3"],
    seen: Bool[Tensor, "frame joint"],
) -> Float[Tensor, "frame joint 3 3"]:
    """An optimizer's covariance of the joints' world positions (m²) with that of inferred joints replaced. Frames that
    show nothing keep theirs.
    """
    noise = _noise(problem)
    rows = torch.nonzero(~seen.all(-1) & torch.isfinite(noise).any(-1))[:, 0]
    if not len(rows):
        return covariance
    own, known = covariance[rows], seen[rows]
    # Where the body is as a whole is as uncertain as the joints that are seen.
    whole = torch.where(known.any(-1, keepdim=True), known, True)[..., None, None].to(own.dtype)
    whole = (own * whole).sum(1, keepdim=True) / whole.sum(1, keepdim=True)
    inferred = _over_cores(problem, params[rows], noise[rows]).to(own.dtype) + whole
    inferred.diagonal(dim1=-2, dim2=-1).add_(BEND_SIGMA**2)
    return covariance.index_copy(0, rows, torch.where(known[..., None, None], own, inferred))


def _noise(problem: FitProblem) -> Float[Tensor, "frame landmark"]:
    """What is open of every landmark, metres. Frames that nobody saw have their status: there, time counts from the
    landmarks seen last.
    """
    age = problem.landmark_age
    least = age.amin(-1, keepdim=True)
    age = torch.where(torch.isfinite(least), age - least, age)
    return torch.where(age > 0, (SHOWN_NOISE**2 + (DRIFT * age) ** 2).sqrt(), SHOWN_NOISE)


def _over_cores(
    problem: FitProblem, params: BodyParams, noise: Float[Tensor, "frame landmark"]
) -> Float[Tensor, "frame joint 3 3"]:
    parts = over_cores(
        lambda chosen: _given(problem, params[chosen], noise[chosen]), len(noise), BATCH_FRAMES, noise.device
    )
    return torch.cat(parts)


def _given(
    problem: FitProblem, params: BodyParams, noise: Float[Tensor, "frame landmark"]
) -> Float[Tensor, "frame joint 3 3"]:
    """Covariance of the joints' positions given where the landmarks are to within ``noise``, shape held."""
    unknowns, prior = replace(problem.unknowns, with_shape=False), problem.term(PosePriorTerm)
    jacobian = unknowns.jacobian(pose_landmarks(unknowns.skin, params), unknowns.tangent(params))
    weighted = noise.reciprocal().repeat_interleave(3, dim=1)[..., None] * jacobian
    normal = weighted.mT @ weighted
    normal[:, POSE_BEGIN:, POSE_BEGIN:] += PRIOR_COUNT * prior.precision
    # The floor is a standard deviation of 1 km: it only keeps the normal matrix invertible.
    normal.diagonal(dim1=-2, dim2=-1).add_(1e-6)
    return factored_covariance(unknowns, params, torch.linalg.cholesky(normal))
