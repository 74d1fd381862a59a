"""Holds feet that stand: a motion that has been found is moved by as little as its evidence allows, so that points in
contact stay where they stand and soles above the floor.

What is known of the motion is taken for a Gaussian around it: each frame's own firmness (the curvature of its cost)
and the terms that tie neighbouring frames, whose precision is the block-banded matrix of ``solve.chain``. Contacts are
new evidence on it. Where a point stands, its anchor, is unknown and solved for together with the motion: each is a
border of the banded matrix, eliminated by its Schur complement. Frames that are not ``free`` do not move at all.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.solve.chain import ChainFactor, ChainSystem, factorise
from refit_mv.solve.terms.feet import FeetTerm, Ground
from refit_mv.solve.terms.motion import Rates, TimeWeights, linearised_rates, tie
from refit_mv.solve.unknowns import Unknowns

# Joints of a leg.
LEG = ("hip", "knee", "ankle", "foot")
# Steps of Gauss–Newton: corrections are small.
STEPS = 3
# What an anchor is known by without any frame, 1/m²: ten metres.
NOTHING = 1e-2


@dataclass(frozen=True, eq=False)
class Anchors:
    """Which of ``count`` knots hold a point in a frame: ``knot`` and, by ``share``, the one after it. ``precision`` in
    1/m², 0 where a point does not stand. ``creep``: how firmly (1/m²) neighbouring knots of one contact agree; they
    are ``linked`` with the next. What is known of knots beforehand: they are at ``rest``, with a precision (1/m²) of
    ``sure`` along each axis of the world.
    """

    count: int
    knot: Int[Tensor, "frame point"]
    share: Float[Tensor, "frame point"]
    precision: Float[Tensor, "frame point"]
    linked: Int[Tensor, " link"]
    creep: float
    rest: Float[Tensor, "knot 3"]
    sure: Float[Tensor, "knot 3"]

    @property
    def free(self) -> Bool[Tensor, " frame"]:
        """Frames in which any point stands."""
        return (self.precision > 0).any(-1)

    def mixture(self) -> Float[Tensor, "frame point knot"]:
        """How much each knot counts for each point."""
        mix = self.share.new_zeros(*self.knot.shape, self.count)
        mix.scatter_(-1, self.knot[..., None], 1 - self.share[..., None])
        after = (self.knot + 1).clamp_max(self.count - 1)
        return mix.scatter_add(-1, after[..., None], self.share[..., None])

    def ties(self) -> Float[Tensor, "knot knot"]:
        """Precision of the knots among one another."""
        matrix = NOTHING * torch.eye(self.count, dtype=self.share.dtype, device=self.share.device)
        for first in self.linked.tolist():
            matrix[first : first + 2, first : first + 2] += self.creep * matrix.new_tensor([[1.0, -1.0], [-1.0, 1.0]])
        return matrix


@dataclass(frozen=True, eq=False)
class Stance:
    """A chain of frames whose feet are to be held. ``parts`` of the body move (``columns_of``), ``firmness`` holds
    their unknowns where they are, and ``weights`` tie frames that are ``free``, and those beside them, to one another.
    """

    skin: LandmarkSkin
    mean: Float[Tensor, "other 3 3"]
    parts: tuple[int, ...]
    params: BodyParams
    firmness: Float[Tensor, "frame unknown unknown"]
    times: Float[Tensor, " frame"]
    weights: TimeWeights
    anchors: Anchors
    free: Bool[Tensor, " frame"]
    ground: Ground | None = None

    @property
    def columns(self) -> Int[Tensor, " unknown"]:
        """The unknowns of ``parts`` among all."""
        return columns_of(self.parts).to(self.times.device)

    def tied(self) -> ChainSystem:
        """Precision of the motion as it was found; its gradient is 0."""
        rates = linearised_rates(self.params, self.mean, self.times[None])
        chosen = torch.tensor(self.parts, device=self.times.device)
        rates = Rates(rates.interval, *(each[:, :, chosen] for each in (rates.rate, rates.by_earlier, rates.by_later)))
        weights = replace(
            self.weights,
            velocity=self.weights.velocity[..., chosen],
            acceleration=self.weights.acceleration[..., chosen],
        )
        gradient = self.firmness.new_zeros(1, *self.firmness.shape[:2])
        system = tie(self.firmness[None].clone(), gradient, rates, weights)
        return replace(system, gradient=torch.zeros_like(gradient)).restricted(self.free[None])


def columns_of(parts: tuple[int, ...]) -> Int[Tensor, " unknown"]:
    """Which unknowns belong to parts of the body: 0 is the pelvis' place, 1 the root's rotation, 1 + j joint j's."""
    return (3 * torch.tensor(parts)[:, None] + torch.arange(3)).flatten()


def leg_parts(joint_names: tuple[str, ...], side: str) -> tuple[int, ...]:
    """A leg's joints among the parts of a body."""
    return tuple(1 + joint_names.index(f"{side}_{name}") for name in LEG)


@torch.no_grad()
def hold(stance: Stance) -> BodyParams:
    """The motion with its feet held; frames that are not free come back as they are, bit for bit."""
    prior, anchors = stance.tied(), stance.anchors
    unknowns = Unknowns(stance.skin, stance.mean, False)
    params, count = stance.params, anchors.precision.shape[1]
    mix, columns = anchors.mixture(), stance.columns
    apart = prior.diagonal.new_zeros(1, *stance.firmness.shape[:2])
    places = _means(mix, anchors, pose_landmarks(stance.skin, params).positions[:, :count])
    for _ in range(STEPS):
        tangent = unknowns.tangent(params)
        target = torch.einsum("fpk,kc->fpc", mix, places)
        rows = FeetTerm(stance.skin, stance.mean, target, anchors.precision, stance.ground).linearised(params, tangent)
        jacobian = rows.jacobian[..., columns] * stance.free[:, None, None]
        pulled = (jacobian.mT @ rows.residual[..., None])[..., 0]
        system = replace(
            prior,
            diagonal=prior.diagonal + jacobian.mT @ jacobian,
            gradient=_times(prior, apart) + pulled,
        )
        white = anchors.precision.sqrt()[..., None] * mix
        step, moved = _solved(system, jacobian[:, : 3 * count], white, rows.residual[:, : 3 * count], anchors, places)
        step = torch.where(torch.isfinite(step), step, 0.0) * stance.free[None, :, None]
        whole = step.new_zeros(len(params), 3 + 3 * unknowns.joints)
        whole[:, columns] = step[0]
        trial = unknowns.moved(params, tangent, unknowns.limited(whole))
        params = stance.params.where(~stance.free, trial)
        apart, places = apart + step, places + torch.where(torch.isfinite(moved), moved, 0.0)
    return params


def _means(mix: Tensor, anchors: Anchors, places: Float[Tensor, "frame point 3"]) -> Float[Tensor, "knot 3"]:
    """Where each knot's points are, in the mean of what it holds."""
    weight = anchors.precision[..., None] * mix
    matrix = torch.einsum("fpk,fpl->kl", weight, mix) + anchors.ties() * (1 + anchors.precision.amax())
    return torch.linalg.solve(matrix, torch.einsum("fpk,fpc->kc", weight, places))


def _times(system: ChainSystem, vector: Float[Tensor, "chain frame unknown"]) -> Float[Tensor, "chain frame unknown"]:
    """The banded matrix times a vector."""
    parts = system.beside.shape[2]
    found = (system.diagonal @ vector[..., None])[..., 0]
    split = vector.unflatten(-1, (parts, 3))
    for blocks, apart in ((system.beside, 1), (system.beyond, 2)):
        if split.shape[1] > apart:
            found[:, :-apart] += (blocks @ split[:, apart:, :, :, None])[..., 0].flatten(2)
            found[:, apart:] += (blocks.mT @ split[:, :-apart, :, :, None])[..., 0].flatten(2)
    return found


def _solved(
    system: ChainSystem,
    jacobian: Float[Tensor, "frame row unknown"],
    white: Float[Tensor, "frame point knot"],
    residual: Float[Tensor, "frame row"],
    anchors: Anchors,
    places: Float[Tensor, "knot 3"],
) -> tuple[Float[Tensor, "chain frame unknown"], Float[Tensor, "knot 3"]]:
    """Steps of the frames and of the anchors."""
    factor: ChainFactor = factorise(system)
    frames, points, knots = white.shape
    border = -torch.einsum("fpcu,fpk->fukc", jacobian.unflatten(1, (points, 3)), white).flatten(2)
    right = torch.cat([border, system.gradient[0][..., None]], -1)[None]
    reduced = factor.forward(right)[0]
    edge, pull = reduced[..., :-1].flatten(0, 1), reduced[..., -1].flatten()
    ties = anchors.ties()
    own = torch.einsum("fpk,fpl->kl", white, white) + ties
    eye = torch.eye(3, dtype=own.dtype, device=own.device)
    matrix = torch.kron(own, eye) + torch.diag(anchors.sure.flatten()) - edge.T @ edge
    slope = ties @ (places - places.mean(0)) + anchors.sure * (places - anchors.rest)
    slope = slope - torch.einsum("fpk,fpc->kc", white, residual.view(frames, points, 3))
    moved = -torch.linalg.solve(matrix, slope.flatten() - edge.T @ pull)
    step = -factor.backward((reduced[..., -1:] + reduced[..., :-1] @ moved[:, None])[None])[..., 0]
    return step, moved.view(knots, 3)
