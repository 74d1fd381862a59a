"""The linear system of one Gauss–Newton step, its solution, and how the solution depends on the weights.

Unknowns are those of ``fitting.normal_equations``: pelvis (world), root (right perturbation), tangent coordinates of
the other joints, shape. The point of linearisation is constant; gradients reach the weights, stiffnesses and targets
through the implicit function theorem, ``dδ = -H⁻¹ (dH δ + dg)``, so that training costs one more triangular solve and
no matrix product.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import PosedSkeleton
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import PosedLandmarks, pose_landmarks
from refit_mv.geometry import rotations as so3
from refit_mv.kernels.compiling import array, serves
from refit_mv.kernels.linearisation import linearise_frames
from refit_mv.kernels.moving import moved_frames
from refit_mv.kernels.normal_matrix import LayerArrays, classic_steps, weighted_systems
from refit_mv.kernels.step_limits import shortened_frames
from refit_mv.networks.evidence import Evidence
from refit_mv.networks.scene import Scene
from refit_mv.solve.normal_equations import fuse_views, landmark_jacobian
from refit_mv.solve.problem import Feedback

# The classic's own figures, from which learning starts: see ``fitting.problem.CostOptions``.
NOISE, LIMIT = 0.010, 0.05
# Largest step: a linearisation is worth nothing beyond.
LARGEST_MOVE, LARGEST_TURN, LARGEST_SHAPE_STEP = 1.0, 0.8, 2.0
LIMITS = (LARGEST_MOVE, LARGEST_TURN, LARGEST_SHAPE_STEP)
NO_LIMITS = (inf, inf, inf)
CLASSIC_DAMPING, LAYER_DAMPING = 1e-3, 1e-5
CHOLESKY_BLOCK = 29


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Everything about the current parameters that the network and the solver read; no gradient passes through."""

    params: BodyParams
    feedback: Feedback
    tangent: Float[Tensor, "frame tangent"]
    jacobian: Float[Tensor, "frame row unknown"]
    bone: Float[Tensor, "frame bone"]
    bone_slope: Float[Tensor, "frame bone shape"]


@dataclass(frozen=True, eq=False)
class Weights:
    """What the network decides. ``observation`` in 1/m²; ``pelvis``, ``root`` and ``joint`` are stiffnesses (1/m²,
    1/rad²) that hold the estimate ``target``; ``bone`` holds log bone lengths at ``bone_target``; ``pose_prior`` and
    ``shape_prior`` scale the priors.
    """

    observation: Float[Tensor, "frame view landmark"]
    pelvis: Float[Tensor, "frame 3"]
    root: Float[Tensor, "frame 3"]
    joint: Float[Tensor, "frame tangent"]
    bone: Float[Tensor, "frame bone"]
    pose_prior: Float[Tensor, " frame"]
    shape_prior: Float[Tensor, " frame"]
    target: BodyParams
    target_tangent: Float[Tensor, "frame tangent"]
    bone_target: Float[Tensor, "frame bone"]


@dataclass(frozen=True, eq=False)
class Solution:
    """A step, the Cholesky factor of its normal matrix, and where the factorisation worked."""

    step: Float[Tensor, "frame unknown"]
    factor: Float[Tensor, "frame unknown unknown"]


@dataclass(frozen=True, eq=False)
class ClassicStep:
    """What the classic would do, and why: the step, the evidence's part of the Hessian's diagonal, the gradient before
    damping, the observation weights, per landmark fused information and pull; the Cholesky factor where it was to be
    kept.
    """

    step: Float[Tensor, "frame unknown"]
    diagonal: Float[Tensor, "frame unknown"]
    gradient: Float[Tensor, "frame unknown"]
    weight: Float[Tensor, "frame view landmark"]
    information: Float[Tensor, "frame landmark 3 3"]
    pull: Float[Tensor, "frame landmark 3"]
    factor: Float[Tensor, "frame unknown unknown"] | None = None


def pose_tangent(scene: Scene, params: BodyParams) -> Float[Tensor, "frame tangent"]:
    """``Log(meanᵀ R)`` of every joint but the root."""
    return so3.between(scene.pose_mean, params.rotations[:, 1:]).flatten(1)


@torch.no_grad()
def linearise(scene: Scene, evidence: Evidence, params: BodyParams) -> Linearisation:
    """Pose the body, compare it with the rays, and see how both move with the unknowns."""
    if kernels_serve(params.pelvis, params.rotations, params.shape, evidence.bearing, scene.skin.anchor):
        return _linearise_compiled(scene, evidence, params)
    posed = pose_landmarks(scene.skin, params)
    tangent = pose_tangent(scene, params)
    jacobian = landmark_jacobian(scene.skin, posed, tangent, with_shape=False)
    if scene.with_shape:
        rotations = posed.skeleton.rotations
        by_shape = rotations.transpose(1, 2).flatten(2) @ scene.shape_motion
        by_shape = by_shape.unflatten(-1, (jacobian.shape[1], -1)).transpose(1, 2)
        jacobian = torch.cat([jacobian, by_shape], dim=-1)
    jacobian = jacobian.flatten(1, 2)
    bone, bone_slope = scene.bones(params.shape)
    return Linearisation(params, evidence.feedback(posed), tangent, jacobian, bone, bone_slope)


def kernels_serve(*tensors: Tensor) -> bool:
    """Whether kernels may do the work on these tensors: the learned optimizer's are in single precision."""
    return tensors[0].dtype == torch.float32 and serves(*tensors)


def _linearise_compiled(scene: Scene, evidence: Evidence, params: BodyParams) -> Linearisation:
    rays = map(array, (evidence.center, evidence.bearing, evidence.distance))
    unknowns = map(array, (params.pelvis, params.rotations, params.shape))
    found = linearise_frames(scene.skin.arrays, scene.arrays, scene.with_shape, *rays, *unknowns)
    landmarks, joints, world, share, residual, toward, gain, tangent, jacobian, bone, slope = map(
        torch.from_numpy, found
    )
    posed = PosedLandmarks(landmarks, PosedSkeleton(joints, world), share)
    feedback = Feedback(residual, toward, gain, evidence.confidence, posed)
    return Linearisation(params, feedback, tangent, jacobian, bone, slope)


def _rows(here: Linearisation) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    feedback = here.feedback
    return array(here.jacobian), array(feedback.toward), array(feedback.residual), array(feedback.gain)


def confidence_weight(confidence: Tensor) -> Tensor:
    """The classic's precision of an observation, 1/m²."""
    return confidence.clamp(0, 1) / NOISE**2


def limit_excess(scene: Scene, tangent: Tensor) -> Tensor:
    return (tangent - scene.upper).clamp_min(0) + (tangent - scene.lower).clamp_max(0)


def _transposed_product(jacobian: Tensor, vector: Tensor) -> Tensor:
    """``Jᵀ v`` per frame: an elementwise product and a sum are ten times faster than a batched product with one
    column.
    """
    return (jacobian * vector[..., None]).sum(1)


def _product(jacobian: Tensor, vector: Tensor) -> Tensor:
    return (jacobian * vector[:, None]).sum(-1)


def evidence_matrix(
    here: Linearisation, weight: Float[Tensor, "frame view landmark"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hessian and gradient of the evidence alone, and per landmark the fused information and pull."""
    information, pull = fuse_views(here.feedback, weight)
    frames, _, unknowns = here.jacobian.shape
    weighted = (information @ here.jacobian.view(frames, -1, 3, unknowns)).flatten(1, 2)
    hessian = here.jacobian.transpose(-1, -2) @ weighted
    return hessian, _transposed_product(here.jacobian, pull.flatten(1)), information, pull


def add_priors(
    scene: Scene,
    here: Linearisation,
    hessian: Tensor,
    gradient: Tensor,
    pose: Float[Tensor, " frame"] | float,
    shape: Tensor | float,
) -> None:
    """Pose prior, joint limits and shape prior, in place."""
    size = here.tangent.shape[-1]
    part = slice(6, 6 + size)
    pose = torch.as_tensor(pose)
    hessian[:, part, part] += pose.reshape(-1, 1, 1) * scene.pose_precision
    excess = limit_excess(scene, here.tangent)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    diagonal[:, part] += (excess != 0).to(excess.dtype) / LIMIT**2
    gradient[:, part] += pose.reshape(-1, 1) * (here.tangent @ scene.pose_precision) + excess / LIMIT**2
    if scene.with_shape:
        shape = torch.as_tensor(shape).reshape(-1, 1)
        diagonal[:, 6 + size :] += shape
        gradient[:, 6 + size :] += shape * here.params.shape


def cholesky(matrix: Float[Tensor, "frame row row"]) -> Float[Tensor, "frame row row"]:
    """Lower factors, by blocks: a fifth faster than the whole at this size. Frames that cannot be factored end with
    non-finite numbers. Overwrites ``matrix``.
    """
    size = matrix.shape[-1]
    for begin in range(0, size, CHOLESKY_BLOCK):
        end = min(begin + CHOLESKY_BLOCK, size)
        corner, failed = torch.linalg.cholesky_ex(matrix[:, begin:end, begin:end])
        if bool(failed.any()):
            corner = torch.where((failed == 0)[:, None, None], corner, torch.nan)
        matrix[:, begin:end, begin:end] = corner
        if end < size:
            side = torch.linalg.solve_triangular(corner, matrix[:, begin:end, end:], upper=False)
            matrix[:, end:, begin:end] = side.transpose(-1, -2)
            matrix[:, end:, end:] -= side.transpose(-1, -2) @ side
    return matrix


def solve(hessian: Tensor, gradient: Tensor, damping: float) -> Solution:
    """One damped step; frames whose matrix cannot be factored stay where they are. Overwrites ``hessian``."""
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    # The pelvis is damped alike in all directions: anything else would depend on how the world's axes lie.
    diagonal[:, :3] += damping * diagonal[:, :3].mean(-1, keepdim=True) + 1e-2
    diagonal[:, 3:] += damping * diagonal[:, 3:] + 1e-2
    factor = cholesky(hessian)
    good = torch.isfinite(factor.diagonal(dim1=-2, dim2=-1)).all(-1)
    if not bool(good.all()):
        factor = torch.where(good[:, None, None], factor, 1e6 * torch.eye(factor.shape[-1]))
    step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return Solution(torch.where(torch.isfinite(step), step, torch.zeros_like(step)), factor)


def limited(scene: Scene, step: Float[Tensor, "frame unknown"]) -> Float[Tensor, "frame unknown"]:
    """The step, shortened part by part (pelvis, each joint, shape) where it is longer than a linearisation reaches."""
    joints = scene.pose_mean.shape[0] + 1
    if kernels_serve(step):
        return torch.from_numpy(shortened_frames(array(step), joints, LIMITS))
    pelvis, turns, shape = (
        step[:, :3],
        step[:, 3 : 3 + 3 * joints].unflatten(-1, (joints, 3)),
        step[:, 3 + 3 * joints :],
    )

    def shortened(vector: Tensor, largest: float) -> Tensor:
        return vector * (largest / (vector.detach().norm(dim=-1, keepdim=True) + 1e-9)).clamp_max(1.0)

    return torch.cat(
        [
            shortened(pelvis, LARGEST_MOVE),
            shortened(turns, LARGEST_TURN).flatten(1),
            shape.clamp(-LARGEST_SHAPE_STEP, LARGEST_SHAPE_STEP),
        ],
        dim=-1,
    )


def moved(scene: Scene, params: BodyParams, tangent: Tensor, step: Float[Tensor, "frame unknown"]) -> BodyParams:
    """Parameters after a step; ``tangent`` is that of ``params``."""
    given = (params.pelvis, params.rotations, params.shape, tangent, step)
    if kernels_serve(*given):
        return BodyParams(*map(torch.from_numpy, moved_frames(scene.arrays.mean, NO_LIMITS, *map(array, given))))
    last = 6 + tangent.shape[-1]
    joints = scene.pose_mean @ so3.exp((tangent + step[:, 6:last]).unflatten(-1, (-1, 3)))
    root = params.rotations[:, :1] @ so3.exp(step[:, None, 3:6])
    shape = params.shape + step[:, last:] if step.shape[-1] > last else params.shape
    return BodyParams(params.pelvis + step[:, :3], torch.cat([root, joints], dim=1), shape)


@torch.no_grad()
def classic_step(
    scene: Scene,
    here: Linearisation,
    kernel: float,
    pose_prior: float = 0.3,
    shape_prior: float = 1.0,
    base: Float[Tensor, "frame view landmark"] | None = None,
    keep_factor: bool = False,
) -> ClassicStep:
    """The step that the classic would take with this kernel: the recurrent network's main input. ``base``: weights
    before the kernel, 1/m², the classic's own unless given.
    """
    base = confidence_weight(here.feedback.confidence) if base is None else base
    if kernels_serve(here.jacobian, base):
        found = classic_steps(
            scene.skin.arrays, scene.arrays, *_rows(here), array(base), array(here.tangent),
            array(here.params.shape), kernel, pose_prior, shape_prior, LIMIT, CLASSIC_DAMPING, keep_factor,
        )  # fmt: skip
        step, diagonal, gradient, weight, information, pull, factor = map(torch.from_numpy, found)
        kept = factor.mT if keep_factor else None
        return ClassicStep(step, diagonal, gradient, weight, information, pull, kept)
    squared = (here.feedback.residual**2).sum(-1)
    weight = base * (1 + squared / kernel**2) ** -2
    hessian, gradient, information, pull = evidence_matrix(here, weight)
    evidence_diagonal = hessian.diagonal(dim1=-2, dim2=-1).clone()
    add_priors(scene, here, hessian, gradient, pose_prior, shape_prior)
    solution = solve(hessian, gradient, CLASSIC_DAMPING)
    factor = solution.factor if keep_factor else None
    return ClassicStep(solution.step, evidence_diagonal, gradient, weight, information, pull, factor)


@torch.no_grad()
def weighted_system(scene: Scene, here: Linearisation, weights: Weights) -> tuple[Tensor, Tensor]:
    """Normal matrix and gradient of one frame with exactly the network's weights."""
    if kernels_serve(here.jacobian, weights.observation):
        hessian, gradient, _ = _weighted_compiled(scene, here, weights, -1.0)
        return hessian, gradient
    size = here.tangent.shape[-1]
    pose = slice(6, 6 + size)
    root_from_world = here.params.rotations[:, 0].transpose(-1, -2)
    from_target = so3.between(weights.target.rotations[:, 0], here.params.rotations[:, 0])
    hessian, gradient, _, _ = evidence_matrix(here, weights.observation)
    add_priors(scene, here, hessian, gradient, weights.pose_prior, weights.shape_prior)
    hold = root_from_world.transpose(-1, -2) @ (weights.pelvis[..., None] * root_from_world)
    hessian[:, :3, :3] += hold
    gradient[:, :3] += (hold @ (here.params.pelvis - weights.target.pelvis)[..., None])[..., 0]
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    diagonal[:, 3:6] += weights.root
    gradient[:, 3:6] += weights.root * from_target
    diagonal[:, pose] += weights.joint
    gradient[:, pose] += weights.joint * (here.tangent - weights.target_tangent)
    if scene.with_shape:
        slope = here.bone_slope
        hessian[:, 6 + size :, 6 + size :] += slope.transpose(-1, -2) @ (weights.bone[..., None] * slope)
        gradient[:, 6 + size :] += (
            slope.transpose(-1, -2) @ (weights.bone * (here.bone - weights.bone_target))[..., None]
        )[..., 0]
    return hessian, gradient


def _weighted_compiled(
    scene: Scene, here: Linearisation, weights: Weights, damping: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrices, gradients and nothing; or, with damping, upper factors, gradients and steps."""
    held = LayerArrays(
        array(weights.pelvis), array(weights.root), array(weights.joint), array(weights.bone),
        array(weights.pose_prior), array(weights.shape_prior), array(weights.target.pelvis),
        array(weights.target.rotations[:, 0]), array(weights.target_tangent), array(weights.bone_target),
    )  # fmt: skip
    params = here.params
    at = (params.pelvis, params.rotations, here.tangent, params.shape, here.bone, here.bone_slope)
    found = weighted_systems(
        scene.skin.arrays, scene.arrays, held, *_rows(here), array(weights.observation), *map(array, at), LIMIT, damping
    )
    hessian, gradient, step = map(torch.from_numpy, found)
    return hessian, gradient, step


def weight_balance(
    scene: Scene, here: Linearisation, weights: Weights, delta: Float[Tensor, "frame unknown"]
) -> Float[Tensor, "frame unknown"]:
    """Gradient of the linearised cost after the step ``delta``: nearly zero where ``delta`` solves the system.
    Differentiable in every weight and target, which is what the implicit function theorem needs.
    """
    size = here.tangent.shape[-1]
    frames = len(here.tangent)
    pose = slice(6, 6 + size)
    with torch.no_grad():
        root_from_world = here.params.rotations[:, 0].transpose(-1, -2)
        shift = _product(here.jacobian, delta).view(frames, 1, -1, 3)
        feedback = here.feedback
        toward, gain = feedback.toward, feedback.gain[..., None]
        across = lambda vector: vector - (toward * vector).sum(-1, keepdim=True) * toward  # noqa: E731
        per_observation = gain * across(gain * shift + feedback.residual)
        prior_pull = (here.tangent + delta[:, pose]) @ scene.pose_precision
        limits = limit_excess(scene, here.tangent)
        limits = (limits + (limits != 0) * delta[:, pose]) / LIMIT**2
        pelvis_local = root_from_world @ (here.params.pelvis + delta[:, :3])[..., None]
    fused = (weights.observation[..., None] * per_observation).sum(1).flatten(1)
    balance = _transposed_product(here.jacobian, fused)
    target_local = root_from_world @ weights.target.pelvis[..., None]
    pelvis_pull = (root_from_world.transpose(-1, -2) @ (weights.pelvis[..., None] * (pelvis_local - target_local)))[
        ..., 0
    ]
    # The root's target moves with its gradient through the tangent at the current root.
    root_gap = so3.between(weights.target.rotations[:, 0], here.params.rotations[:, 0]) + delta[:, 3:6]
    joint_pull = weights.joint * (here.tangent + delta[:, pose] - weights.target_tangent)
    parts = [pelvis_pull, weights.root * root_gap, joint_pull + weights.pose_prior[:, None] * prior_pull + limits]
    if scene.with_shape:
        moved_bone = here.bone + (here.bone_slope @ delta[:, 6 + size :, None])[..., 0] - weights.bone_target
        by_bone = (here.bone_slope.transpose(-1, -2) @ (weights.bone * moved_bone)[..., None])[..., 0]
        parts.append(by_bone + weights.shape_prior[:, None] * (here.params.shape + delta[:, 6 + size :]))
    return balance + torch.cat(parts, dim=-1)


def weighted_step(scene: Scene, here: Linearisation, weights: Weights) -> Solution:
    """The Gauss–Newton layer: solves with exactly the network's weights; gradients reach every one of them."""
    with torch.no_grad():
        if kernels_serve(here.jacobian, weights.observation):
            upper, _, step = _weighted_compiled(scene, here, weights, LAYER_DAMPING)
            solution = Solution(step, upper.mT)
        else:
            solution = solve(*weighted_system(scene, here, weights), LAYER_DAMPING)
    if not torch.is_grad_enabled():
        return solution
    balance = weight_balance(scene, here, weights, solution.step)
    # Its value is rounding (and the damping); its derivative is that of the solution.
    balance = balance - balance.detach()
    return Solution(solution.step - torch.cholesky_solve(balance[..., None], solution.factor)[..., 0], solution.factor)
