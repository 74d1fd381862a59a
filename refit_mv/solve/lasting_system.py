"""The linear system of neighbouring frames taken as one, and how errors that last pull at it.

With M = 1 - J H⁻¹ Jᵀ W, of errors b the residuals show M b and the body moves by H⁻¹ Jᵀ W b.
"""

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import offset_jacobian
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.solve.chain import part_blocks
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.system import Weights, linearise, normal_equations
from refit_mv.solve.terms.rays import robust_weight
from refit_mv.solve.uncertainty import joint_jacobian

# Neighbouring frames are taken together over so many seconds: bodies hardly move in them, and motion averages over as
# long.
BLOCK_SECONDS = 0.2
# Of frames that stand alone so many, spread over all, tell what lasts.
TELLING_FRAMES = 6
# How much of where a detector's points sit beside a body's is alike on both sides (a correlation).
MIRRORED = 0.8
# It only keeps frames without any evidence invertible: a standard deviation of 10 m.
FLOOR = 1e-2


@dataclass(frozen=True)
class LastingErrors:
    """Variances of what lasts, m²."""

    placement: float
    view: float
    observation: float


@dataclass(frozen=True, eq=False)
class Blocks:
    """Neighbouring frames taken as one. ``frame`` is the middle one, ``weight`` their mean (1/m²), ``residual`` the
    weighted mean of what passes by across the rays, metres.
    """

    frame: Int[Tensor, " block"]
    weight: Float[Tensor, "block view landmark"]
    residual: Float[Tensor, "block view landmark 3"]

    @staticmethod
    def of(problem: FitProblem, params: BodyParams) -> "Blocks":
        """Blocks that saw anything: of neighbours in time so many seconds each, of frames that are none single ones."""
        frames = len(problem)
        if problem.time_step is None:
            seen = torch.nonzero(problem.seen)[:, 0]
            place = torch.linspace(0, max(len(seen) - 1, 0), min(TELLING_FRAMES, len(seen))).round().long()
            middle = seen[place.to(seen.device)]
            group = torch.arange(len(middle))
            found = Blocks._grouped(problem.frames(middle), params[middle], group, group)
            return replace(found, frame=middle[found.frame])
        count = max(1, round(frames * problem.time_step / BLOCK_SECONDS))
        middle = ((2 * torch.arange(count) + 1) * frames) // (2 * count)
        return Blocks._grouped(problem, params, torch.arange(frames) * count // frames, middle)

    @staticmethod
    def one(problem: FitProblem, params: BodyParams) -> "Blocks":
        """All frames as one block, which stands where the last one does; none if nothing was seen."""
        frames = len(problem)
        return Blocks._grouped(problem, params, torch.zeros(frames, dtype=torch.long), torch.tensor([frames - 1]))

    @staticmethod
    def _grouped(
        problem: FitProblem, params: BodyParams, group: Int[Tensor, " frame"], middle: Int[Tensor, " block"]
    ) -> "Blocks":
        feedback = problem.feedback(params)
        weight = problem.rays.precision * robust_weight(feedback, problem.options.kernel)
        pull = feedback.residual - (feedback.toward * feedback.residual).sum(-1, keepdim=True) * feedback.toward
        group, middle = group.to(weight.device), middle.to(weight.device)
        size = torch.bincount(group, minlength=len(middle)).to(weight)
        summed = weight.new_zeros(len(middle), *weight.shape[1:]).index_add(0, group, weight)
        pulled = pull.new_zeros(len(middle), *pull.shape[1:]).index_add(0, group, weight[..., None] * pull)
        finite = torch.isfinite(summed).flatten(1).all(-1) & torch.isfinite(pulled).flatten(1).all(-1)
        seen = torch.nonzero(finite & params.finite[middle] & summed.flatten(1).any(-1))[:, 0]
        weight, residual = summed / size[:, None, None], pulled / summed[..., None].clamp_min(1e-9)
        return Blocks(middle[seen], weight[seen], residual[seen])


@dataclass(frozen=True, eq=False)
class LastingSystem:
    """The linear system of every block, single precision. Columns of errors: placements (three a landmark, rest axes),
    then views (three each, world axes). ``turn`` is world from rest at every landmark, ``plain`` and ``squared`` are
    w g² P and w² g² P of every observation, ``factor`` Cholesky's of the Hessian, ``reach`` how joints follow pulls on
    the unknowns. ``other`` and ``sign`` find a placement's mirror image.
    """

    weight: Float[Tensor, "block view landmark"]
    residual: Float[Tensor, "block view landmark 3"]
    gain: Float[Tensor, "block view landmark"]
    turn: Float[Tensor, "block landmark 3 3"]
    jacobian: Float[Tensor, "block row unknown"]
    plain: Float[Tensor, "block view landmark 3 3"]
    squared: Float[Tensor, "block view landmark 3 3"]
    factor: Float[Tensor, "block unknown unknown"]
    reach: Float[Tensor, "block joint_row unknown"]
    names: tuple[str, ...]

    @staticmethod
    def of(problem: FitProblem, params: BodyParams, blocks: Blocks) -> "LastingSystem":
        kind = torch.float32
        unknowns, prior = problem.unknowns.to(kind), problem.prior.to(kind)
        params, weight = params[blocks.frame].to(kind), blocks.weight.to(kind)
        here = linearise(unknowns, problem.rays[blocks.frame].to(kind), params)
        one = here.tangent.new_ones(len(here.tangent))
        weights = Weights(weight, prior.pose.weight * one, prior.shape.weight * one)
        hessian = normal_equations(unknowns, prior, here, weights).hessian
        eye = torch.eye(hessian.shape[-1], dtype=kind, device=hessian.device)
        factor, failed = torch.linalg.cholesky_ex(hessian + FLOOR * eye)
        factor = torch.where((failed == 0)[:, None, None], factor, 1e3 * eye)
        gain = here.feedback.gain
        plain = (weight * gain**2)[..., None, None] * ray_projector(here.feedback.toward)
        reach = torch.cholesky_solve(joint_jacobian(unknowns, params).mT, factor).mT
        turn = offset_jacobian(unknowns.skin, here.feedback.posed)
        found = LastingSystem(
            weight, blocks.residual.to(kind), gain, turn, here.jacobian, plain, weight[..., None, None] * plain,
            factor, reach, problem.skin.landmark_names,
        )  # fmt: skip
        usual = 0.0 if problem.usual is None else problem.usual.to(kind)
        return found.without_offset(unknowns.skin.offset - usual)

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, chosen: slice | Tensor) -> "LastingSystem":
        return replace(
            self, **{each.name: getattr(self, each.name)[chosen] for each in fields(self) if each.name != "names"}
        )

    @property
    def placed(self) -> int:
        """How many columns are placements'."""
        return 3 * self.turn.shape[1]

    def without_offset(self, offset: Float[Tensor, "landmark 3"]) -> "LastingSystem":
        """With the residuals that a fit of landmarks without their own offsets would leave."""
        if not bool(offset.any()):
            return self
        moved = self.turn @ offset[..., None]
        pull = self.jacobian.mT @ (self.plain.sum(1) @ moved).flatten(1, 2)
        left = moved.flatten(1, 2) - self.jacobian @ torch.cholesky_solve(pull, self.factor)
        seen = self.plain @ left.unflatten(1, (-1, 3))[:, None]
        seen = seen[..., 0] / (self.weight * self.gain).clamp_min(1e-9)[..., None]
        return replace(self, residual=self.residual - seen)

    def carried(
        self, rows: Float[Tensor, "block row unknown"], information: Float[Tensor, "block view landmark 3 3"]
    ) -> Float[Tensor, "block row error"]:
        """Rows that follow the unknowns, times Jᵀ W Z: how they follow what errors do to the unknowns."""
        moved = (rows @ self.jacobian.mT).unflatten(2, (-1, 3)).transpose(1, 2)
        placed = moved @ (information.sum(1) @ self.turn)
        viewed = moved.transpose(1, 2).flatten(2) @ information.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)
        return torch.cat([placed.transpose(1, 2).flatten(2), viewed], dim=2)

    def own(self, information: Float[Tensor, "block view landmark 3 3"]) -> Float[Tensor, "block error error"]:
        """How errors pull at errors, Zᵀ W Z."""
        blocks, views, points = information.shape[:3]
        size, rest = 3 * (points + views), self.placed
        found = information.new_zeros(blocks, size, size)
        placed = self.turn.mT @ information.sum(1) @ self.turn
        across = (self.turn.mT[:, None] @ information).permute(0, 2, 3, 1, 4).reshape(blocks, rest, -1)
        found[:, :rest, rest:], found[:, rest:, :rest] = across, across.mT
        part_blocks(found[:, :rest, :rest], points).copy_(placed.permute(0, 2, 3, 1))
        part_blocks(found[:, rest:, rest:], views).copy_(information.sum(2).permute(0, 2, 3, 1))
        return found

    def at_unknowns(
        self, information: Float[Tensor, "block view landmark 3 3"]
    ) -> Float[Tensor, "block unknown unknown"]:
        """Jᵀ W J."""
        weighted = information.sum(1) @ self.jacobian.unflatten(1, (-1, 3))
        return self.jacobian.mT @ weighted.flatten(1, 2)

    @property
    def seen_errors(self) -> Float[Tensor, "block error"]:
        """What residuals tell of the errors, Zᵀ W r."""
        pull = (self.weight * self.gain)[..., None] * self.residual
        placed = (self.turn.mT @ pull.sum(1)[..., None])[..., 0]
        return torch.cat([placed.flatten(1), pull.sum(2).flatten(1)], dim=1)

    def joint_covariance(self, errors: LastingErrors) -> Float[Tensor, "block joint 3 3"]:
        """What errors of such variances make of the joints' positions, m²."""
        moved = self.carried(self.reach, self.plain).unflatten(1, (-1, 3))
        placed, viewed = moved[..., : self.placed], moved[..., self.placed :]
        found = errors.placement * (mirrored(placed, self.names) @ placed.mT) + errors.view * (viewed @ viewed.mT)
        if errors.observation == 0:
            return found
        single = (self.reach @ self.at_unknowns(self.squared)).unflatten(1, (-1, 3))
        return found + errors.observation * (single @ self.reach.unflatten(1, (-1, 3)).mT)


def mirrored(columns: Float[Tensor, "*batch placed"], names: tuple[str, ...]) -> Float[Tensor, "*batch placed"]:
    """Columns of placements times the placements' correlations: both sides are mostly mirror images."""
    other, sign = _mirror(names)
    return columns + MIRRORED * columns[..., other.to(columns.device)] * sign.to(columns)


@lru_cache(maxsize=16)
def _mirror(names: tuple[str, ...]) -> tuple[Int[Tensor, " placed"], Float[Tensor, " placed"]]:
    """The place of every placement's mirror image, and its sign."""
    other = torch.tensor(mirrored_order(names))
    return (3 * other[:, None] + torch.arange(3)).flatten(), torch.tensor([-1.0, 1.0, 1.0]).repeat(len(names))
