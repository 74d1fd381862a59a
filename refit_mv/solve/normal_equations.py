"""Linearising a fitting problem: the same cost as normal equations for Gauss–Newton and as rows for least-squares
libraries.

The unknowns of a frame are, in this order: pelvis (3), a right perturbation of the root's rotation (3), the tangent
coordinates ``Log(meanᵀ R)`` of every other joint (3 each), and shape. In these coordinates the pose prior is exactly
quadratic. Views are fused before the body is touched: per landmark k the rays sum to a 3×3 information matrix A_k and a
gradient b_k, so ``Jᵀ J = Σ J_kᵀ A_k J_k`` costs the same for one view as for sixteen.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, PosedLandmarks, rotation_jacobian, shape_jacobian
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.kernels.compiling import array, serves
from refit_mv.kernels.linearisation import landmark_jacobians
from refit_mv.solve.problem import Feedback, FitProblem


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """``hessian @ step = -gradient`` per frame."""

    hessian: Float[Tensor, "frame unknown unknown"]
    gradient: Float[Tensor, "frame unknown"]


def robust_weight(feedback: Feedback, kernel: float) -> Float[Tensor, "frame view landmark"]:
    """Derivative of the Geman–McClure kernel with respect to the squared residual, in (0, 1]."""
    return (1 + (feedback.residual**2).sum(-1) / kernel**2) ** -2


def pose_tangent(problem: FitProblem, params: BodyParams) -> Float[Tensor, "frame tangent"]:
    """Pose in the tangent space of the prior's mean: ``Log(meanᵀ R)`` of every joint but the root."""
    return so3.between(problem.pose_term.mean, params.rotations[:, 1:]).flatten(1)


def limit_excess(problem: FitProblem, tangent: Float[Tensor, "frame tangent"]) -> Float[Tensor, "frame tangent"]:
    """How far each tangent coordinate lies beyond its joint limits, radians, signed."""
    return (tangent - problem.pose_term.upper).clamp_min(0) + (tangent - problem.pose_term.lower).clamp_max(0)


def frame_cost(problem: FitProblem, params: BodyParams, feedback: Feedback, kernel: float) -> Float[Tensor, " frame"]:
    """Twice the negative log-posterior of each frame, up to a constant."""
    squared = (feedback.residual**2).sum(-1)
    data = (problem.observation_weight * squared / (1 + squared / kernel**2)).sum((-1, -2))
    tangent = pose_tangent(problem, params)
    pose = ((tangent @ problem.pose_term.root.T) ** 2).sum(-1)
    limits = ((limit_excess(problem, tangent) / problem.options.limit) ** 2).sum(-1)
    shape = problem.options.shape_prior * (params.shape**2).sum(-1)
    return data + pose + limits + (shape if problem.shape_mode == "free" else 0.0 * shape)


def landmark_jacobian(
    skin: LandmarkSkin, posed: PosedLandmarks, tangent: Float[Tensor, "frame tangent"], with_shape: bool
) -> Float[Tensor, "frame landmark 3 unknown"]:
    """Motion of every landmark with the unknowns."""
    skeleton = posed.skeleton
    if serves(skeleton.positions, skeleton.rotations, posed.share, tangent, skin.mass):
        given = map(array, (skeleton.positions, skeleton.rotations, posed.share, tangent))
        found = torch.from_numpy(landmark_jacobians(skin.arrays, *given, with_shape))
        return found.view(len(found), skin.landmark_count, 3, -1)
    rotations = posed.skeleton.rotations
    frames = len(rotations)
    inner = so3.right_jacobian(tangent.view(frames, -1, 3))
    axes = torch.cat([rotations[:, :1], rotations[:, 1:] @ inner], dim=1)
    turned = rotation_jacobian(skin, posed, axes)
    moved = torch.eye(3, dtype=turned.dtype, device=turned.device).expand(frames, skin.landmark_count, 3, 3)
    parts = [moved, turned.flatten(-2)]
    if with_shape:
        parts.append(shape_jacobian(skin, posed))
    return torch.cat(parts, dim=-1)


def fuse_views(
    feedback: Feedback, weight: Float[Tensor, "frame view landmark"]
) -> tuple[Float[Tensor, "frame landmark 3 3"], Float[Tensor, "frame landmark 3"]]:
    """Information matrix and gradient of every landmark's position, summed over the views."""
    projector = ray_projector(feedback.toward)
    information = ((weight * feedback.gain**2)[..., None, None] * projector).sum(1)
    pull = feedback.residual - (feedback.toward * feedback.residual).sum(-1, keepdim=True) * feedback.toward
    return information, ((weight * feedback.gain)[..., None] * pull).sum(1)


def linearise(
    problem: FitProblem, params: BodyParams, feedback: Feedback, kernel: float, with_shape: bool
) -> NormalEquations:
    """Gauss–Newton normal equations of :func:`frame_cost` (half of it), robust weights frozen at the current
    residuals.
    """
    weight = problem.observation_weight * robust_weight(feedback, kernel)
    information, pull = fuse_views(feedback, weight)
    tangent = pose_tangent(problem, params)
    jacobian = landmark_jacobian(problem.skin, feedback.posed, tangent, with_shape)
    frames, unknowns = jacobian.shape[0], jacobian.shape[-1]
    flat = jacobian.view(frames, -1, unknowns)
    weighted = (information @ jacobian).view(frames, -1, unknowns)
    hessian = flat.transpose(-1, -2) @ weighted
    gradient = (flat.transpose(-1, -2) @ pull.reshape(frames, -1, 1))[..., 0]

    pose = slice(6, 6 + tangent.shape[-1])
    excess = limit_excess(problem, tangent)
    hessian[:, pose, pose] += problem.pose_term.precision
    hessian.diagonal(dim1=-2, dim2=-1)[:, pose] += (excess != 0).to(excess.dtype) / problem.options.limit**2
    gradient[:, pose] += tangent @ problem.pose_term.precision + excess / problem.options.limit**2
    if with_shape:
        shape = slice(unknowns - params.shape.shape[-1], unknowns)
        hessian.diagonal(dim1=-2, dim2=-1)[:, shape] += problem.options.shape_prior
        gradient[:, shape] += problem.options.shape_prior * params.shape
    return NormalEquations(hessian, gradient)


def step(problem: FitProblem, params: BodyParams, delta: Float[Tensor, "frame unknown"]) -> BodyParams:
    """Apply a step in the order of the unknowns; a step without shape leaves the shape alone."""
    tangent = pose_tangent(problem, params)
    last = 6 + tangent.shape[-1]
    joints = problem.pose_term.mean @ so3.exp((tangent + delta[:, 6:last]).unflatten(-1, (-1, 3)))
    root = params.rotations[:, :1] @ so3.exp(delta[:, None, 3:6])
    shape = params.shape + delta[:, last:] if delta.shape[-1] > last else params.shape
    return BodyParams(params.pelvis + delta[:, :3], torch.cat([root, joints], dim=1), shape)


@dataclass(frozen=True, eq=False)
class Rows:
    """The cost as stacked residuals: ``data`` rows come in groups of three per observation (still without the kernel),
    then the ``prior`` rows.
    """

    data: Float[Tensor, "frame data_row"]
    data_jacobian: Float[Tensor, "frame data_row unknown"]
    prior: Float[Tensor, "frame prior_row"]
    prior_jacobian: Float[Tensor, "frame prior_row unknown"]


def rows(problem: FitProblem, params: BodyParams, with_shape: bool) -> Rows:
    """Whitened residuals and their Jacobian, for least-squares libraries."""
    feedback = problem.feedback(params)
    tangent = pose_tangent(problem, params)
    scale = problem.observation_weight.sqrt()
    jacobian = landmark_jacobian(problem.skin, feedback.posed, tangent, with_shape)
    frames, unknowns = len(problem), jacobian.shape[-1]
    projector = ray_projector(feedback.toward) * (scale * feedback.gain)[..., None, None]

    size = tangent.shape[-1]
    excess = limit_excess(problem, tangent) / problem.options.limit
    prior_jacobian = jacobian.new_zeros(frames, 2 * size, unknowns)
    prior_jacobian[:, :size, 6 : 6 + size] = problem.pose_term.root
    prior_jacobian[:, size:, 6 : 6 + size] = torch.diag_embed((excess != 0).to(excess.dtype) / problem.options.limit)
    parts = [tangent @ problem.pose_term.root.T, excess]
    jacobians = [prior_jacobian]
    if with_shape:
        factor = problem.options.shape_prior**0.5
        count = params.shape.shape[-1]
        parts.append(factor * params.shape)
        jacobians.append(
            factor * torch.eye(unknowns, dtype=tangent.dtype, device=tangent.device)[-count:].expand(frames, -1, -1)
        )
    return Rows(
        data=(scale[..., None] * feedback.residual).reshape(frames, -1),
        data_jacobian=(projector @ jacobian[:, None]).reshape(frames, -1, unknowns),
        prior=torch.cat(parts, dim=-1),
        prior_jacobian=torch.cat(jacobians, dim=1),
    )
