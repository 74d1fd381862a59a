"""What keypoints get wrong and keep getting wrong: points that sit beside the body's, cameras that are off, errors that
last. Time does not average these away, and what a normal matrix says of scatter knows nothing of them.

Every observation is modelled as projection + error that lasts + scatter. What lasts has three parts, each Gaussian with
a variance of its own: ``placement``, where a point sits beside the body's landmark (rest pose, the same for all views);
``view``, how far a camera is off (metres at the body, the same for all points); ``observation``, what one view gets
wrong of one point for a while. A body absorbs some of it: with M = 1 - J H⁻¹ Jᵀ W, of errors b the residuals show M b
and the body moves by H⁻¹ Jᵀ W b. What shows tells how large the variances are, divided by what of each part can show at
all, as restricted maximum likelihood has it (Patterson & Thompson, Biometrika 1971); what does not show has the same
variances, and passes into joints.
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
from refit_mv.solve.result import FitResult
from refit_mv.solve.system import Weights, linearise, normal_equations
from refit_mv.solve.terms.rays import robust_weight
from refit_mv.solve.uncertainty import joint_jacobian

# Neighbouring frames are taken together over so many seconds: bodies hardly move in them, and motion averages over as
# long.
BLOCK_SECONDS = 0.2
# So many blocks, spread over all, tell how large the variances are; so many frames do where each stands alone.
TELLING_BLOCKS, TELLING_FRAMES = 10, 6
# Standard deviations that are tried for placements and for views, metres: equally likely beforehand, but for that of
# views being about that of placements, give or take a factor of e. Two views alone hardly tell.
TRIED = (0.0005, 0.001, 0.002, 0.0035, 0.006, 0.009, 0.013, 0.018, 0.025)
ABOUT_ALIKE = 1.0
# How much of where a detector's points sit beside a body's is alike on both sides (a correlation).
MIRRORED = 0.8
# A person's own offsets and shape, where they were solved for, are known to this: a placement's standard deviation.
MET_SIGMA = 0.005
# One frame tells nothing of what lasts: a standard deviation of joints per axis, metres. Plain noise has none and the
# world ``studio`` 12 mm (four views, training motions); half-way in variance.
LONE_SIGMA = 0.008
# Errors of observations are never thought smaller than this, metres: a likelihood needs some.
LEAST_SIGMA = 0.0003
# Singular values, as a share of the largest, below which nothing shows.
HIDDEN = 1e-4
# Over time, what scatter leaves is less than the chain of frames says, and what lasts is more than this model says: it
# knows nothing of late clocks, lenses and errors that move with a limb. Variances; chosen on training motions.
TIMED_SCATTER, TIMED_LASTING = 0.65, 1.7
# It only keeps frames without any evidence invertible: a standard deviation of 10 m.
FLOOR = 1e-2


@dataclass(frozen=True)
class LastingErrors:
    """Variances of what lasts, m²."""

    placement: float
    view: float
    observation: float


def with_lasting(problem: FitProblem, result: FitResult) -> FitResult:
    """A result whose covariances know of scatter alone, with what lasts. ``problem`` as for ``lasting_covariance``."""
    found = lasting_covariance(problem, result.params)
    return replace(result, joint_covariance=result.joint_covariance + found.to(result.joint_covariance))


def lasting_covariance(problem: FitProblem, params: BodyParams) -> Float[Tensor, "frame joint 3 3"]:
    """What errors that last add to the covariance of the joints' world positions, m². ``problem`` as it was solved:
    swapped limbs undone, terms weighed as they were; ``params`` is where it was solved to.
    """
    if len(problem) == 1:
        eye = torch.eye(3, dtype=problem.bearing.dtype, device=problem.bearing.device)
        return (LONE_SIGMA**2 * eye).expand(1, len(problem.skin.parents), 3, 3)
    blocks = _blocks(problem, params)
    if len(blocks.frame) == 0:
        return problem.bearing.new_zeros(len(problem), len(problem.skin.parents), 3, 3)
    system = _System.of(problem, params, blocks)
    found = system.joint_covariance(lasting_errors(system, _met(problem)))
    found = _everywhere(problem, params, blocks.frame, found.to(problem.bearing))
    return found if problem.time_step is None else TIMED_LASTING * found


def _met(problem: FitProblem) -> bool:
    """Whether the person's own offsets were solved for."""
    offset = problem.skin.offset if problem.usual is None else problem.skin.offset - problem.usual
    return bool(offset.any())


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Neighbouring frames taken as one. ``frame`` is the middle one, ``weight`` their mean (1/m²), ``residual`` the
    weighted mean of what passes by across the rays, metres.
    """

    frame: Int[Tensor, " block"]
    weight: Float[Tensor, "block view landmark"]
    residual: Float[Tensor, "block view landmark 3"]


def _blocks(problem: FitProblem, params: BodyParams) -> _Blocks:
    """Blocks that saw anything."""
    frames = len(problem)
    if problem.time_step is None:
        seen = torch.nonzero(problem.seen)[:, 0]
        place = torch.linspace(0, max(len(seen) - 1, 0), min(TELLING_FRAMES, len(seen))).round().long()
        middle = seen[place.to(seen.device)]
        problem, params, group = problem.frames(middle), params[middle], torch.arange(len(middle))
        at = group
    else:
        count = max(1, round(frames * problem.time_step / BLOCK_SECONDS))
        group = torch.arange(frames) * count // frames
        middle = at = ((2 * torch.arange(count) + 1) * frames) // (2 * count)
    feedback = problem.feedback(params)
    weight = problem.rays.precision * robust_weight(feedback, problem.options.kernel)
    pull = feedback.residual - (feedback.toward * feedback.residual).sum(-1, keepdim=True) * feedback.toward
    group, middle = group.to(weight.device), middle.to(weight.device)
    size = torch.bincount(group, minlength=len(middle)).to(weight)
    summed = weight.new_zeros(len(middle), *weight.shape[1:]).index_add(0, group, weight)
    pulled = pull.new_zeros(len(middle), *pull.shape[1:]).index_add(0, group, weight[..., None] * pull)
    finite = torch.isfinite(summed).flatten(1).all(-1) & torch.isfinite(pulled).flatten(1).all(-1)
    seen = torch.nonzero(finite & params.finite[at] & summed.flatten(1).any(-1))[:, 0]
    weight, residual = summed / size[:, None, None], pulled / summed[..., None].clamp_min(1e-9)
    return _Blocks(middle[seen], weight[seen], residual[seen])


@dataclass(frozen=True, eq=False)
class _System:
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
    def of(problem: FitProblem, params: BodyParams, blocks: _Blocks) -> "_System":
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
        found = _System(
            weight, blocks.residual.to(kind), gain, turn, here.jacobian, plain, weight[..., None, None] * plain,
            factor, reach, problem.skin.landmark_names,
        )  # fmt: skip
        usual = 0.0 if problem.usual is None else problem.usual.to(kind)
        return found.without_offset(unknowns.skin.offset - usual)

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, chosen: Tensor) -> "_System":
        return replace(
            self, **{each.name: getattr(self, each.name)[chosen] for each in fields(self) if each.name != "names"}
        )

    @property
    def placed(self) -> int:
        """How many columns are placements'."""
        return 3 * self.turn.shape[1]

    def without_offset(self, offset: Float[Tensor, "landmark 3"]) -> "_System":
        """With the residuals that a fit of landmarks without their own offsets would leave."""
        if not bool(offset.any()):
            return self
        moved = self.turn @ offset[..., None]
        pull = self.jacobian.mT @ (self.plain.sum(1) @ moved).flatten(1, 2)
        left = moved.flatten(1, 2) - self.jacobian @ torch.cholesky_solve(pull, self.factor)
        seen = self.plain @ left.unflatten(1, (-1, 3))[:, None]
        seen = seen[..., 0] / (self.weight * self.gain).clamp_min(1e-9)[..., None]
        return replace(self, residual=self.residual - seen)

    def mirrored(self, columns: Float[Tensor, "*batch placed"]) -> Float[Tensor, "*batch placed"]:
        """Columns of placements times the placements' correlations: both sides are mostly mirror images."""
        other, sign = _mirror(self.names)
        return columns + MIRRORED * columns[..., other.to(columns.device)] * sign.to(columns)

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
        found = errors.placement * (self.mirrored(placed) @ placed.mT) + errors.view * (viewed @ viewed.mT)
        if errors.observation == 0:
            return found
        single = (self.reach @ self.at_unknowns(self.squared)).unflatten(1, (-1, 3))
        return found + errors.observation * (single @ self.reach.unflatten(1, (-1, 3)).mT)


@lru_cache(maxsize=16)
def _mirror(names: tuple[str, ...]) -> tuple[Int[Tensor, " placed"], Float[Tensor, " placed"]]:
    """The place of every placement's mirror image, and its sign."""
    other = torch.tensor(mirrored_order(names))
    return (3 * other[:, None] + torch.arange(3)).flatten(), torch.tensor([-1.0, 1.0, 1.0]).repeat(len(names))


def lasting_errors(system: _System, met: bool) -> LastingErrors:
    """The variances, from what residuals of different blocks have in common."""
    place = torch.linspace(0, len(system) - 1, min(TELLING_BLOCKS, len(system))).round().long()
    shown = _Shown.of(system[place.to(system.weight.device)])
    placement, view = shown.likely()
    observation = 0.0
    if len(system) > 1:
        weight = (system.weight[1:] * system.weight[:-1]).sqrt()
        common = (weight * (system.residual[1:] * system.residual[:-1]).sum(-1)).sum((-1, -2)).mean()
        observation = max(float(shown.left(common, torch.tensor([[placement, view]]))), 0.0)
    return LastingErrors(placement + (MET_SIGMA**2 if met else 0.0), view, observation)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What can show of errors of unit variance, and what shows. ``visible`` is how errors show in what residuals tell
    of them, ``scattered`` the covariance there of errors of observations, ``told`` the squares of what shows.
    ``parts`` is what placements, views and observations add to the sum of squared residuals, ``common`` what
    of that sum is not each block's own, ``noise`` the variance that the rest leaves in a mean over blocks.
    """

    system: _System
    visible: Float[Tensor, "error error"]
    scattered: Float[Tensor, "error error"]
    told: Float[Tensor, " error"]
    parts: Float[Tensor, "3"]
    common: Float[Tensor, ""]
    noise: Float[Tensor, ""]

    @staticmethod
    def of(system: _System) -> "_Shown":
        eye = torch.eye(system.factor.shape[-1], dtype=system.factor.dtype, device=system.factor.device)
        white = torch.linalg.solve_triangular(system.factor, eye.expand_as(system.factor), upper=False)
        once, twice = system.carried(white, system.plain), system.carried(white, system.squared)
        evidence = white @ system.at_unknowns(system.plain) @ white.mT
        noise = white @ system.at_unknowns(system.squared) @ white.mT
        own, taken, across = system.own(system.plain), once.mT @ once, once.mT @ twice
        visible = (own - taken).mean(0)
        scattered = (system.own(system.squared) - across - across.mT + once.mT @ noise @ once).mean(0)
        squares = (own - 2 * taken + once.mT @ evidence @ once).mean(0)
        rest = system.placed
        parts = torch.stack(
            [
                system.mirrored(squares[:rest, :rest]).diagonal().sum(),
                squares[rest:, rest:].diagonal().sum(),
                (
                    2 * system.weight.sum((-1, -2))
                    - 2 * noise.diagonal(dim1=-2, dim2=-1).sum(-1)
                    + (evidence * noise).sum((-1, -2))
                ).mean(),
            ]
        )
        root = system.weight.sqrt()[..., None] * system.residual
        squared, common = (root**2).sum() / len(system), _common(root).sum()
        # Whatever views might do is taken out before placements are judged.
        apart = torch.eye(len(visible), dtype=visible.dtype, device=visible.device)
        apart[:rest, rest:] = -visible[:rest, rest:] @ torch.linalg.pinv(
            visible[rest:, rest:], rtol=HIDDEN, hermitian=True
        )
        return _Shown(
            system,
            apart @ visible,
            apart @ scattered @ apart.mT,
            (system.seen_errors.mean(0) @ apart.mT) ** 2,
            parts,
            common,
            (squared - common) / parts[2] / len(system),
        )

    def left(self, common: Tensor, variances: Float[Tensor, "trial 2"]) -> Float[Tensor, " trial"]:
        """The variance of observations' errors, where placements and views have ``variances``."""
        return (common - variances.to(self.parts) @ self.parts[:2]) / self.parts[2]

    def likely(self) -> tuple[float, float]:
        """The mean variances of placements and of views, m², given what shows."""
        rest = self.system.placed
        tried = torch.tensor([[one**2, other**2] for one in TRIED for other in TRIED]).to(self.parts)
        single = self.left(self.common, tried).clamp_min(LEAST_SIGMA**2) + self.noise
        variances = torch.cat([tried, single[:, None]], dim=1)
        placed, viewed = self.visible[:, :rest], self.visible[:, rest:]
        covariances = [self.system.mirrored(placed) @ placed.mT, viewed @ viewed.mT, self.scattered]
        plausible = -((tried[:, 1] / tried[:, 0]).log() ** 2) / (8 * ABOUT_ALIKE**2)
        for rows in (slice(0, rest), slice(rest, None)):
            own = torch.stack([each[rows, rows] for each in covariances])
            # A sum of squares of this covariance is nearly that of so many independent ones (Satterthwaite 1946). Less
            # than the smallest variances leave is no news.
            expected = variances @ own.diagonal(dim1=-2, dim2=-1).sum(-1)
            square = torch.einsum("aij,bij->ab", own, own)
            if float(expected.min()) <= 0:
                continue
            degrees = expected**2 / (variances @ square * variances).sum(-1)
            ratio = torch.maximum(self.told[rows].sum(), expected.min()) / expected
            density = (degrees / 2 - 1) * (degrees / 2 * ratio).log() - degrees / 2 * ratio - torch.lgamma(degrees / 2)
            plausible = plausible + density + (degrees / 2 / expected).log()
        placement, view = (torch.softmax(plausible, 0) @ tried).tolist()
        return placement, view


def _common(told: Float[Tensor, "block *axes"]) -> Float[Tensor, "*axes"]:
    """The mean product of different blocks: squares without what is each block's own."""
    if len(told) == 1:
        return torch.zeros_like(told[0])
    return (told.sum(0) ** 2 - (told**2).sum(0)) / (len(told) * (len(told) - 1))


def _everywhere(
    problem: FitProblem, params: BodyParams, place: Int[Tensor, " block"], covariance: Float[Tensor, "block joint 3 3"]
) -> Float[Tensor, "frame joint 3 3"]:
    """Covariances of all frames from those of some: between neighbours in time blended, of frames that stand alone the
    mean of the others, as the root has it.
    """
    frames = len(problem)
    if problem.time_step is None:
        if len(place) == frames:
            return covariance
        root = params.rotations[:, None, 0]
        mean = (root[place].mT @ covariance @ root[place]).mean(0)
        return root @ mean @ root.mT
    if len(place) == 1:
        return covariance.expand(frames, -1, -1, -1)
    at = torch.arange(frames, device=place.device).clamp(int(place[0]), int(place[-1]))
    after = torch.searchsorted(place, at, right=True).clamp(1, len(place) - 1)
    share = (at - place[after - 1]) / (place[after] - place[after - 1])
    return torch.lerp(covariance[after - 1], covariance[after], share.to(covariance)[:, None, None, None])
