"""Bodies do not pass through each other: where the capsules of two people overlap, both give way.

A person's fit says how firmly it holds in which direction, by the curvature of its cost at the solution (Laplace's
approximation, as for the uncertainty). Against these springs overlaps push along the shortest way out, with a cost that
is quadratic and one-sided. All people of a frame who touch are one system, so that nobody comes first: whoever is known
better gives way less. Frames in which nobody overlaps stay as they are, bit for bit.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.capsules import capsule_skin
from refit_mv.body.overlap import Overlap, overlap
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.unknowns import Unknowns

# Flesh gives way by so many metres. What is deeper costs as much as an observation with a standard deviation of so many
# metres: of made-up people who touch, twice that leaves half the overlap that there was, half of it makes them tremble.
FLESH, SPREAD = 0.005, 0.01
# Pelvises farther apart than this (metres) belong to people who cannot touch.
OUT_OF_REACH = 2.2
# The deepest overlaps of two people in a frame that push.
DEEPEST = 12
# Levenberg–Marquardt: steps, and how firmly the first is damped, relative to the diagonal.
STEPS, DAMPING = 8, 1e-4
# Frames solved together, to bound memory.
BATCH = 64


@dataclass(frozen=True, eq=False)
class Moved:
    """Frames in which somebody gave way, where to, and how deep they were in whom before and after (metres)."""

    rows: Int[Tensor, " row"]
    params: BodyParams
    before: Float[Tensor, " row"]
    after: Float[Tensor, " row"]


@dataclass(frozen=True, eq=False)
class Standing:
    """One person as the answer to a ``problem``. ``present``: the frames in which that is to be believed. Everybody has
    the same frames.
    """

    problem: FitProblem
    params: BodyParams
    present: Bool[Tensor, " frame"]

    @property
    def radius(self) -> Float[Tensor, " capsule"]:
        return capsule_skin(self.problem.body).radius.to(self.params.pelvis)

    @property
    def unknowns(self) -> Unknowns:
        skin = capsule_skin(self.problem.body).skin.to(self.params.pelvis.dtype, self.params.pelvis.device)
        return Unknowns(skin, self.problem.mean_pose, False)

    def frames(self, rows: Int[Tensor, " row"]) -> "Standing":
        """The same person in some frames."""
        return Standing(self.problem.frames(rows), self.params[rows], self.present[rows])

    def ends(self, params: BodyParams) -> Float[Tensor, "frame capsule 2 3"]:
        """Both ends of the axes of their capsules."""
        return capsule_skin(self.problem.body).ends(pose_landmarks(self.unknowns.skin, params).positions)

    def firmness(self) -> Float[Tensor, "frame unknown unknown"]:
        """What holds them where they are, 1/m² and 1/rad²."""
        return self.problem.normal_equations(self.problem.linearise(self.params, with_shape=False)).hessian


def deepest(people: Sequence[Standing]) -> Float[Tensor, "person person frame"]:
    """How deep everybody is in everybody else at most, metres; infinitely apart who is not there or out of reach."""
    found = torch.full((len(people), len(people), len(people[0].params)), -torch.inf, dtype=torch.float64)
    for one, other in combinations(range(len(people)), 2):
        first, second = people[one], people[other]
        away = (first.params.pelvis - second.params.pelvis).norm(dim=-1)
        for rows in torch.nonzero(first.present & second.present & (away < OUT_OF_REACH))[:, 0].split(BATCH):
            ends = [each.ends(each.params[rows]) for each in (first, second)]
            depth = _overlap(ends[0], ends[1], first.radius, second.radius).depth.flatten(1).amax(1)
            found[one, other, rows.cpu()] = found[other, one, rows.cpu()] = depth.to("cpu", torch.float64)
    return found


def move_apart(people: Sequence[Standing]) -> tuple[Moved, ...]:
    """For every person the frames in which they gave way."""
    before = deepest(people)
    touch = before > FLESH
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in torch.nonzero(touch.any(0).any(0))[:, 0].tolist():
        groups[tuple(torch.nonzero(touch[:, :, row].any(1))[:, 0].tolist())].append(row)
    parts: list[list[tuple[Tensor, BodyParams, Tensor]]] = [[] for _ in people]
    for who, rows in groups.items():
        for chosen in torch.tensor(rows, device=people[0].params.pelvis.device).split(BATCH):
            group = [people[place].frames(chosen) for place in who]
            answers = _apart(group)
            after = deepest([replace(each, params=params) for each, params in zip(group, answers, strict=True)])
            for number, place in enumerate(who):
                parts[place].append((chosen, answers[number], after[number].amax(0)))
    deep = before.amax(1)
    return tuple(_joined(person, mine, own) for person, mine, own in zip(people, parts, deep, strict=True))


def _joined(person: Standing, parts: list[tuple[Tensor, BodyParams, Tensor]], before: Float[Tensor, " frame"]) -> Moved:
    """All groups that somebody was in, in order."""
    if not parts:
        nobody = torch.zeros(0, dtype=torch.int64)
        return Moved(nobody, person.params[:0], before[:0], before[:0])
    rows = torch.cat([rows for rows, _, _ in parts])
    order = rows.argsort()
    params = BodyParams.concatenate([params for _, params, _ in parts])[order]
    after = torch.cat([after for _, _, after in parts])[order.cpu()]
    return Moved(rows[order], params, before[rows[order].cpu()], after)


def _overlap(
    one: Float[Tensor, "frame capsule 2 3"],
    other: Float[Tensor, "frame capsule 2 3"],
    radius_one: Float[Tensor, " capsule"],
    radius_other: Float[Tensor, " capsule"],
) -> Overlap:
    return overlap(one[:, :, None], other[:, None], radius_one[:, None] + radius_other)


@torch.no_grad()
def _apart(people: Sequence[Standing]) -> list[BodyParams]:
    """Where everybody of these frames goes, who all touch somebody: Levenberg–Marquardt, each frame by itself."""
    springs = torch.stack([person.firmness() for person in people], 1)
    frames, count, size = springs.shape[:3]
    params = [person.params for person in people]
    stretched = springs.new_zeros(frames, count, size)
    damping = springs.new_full((frames, 1), DAMPING)
    cost = _cost(people, params, springs, stretched)
    for _ in range(STEPS):
        system, pull = _pushed(people, params)
        held = (springs @ stretched[..., None])[..., 0]
        for place in range(count):
            own = slice(place * size, (place + 1) * size)
            system[:, own, own] += springs[:, place]
            pull[:, own] += held[:, place]
        diagonal = system.diagonal(dim1=-2, dim2=-1)
        diagonal += damping * (diagonal + 1)
        factor, failed = torch.linalg.cholesky_ex(system)
        step = -torch.cholesky_solve(pull[..., None], factor)[..., 0]
        step = torch.where(((failed == 0) & torch.isfinite(step).all(-1))[:, None], step, 0.0)
        unknowns = [person.unknowns for person in people]
        limited = [each.limited(part) for each, part in zip(unknowns, step.split(size, -1), strict=True)]
        trial = [
            each.moved(here, each.tangent(here), taken)
            for each, here, taken in zip(unknowns, params, limited, strict=True)
        ]
        reached = stretched + torch.stack(limited, 1)
        found = _cost(people, trial, springs, reached)
        better = found < cost
        params = [there.where(~better, here) for here, there in zip(params, trial, strict=True)]
        stretched = torch.where(better[:, None, None], reached, stretched)
        cost = torch.where(better, found, cost)
        damping = torch.where(better[:, None], damping / 10, damping * 10)
    return params


def _cost(
    people: Sequence[Standing],
    params: Sequence[BodyParams],
    springs: Float[Tensor, "frame person unknown unknown"],
    stretched: Float[Tensor, "frame person unknown"],
) -> Float[Tensor, " frame"]:
    """How far springs are stretched and bodies in each other."""
    total = (stretched * (springs @ stretched[..., None])[..., 0]).sum((-1, -2))
    ends = [person.ends(here) for person, here in zip(people, params, strict=True)]
    for one, other in combinations(range(len(people)), 2):
        depth = _overlap(ends[one], ends[other], people[one].radius, people[other].radius).depth
        total = total + _pushing(depth).values.square().sum(-1)
    return total


def _pushing(depth: Float[Tensor, "frame capsule capsule"]) -> torch.return_types.topk:
    """The deepest overlaps, whitened, and which they are."""
    excess = (depth - FLESH).clamp_min(0).flatten(1) / SPREAD
    return excess.topk(min(DEEPEST, excess.shape[1]), dim=1)


def _pushed(
    people: Sequence[Standing], params: Sequence[BodyParams]
) -> tuple[Float[Tensor, "frame unknown unknown"], Float[Tensor, "frame unknown"]]:
    """Normal equations of all overlaps."""
    ends, slopes = [], []
    for person, here in zip(people, params, strict=True):
        capsules, unknowns = capsule_skin(person.problem.body), person.unknowns
        posed = pose_landmarks(unknowns.skin, here)
        jacobian = unknowns.jacobian(posed, unknowns.tangent(here)).unflatten(1, (-1, 3))
        ends.append(capsules.ends(posed.positions))
        slopes.append(capsules.ends(jacobian.flatten(2)).unflatten(-1, (3, -1)))
    frames, size = len(params[0]), slopes[0].shape[-1]
    system = ends[0].new_zeros(frames, len(people) * size, len(people) * size)
    pull = ends[0].new_zeros(frames, len(people) * size)
    frame = torch.arange(frames, device=pull.device)[:, None]
    for one, other in combinations(range(len(people)), 2):
        found = _overlap(ends[one], ends[other], people[one].radius, people[other].radius)
        residual, place = _pushing(found.depth)
        capsule = place // found.depth.shape[2], place % found.depth.shape[2]
        at = (frame, *capsule)
        pushing = (residual > 0)[..., None] * found.direction[at] / SPREAD
        rows = pull.new_zeros(frames, residual.shape[1], len(people), size)
        for end, who, sign, along in ((0, one, -1.0, found.on_one), (1, other, 1.0, found.on_other)):
            share = along[at][..., None, None]
            of = slopes[who][frame, capsule[end]]
            rows[:, :, who] = sign * torch.einsum(
                "frx,frxu->fru", pushing, (1 - share) * of[:, :, 0] + share * of[:, :, 1]
            )
        rows = rows.flatten(2)
        system += rows.mT @ rows
        pull += (rows.mT @ residual[..., None])[..., 0]
    return system, pull
