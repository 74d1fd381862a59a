"""The one linear system: a guess is linearised, weights go in, a step comes out. Classic optimizers weigh observations
by a robust kernel, the learned one by what its network decided; the system is the same.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import PosedSkeleton
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, PosedLandmarks, pose_landmarks
from refit_mv.geometry import rotations as so3
from refit_mv.kernels.compiling import Packed, array, compiled_by
from refit_mv.kernels.linearisation import linearise_frames
from refit_mv.kernels.normal_equations import (
    Estimate,
    HoldArrays,
    PriorArrays,
    PriorScales,
    RayRows,
    normal_matrices,
    robust_steps,
    weighted_steps,
)
from refit_mv.solve.terms.hold import Hold
from refit_mv.solve.terms.limits import JointLimits
from refit_mv.solve.terms.pose_prior import PosePriorTerm
from refit_mv.solve.terms.rays import Rays, add_rays, rays_of
from refit_mv.solve.terms.shape import ShapePriorTerm
from refit_mv.solve.terms.term import Feedback, Linearisation, NormalEquations
from refit_mv.solve.unknowns import POSE_BEGIN, Unknowns, landmark_jacobian

# Damping of steps towards the classic's minimum, and of layers, whose weights have their say already.
CLASSIC_DAMPING, LAYER_DAMPING = 1e-3, 1e-5
# The least that every diagonal is damped by.
LEAST_DAMPING = 1e-2
# What a frame that cannot be factored gets as its factor's diagonal: it stays where it is.
STAY = 1e6


@dataclass(frozen=True, eq=False)
class BodyPrior(Packed):
    """What is known of a body before anything is seen of it."""

    pose: PosePriorTerm
    limits: JointLimits
    shape: ShapePriorTerm

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "BodyPrior":
        return BodyPrior(self.pose.to(dtype, device), self.limits.to(dtype, device), self.shape)

    @cached_property
    def arrays(self) -> PriorArrays:
        """Precision and limits for kernels."""
        return PriorArrays(array(self.pose.precision), array(self.limits.lower), array(self.limits.upper))

    @property
    def sample(self) -> Tensor:
        """One of its tensors."""
        return self.pose.precision


@dataclass(frozen=True, eq=False)
class Weights:
    """What decides a step: ``observation`` in 1/m², how much the priors on pose and shape count in each frame, and
    what holds an estimate where it is.
    """

    observation: Float[Tensor, "frame view landmark"]
    pose_prior: Float[Tensor, " frame"]
    shape_prior: Float[Tensor, " frame"]
    hold: Hold | None = None

    @property
    def scales(self) -> PriorScales:
        return PriorScales(self.pose_prior, self.shape_prior)

    @property
    def held(self) -> Hold:
        """What holds the estimate, where something does."""
        assert self.hold is not None
        return self.hold


@dataclass(frozen=True, eq=False)
class Solution:
    """A step, and the lower Cholesky factor of its normal matrix."""

    step: Float[Tensor, "frame unknown"]
    factor: Float[Tensor, "frame unknown unknown"]


class RobustStep(NamedTuple):
    """What the classic would do, and why: the step, the evidence's part of the Hessian's diagonal, the gradient before
    damping, the observation weights, per landmark fused information and pull.
    """

    step: Float[Tensor, "frame unknown"]
    diagonal: Float[Tensor, "frame unknown"]
    gradient: Float[Tensor, "frame unknown"]
    weight: Float[Tensor, "frame view landmark"]
    information: Float[Tensor, "frame landmark 3 3"]
    pull: Float[Tensor, "frame landmark 3"]


@torch.no_grad()
def linearise(unknowns: Unknowns, rays: Rays, params: BodyParams) -> Linearisation:
    """Pose the body, compare it with the rays, and see how both move with the unknowns."""
    # One shape moves nothing where it is not sought.
    *posed, residual, toward, gain, tangent, jacobian = _linearised(
        unknowns.skin, unknowns.mean, unknowns.with_shape, rays.center, rays.bearing, rays.distance, *_parts(params)
    )
    landmarks, joints, world, share = posed
    at = PosedLandmarks(landmarks, PosedSkeleton(joints, world), share)
    return Linearisation(params, Feedback(residual, toward, gain, rays.confidence, at), tangent, jacobian)


def _parts(params: BodyParams) -> tuple[Tensor, Tensor, Tensor]:
    return params.pelvis, params.rotations, params.shape


@compiled_by(linearise_frames)
def _linearised(
    skin: LandmarkSkin,
    mean: Float[Tensor, "other 3 3"],
    with_shape: bool,
    center: Float[Tensor, "frame view 3"],
    bearing: Float[Tensor, "frame view landmark 3"],
    distance: Float[Tensor, "frame view"],
    pelvis: Float[Tensor, "frame 3"],
    rotations: Float[Tensor, "frame joint 3 3"],
    shape: Float[Tensor, "frame shape"],
) -> tuple[Tensor, ...]:
    posed = pose_landmarks(skin, BodyParams(pelvis, rotations, shape))
    seen = Rays(center, bearing, bearing[..., 0], distance).feedback(posed)
    tangent = so3.between(mean, rotations[:, 1:]).flatten(1)
    joints, world = posed.skeleton.positions, posed.skeleton.rotations
    jacobian = landmark_jacobian(skin, joints, world, posed.share, tangent, with_shape)
    return posed.positions, joints, world, posed.share, seen.residual, seen.toward, seen.gain, tangent, jacobian


def normal_equations(unknowns: Unknowns, prior: BodyPrior, here: Linearisation, weights: Weights) -> NormalEquations:
    """Half the gradient and Gauss–Newton Hessian of rays, priors and holds with exactly these weights."""
    if weights.hold is not None:
        hessian, gradient, _ = _weighted(unknowns, prior, here, weights, -1.0)
        return NormalEquations(hessian, gradient)
    found = _normal_matrices(
        unknowns.skin, prior, rays_of(here), weights.observation, here.tangent, here.params.shape,
        weights.scales, prior.limits.sigma,
    )  # fmt: skip
    return NormalEquations(*found)


@compiled_by(normal_matrices)
def _normal_matrices(
    skin: LandmarkSkin,
    prior: BodyPrior,
    rows: RayRows,
    weight: Float[Tensor, "frame view landmark"],
    tangent: Float[Tensor, "frame tangent"],
    shape: Float[Tensor, "frame shape"],
    scales: PriorScales,
    limit: float,
) -> tuple[Tensor, Tensor]:
    normal = NormalEquations.zero(len(tangent), rows.jacobian.shape[-1], tangent)
    add_rays(rows, normal, weight)
    _add_priors(prior, tangent, shape, normal, scales)
    return normal.hessian, normal.gradient


def _add_priors(
    prior: BodyPrior,
    tangent: Float[Tensor, "frame tangent"],
    shape: Float[Tensor, "frame shape"],
    normal: NormalEquations,
    scales: PriorScales,
) -> None:
    prior.pose.add_scaled(tangent, normal, scales.pose)
    prior.limits.add_at(tangent, normal)
    if normal.gradient.shape[-1] > POSE_BEGIN + tangent.shape[-1]:
        prior.shape.add_scaled(shape, normal, scales.shape)


def _solved(hessian: Tensor, gradient: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """One damped step and the upper factor; frames whose matrix cannot be factored stay where they are. Overwrites
    ``hessian``.
    """
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    # The pelvis is damped alike in all directions: anything else would depend on how the world's axes lie.
    diagonal[:, :3] += damping * diagonal[:, :3].mean(-1, keepdim=True) + LEAST_DAMPING
    diagonal[:, 3:] += damping * diagonal[:, 3:] + LEAST_DAMPING
    factor, failed = torch.linalg.cholesky_ex(hessian)
    eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    factor = torch.where((failed == 0)[:, None, None], factor, STAY * eye)
    step = -torch.cholesky_solve(gradient[..., None], factor)[..., 0]
    return torch.where(torch.isfinite(step), step, torch.zeros_like(step)), factor.mT


@dataclass(frozen=True)
class RobustCounts:
    """What a robust step counts with: the ``kernel`` (metres at the body) and the weights of both priors."""

    kernel: float
    pose_prior: float
    shape_prior: float


@torch.no_grad()
def robust_step(
    unknowns: Unknowns,
    prior: BodyPrior,
    here: Linearisation,
    base: Float[Tensor, "frame view landmark"],
    counts: RobustCounts,
) -> RobustStep:
    """One damped step with Geman–McClure weights; ``base`` are those before the kernel, 1/m²."""
    return RobustStep(*_robust(unknowns, prior, here, base, counts, False)[:6])


@torch.no_grad()
def robust_solution(
    unknowns: Unknowns,
    prior: BodyPrior,
    here: Linearisation,
    base: Float[Tensor, "frame view landmark"],
    counts: RobustCounts,
) -> Solution:
    """The same step with the factor of its normal matrix."""
    found = _robust(unknowns, prior, here, base, counts, True)
    return Solution(found[0], found[6].mT)


def _robust(
    unknowns: Unknowns,
    prior: BodyPrior,
    here: Linearisation,
    base: Float[Tensor, "frame view landmark"],
    counts: RobustCounts,
    keep_factor: bool,
) -> tuple[Tensor, ...]:
    numbers = (counts.kernel, counts.pose_prior, counts.shape_prior, prior.limits.sigma, CLASSIC_DAMPING)
    settings = tuple(map(float, numbers))
    return _robust_steps(
        unknowns.skin, prior, rays_of(here), base, here.tangent, here.params.shape, settings, keep_factor
    )


@compiled_by(robust_steps)
def _robust_steps(
    skin: LandmarkSkin,
    prior: BodyPrior,
    rows: RayRows,
    base: Float[Tensor, "frame view landmark"],
    tangent: Float[Tensor, "frame tangent"],
    shape: Float[Tensor, "frame shape"],
    settings: tuple[float, ...],
    keep_factor: bool,
) -> tuple[Tensor, ...]:
    kernel, pose_prior, shape_prior, _, damping = settings
    weight = base * (1 + (rows.residual**2).sum(-1) / kernel**2) ** -2
    normal = NormalEquations.zero(len(tangent), rows.jacobian.shape[-1], tangent)
    information, pull = add_rays(rows, normal, weight)
    evidence = normal.diagonal.clone()
    counts = PriorScales(*(tangent.new_full((len(tangent),), count) for count in (pose_prior, shape_prior)))
    _add_priors(prior, tangent, shape, normal, counts)
    step, factor = _solved(normal.hessian, normal.gradient, damping)
    return step, evidence, normal.gradient, weight, information, pull, factor


def _weighted(
    unknowns: Unknowns, prior: BodyPrior, here: Linearisation, weights: Weights, damping: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Matrix (or upper factor), gradient and step of rays, priors and holds; no step where ``damping`` is negative."""
    hold = weights.held
    at = Estimate(*_parts(here.params), here.tangent, hold.length, hold.slope)
    return _weighted_steps(
        unknowns.skin, prior, hold.record, rays_of(here), weights.observation, at, weights.scales,
        (float(prior.limits.sigma), damping),
    )  # fmt: skip


@compiled_by(weighted_steps)
def _weighted_steps(
    skin: LandmarkSkin,
    prior: BodyPrior,
    held: HoldArrays,
    rows: RayRows,
    weight: Float[Tensor, "frame view landmark"],
    at: Estimate,
    scales: PriorScales,
    settings: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor]:
    _, damping = settings
    normal = NormalEquations.zero(len(weight), rows.jacobian.shape[-1], weight)
    add_rays(rows, normal, weight)
    _add_priors(prior, at.tangent, at.shape, normal, scales)
    Hold.of_record(held, at).add_at(BodyParams(at.pelvis, at.rotations, at.shape), at.tangent, normal)
    if damping < 0:
        return normal.hessian, normal.gradient, torch.zeros_like(normal.gradient)
    step, factor = _solved(normal.hessian, normal.gradient, damping)
    return factor, normal.gradient, step


def weight_balance(
    unknowns: Unknowns,
    prior: BodyPrior,
    here: Linearisation,
    weights: Weights,
    delta: Float[Tensor, "frame unknown"],
) -> Float[Tensor, "frame unknown"]:
    """Gradient of the linearised cost after the step ``delta``: nearly zero where ``delta`` solves the system.
    Differentiable in every weight and target, which is what the implicit function theorem needs.
    """
    hold = weights.held
    pose, feedback = unknowns.pose, here.feedback
    with torch.no_grad():
        shift = (here.jacobian * delta[:, None]).sum(-1).view(len(delta), 1, -1, 3)
        toward, gain = feedback.toward, feedback.gain[..., None]
        across = lambda vector: vector - (toward * vector).sum(-1, keepdim=True) * toward  # noqa: E731
        per_observation = gain * across(gain * shift + feedback.residual)
        prior_pull = (here.tangent + delta[:, pose]) @ prior.pose.precision
        limits = prior.limits.excess(here.tangent)
        limits = (limits + (limits != 0) * delta[:, pose]) / prior.limits.sigma**2
    fused = (weights.observation[..., None] * per_observation).sum(1).flatten(1)
    balance = (here.jacobian * fused[..., None]).sum(1)
    pelvis, root, joint, shape = hold.balance(here.params, here.tangent, delta)
    parts = [pelvis, root, joint + weights.pose_prior[:, None] * prior_pull + limits]
    if unknowns.with_shape:
        parts.append(shape + weights.shape_prior[:, None] * (here.params.shape + delta[:, unknowns.shape_begin :]))
    return balance + torch.cat(parts, dim=-1)


def weighted_step(unknowns: Unknowns, prior: BodyPrior, here: Linearisation, weights: Weights) -> Solution:
    """The Gauss–Newton layer: solves with exactly these weights; gradients reach every one of them.

    The point of linearisation is constant; gradients reach weights, stiffnesses and targets through the implicit
    function theorem, ``dδ = -H⁻¹ (dH δ + dg)``, so that training costs one more triangular solve and no matrix product.
    """
    with torch.no_grad():
        upper, _, step = _weighted(unknowns, prior, here, weights, LAYER_DAMPING)
        solution = Solution(step, upper.mT)
    if not torch.is_grad_enabled():
        return solution
    balance = weight_balance(unknowns, prior, here, weights, solution.step)
    # Its value is rounding (and the damping); its derivative is that of the solution.
    balance = balance - balance.detach()
    return Solution(solution.step - torch.cholesky_solve(balance[..., None], solution.factor)[..., 0], solution.factor)
