"""Cameras and bodies as unknowns of one problem: the fit's own residuals, weights and priors, and the rig as well.

Every frame's pose is eliminated by the Schur complement, so what is solved at once is small: each person's shape and
landmark offsets (:mod:`refit_mv.solve.shared_shape`), and the cameras' unknowns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.freedoms import POSE, Freedoms
from refit_mv.rigs.gauge import apart
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.shared_shape import common_deviation, common_jacobian, common_precision, shared_cost
from refit_mv.solve.terms.rays import fuse_views, robust_weight

ITERATIONS = 25
# Steps end when they change the cost by less than this share.
SETTLED = 1e-6
FIRST_DAMPING, MOST_DAMPING = 1e-4, 1e6
# Blocks of time whose errors are taken for independent.
BLOCKS = 24


@dataclass(frozen=True, eq=False)
class Sitter:
    """A person in the frames that speak about the rig. ``common``: their shape, then their landmark offsets.
    Residuals are metres at the body for the lenses of the beginning: detectors err in pixels, and a longer lens must
    not make their errors look smaller.
    """

    evidence: Evidence
    problem: FitProblem
    params: BodyParams
    common: Float[Tensor, " common"]

    def before(self, rig: CameraRig) -> "Sitter":
        """The same person before changed cameras."""
        stacked = rig.stacked()
        direction, valid = bearings(stacked, self.evidence.pixels)
        rays = self.problem.rays
        longer = stacked.focal / self.problem.rig.focal
        seen = replace(
            rays,
            center=stacked.center.expand_as(rays.center),
            bearing=direction,
            confidence=self.evidence.trust(self.problem.options) * valid,
            distance=rays.distance * longer,
        )
        return replace(self, problem=replace(self.problem.with_term(seen), rig=stacked))

    def dressed(self, params: BodyParams, common: Float[Tensor, " common"]) -> "Sitter":
        """The same person elsewhere, with other common unknowns."""
        shapes = params.shape.shape[-1]
        skin = self.problem.skin.displaced(common[shapes:].view(-1, 3))
        params = replace(params, shape=common[:shapes].expand(len(params), -1))
        return replace(self, problem=replace(self.problem, skin=skin), params=params, common=common)

    @property
    def cost(self) -> float:
        """All frames', the common priors counted once."""
        return float(shared_cost(self.problem, self.params, self.common))


@dataclass(frozen=True, eq=False)
class Joint:
    """Where the solver ended. ``covariance`` of all cameras' unknowns is from how the evidence scatters: all frames of
    a landmark in a view err alike (a detector's habit), and so do neighbouring frames.
    """

    rig: CameraRig
    sitters: tuple[Sitter, ...]
    covariance: Float[Tensor, "all all"]


@dataclass(frozen=True, eq=False)
class _System:
    """One person's normal equations of what is solved at once (common, then cameras), and how their frames answer."""

    hessian: Float[Tensor, "outer outer"]
    gradient: Float[Tensor, " outer"]
    answer: Float[Tensor, "frame own outer"]
    own_step: Float[Tensor, "frame own"]
    tangent: Float[Tensor, "frame tangent"]
    # What every landmark in every view, and every block of time, says on its own.
    voices: Float[Tensor, "voice outer"]


def solve_jointly(rig: CameraRig, sitters: Sequence[Sitter], given: CameraRig, freedoms: Freedoms) -> Joint:
    """Levenberg–Marquardt on everything, from ``rig`` on. Poses are believed to be near those of ``given``, lenses near
    ``rig``'s.
    """
    # As firm against the evidence as the priors on shape and offsets are.
    factor = max(sitter.problem.options.common_factor(len(sitter.problem)) for sitter in sitters)
    belief = factor * freedoms.sigma.pow(-2).repeat(len(rig))
    known = torch.zeros(len(rig), freedoms.count, dtype=torch.float64)
    known[:, :POSE] = apart(given, rig)
    sitters = [sitter.before(rig) for sitter in sitters]
    cost = _cost(sitters, belief, known)
    damping = FIRST_DAMPING
    for _ in range(ITERATIONS):
        systems = [_system(sitter, rig, freedoms, damping) for sitter in sitters]
        hessian, gradient, places = _assembled(systems, sitters, belief, known)
        damped = hessian + damping * torch.diag(hessian.diagonal())
        step = -torch.linalg.solve(damped, gradient)
        change = step[places[-1]].view(len(rig), -1)
        ahead = freedoms.changed(rig, change)
        trial = [
            sitter.before(ahead).dressed(
                sitter.problem.unknowns.moved(
                    sitter.params,
                    system.tangent,
                    -system.own_step - (system.answer @ torch.cat([step[place], step[places[-1]]])),
                ),
                sitter.common + step[place],
            )
            for sitter, system, place in zip(sitters, systems, places[:-1], strict=True)
        ]
        trial_cost = _cost(trial, belief, known + change)
        if trial_cost < cost:
            settled = cost - trial_cost < SETTLED * cost
            rig, sitters, known, cost = ahead, trial, known + change, trial_cost
            damping = max(damping / 5, 1e-9)
            if settled:
                break
        else:
            damping *= 8
            if damping > MOST_DAMPING:
                break
    return Joint(rig, tuple(sitters), _covariance(rig, sitters, freedoms, belief, known))


def _cost(sitters: Sequence[Sitter], belief: Tensor, known: Tensor) -> float:
    """Everybody's, and what is believed of the cameras."""
    return sum(sitter.cost for sitter in sitters) + float((belief * known.flatten() ** 2).sum())


def _assembled(
    systems: Sequence[_System], sitters: Sequence[Sitter], belief: Tensor, known: Tensor
) -> tuple[Tensor, Tensor, list[slice]]:
    """One system of all people's common unknowns and the cameras; where each is, the cameras last."""
    cameras, places, first = len(belief), [], 0
    for sitter in sitters:
        places.append(slice(first, first + len(sitter.common)))
        first += len(sitter.common)
    places.append(slice(first, first + cameras))
    hessian = torch.zeros(first + cameras, first + cameras, dtype=torch.float64)
    gradient = torch.zeros(first + cameras, dtype=torch.float64)
    rig = places[-1]
    for system, place in zip(systems, places[:-1], strict=True):
        count = place.stop - place.start
        hessian[place, place] += system.hessian[:count, :count]
        hessian[place, rig] += system.hessian[:count, count:]
        hessian[rig, place] += system.hessian[count:, :count]
        hessian[rig, rig] += system.hessian[count:, count:]
        gradient[place] += system.gradient[:count]
        gradient[rig] += system.gradient[count:]
    hessian[rig, rig] += torch.diag(belief)
    gradient[rig] += belief * known.flatten()
    return hessian, gradient, places


def _system(sitter: Sitter, rig: CameraRig, freedoms: Freedoms, damping: float) -> _System:
    problem, rays = sitter.problem, sitter.problem.rays
    here = problem.linearise(sitter.params)
    own = problem.normal_equations(here)
    feedback = here.feedback
    weight = rays.precision * robust_weight(feedback, problem.options.kernel)
    frames, views, landmarks = weight.shape
    information, pull = fuse_views(feedback, weight)
    shared = common_jacobian(problem.skin, feedback.posed)
    common = shared.shape[-1]
    by_camera = freedoms.jacobian(rig, sitter.evidence.pixels, feedback, rays.bearing, rays.distance)
    count = by_camera.shape[-1]
    outer = common + views * count

    # Landmarks' positions against the cameras: (frame, landmark, axis, view · unknown).
    towards = (weight * feedback.gain)[..., None, None] * ray_projector(feedback.toward)
    mixed = (towards @ by_camera).permute(0, 2, 3, 1, 4).reshape(frames, landmarks, 3, views * count)
    sides = torch.cat([information @ shared, mixed], -1).flatten(1, 2)
    cross = here.jacobian.mT @ sides
    # Summed over frames as one product, which is several times faster than one for each.
    flat = shared.flatten(0, 2)
    right = flat.T @ sides.flatten(0, 1)
    hessian = torch.zeros(outer, outer, dtype=torch.float64)
    hessian[:common] = right
    hessian[common:, :common] = right[:, common:].T
    weighted = weight[..., None, None] * by_camera
    for view in range(views):
        place = slice(common + view * count, common + (view + 1) * count)
        hessian[place, place] = by_camera[:, view].flatten(0, 2).T @ weighted[:, view].flatten(0, 2)
    precision = common_precision(problem, sitter.params.shape.shape[-1])
    hessian[:common, :common] += torch.diag(precision)

    # What each observation pulls, per landmark and view: at the pose, at the common unknowns, at its camera.
    across = (towards @ feedback.residual[..., None])[..., 0]
    own_damped = own.hessian + torch.diag_embed(damping * own.hessian.diagonal(dim1=-2, dim2=-1) + 1e-6)
    factor = torch.linalg.cholesky(own_damped)
    solved = torch.cholesky_solve(torch.cat([cross, own.gradient[..., None]], -1), factor)
    answer, own_step = solved[..., :-1], solved[..., -1]
    hessian = hessian - cross.flatten(0, 1).T @ answer.flatten(0, 1)
    jacobian = here.jacobian.view(frames, landmarks, 3, -1)
    # Of a landmark's pull, what is left for the outer unknowns once the pose has answered.
    left = torch.cat([shared, torch.zeros(*shared.shape[:-1], views * count, dtype=shared.dtype)], -1)
    left = left - (jacobian.flatten(1, 2) @ answer).view(frames, landmarks, 3, outer)
    voice = torch.einsum("fvla,flao->fvlo", across, left)
    at_camera = (weighted.mT @ feedback.residual[..., None])[..., 0]
    for view in range(views):
        place = slice(common + view * count, common + (view + 1) * count)
        voice[:, view, :, place] += at_camera[:, view]
    gradient = voice.sum((0, 1, 2))
    # The pose's own priors pull too.
    prior_pull = own.gradient - (jacobian.flatten(1, 2).mT @ pull.flatten(1)[..., None])[..., 0]
    gradient = gradient - (answer.mT @ prior_pull[..., None])[..., 0].sum(0)
    gradient[:common] += precision * common_deviation(problem, sitter.common)
    block = torch.arange(frames) * min(BLOCKS, frames) // frames
    in_time = torch.zeros(int(block[-1]) + 1, outer, dtype=torch.float64).index_add_(0, block, voice.sum((1, 2)))
    voices = torch.cat([voice.sum(0).flatten(0, 1), in_time])
    return _System(hessian, gradient, answer, own_step, here.tangent, voices)


def _covariance(
    rig: CameraRig, sitters: Sequence[Sitter], freedoms: Freedoms, belief: Tensor, known: Tensor
) -> Float[Tensor, "all all"]:
    """Sandwich estimate (Huber 1967; clusters as in Cameron, Gelbach & Miller 2011): what the voices, each on its own,
    would have moved.
    """
    systems = [_system(sitter, rig, freedoms, 0.0) for sitter in sitters]
    hessian, _, places = _assembled(systems, sitters, belief, known)
    inverse = torch.linalg.inv(hessian)[places[-1]]
    covariance = torch.zeros(len(belief), len(belief), dtype=torch.float64)
    count = 0
    for system, place in zip(systems, places[:-1], strict=True):
        columns = torch.cat([inverse[:, place], inverse[:, places[-1]]], 1)
        moved = system.voices @ columns.T
        covariance += moved.T @ moved
        count += int((system.voices != 0).any(-1).sum())
    return covariance * count / max(count - len(belief), 1)
