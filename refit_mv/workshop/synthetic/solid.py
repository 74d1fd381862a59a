"""Made-up people whose bodies do not pass through each other.

Recorded movements know nothing of whom they are put next to. Here each person's movement is displaced so that no
capsule of one body lies in one of another's: by a curve over the whole take (a cubic B-spline of every unknown), as
small and as smooth as that allows, so that limbs give way before they are hit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.interpolate import BSpline
from scipy.optimize import least_squares
from scipy.sparse import coo_array, csr_array, diags_array, eye_array, kron, vstack
from torch import Tensor

from refit_mv.body.capsules import CapsuleSkin, capsule_skin
from refit_mv.body.model import BodyModel
from refit_mv.body.overlap import Overlap, overlap
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import pose_landmarks
from refit_mv.solve.unknowns import ParameterVector, Unknowns

# Seconds between the knots of the curves.
KNOTS = 0.2
# Pelvises move sideways, and up or down, by so many metres, joints turn by so many radians, and both are sped up by so
# many metres or radians a second squared, as readily as a body lies so many metres deep in another: first, to find a
# way out, then, until nobody is deeper in anybody than ``FLESH``.
ASIDE, UP, TURN, SPEED_UP = 0.15, 0.03, 0.3, 5.0
FIRMNESS = (0.01, 0.004, 0.002, 0.001, 0.001, 0.001)
# Flesh gives way by so many metres; what is less deep is let be.
FLESH, LET_BE = 0.01, 0.003
# Capsules nearer to each other than this, metres, are watched while a system of so many steps is solved.
WATCHED, STEPS = 0.1, 12
# Frames whose Jacobians are made together, to bound memory.
_BATCH = 256


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Capsules that are watched: in a frame, one person's and another's."""

    frame: Int[Tensor, " pair"]
    person: Int[Tensor, "2 pair"]
    capsule: Int[Tensor, "2 pair"]

    def chosen(self, rows: Int[np.ndarray, " chosen"]) -> "_Pairs":
        return _Pairs(self.frame[rows], self.person[:, rows], self.capsule[:, rows])


@dataclass(frozen=True, eq=False)
class _Curves:
    """Everybody's movement, and what displaces it: ``value = basis @ coefficients`` of every person and unknown, in
    units of ``softness``. ``count`` coefficients make a curve; ``seconds`` from frame to frame, ``knot_seconds`` from
    coefficient to coefficient, unless frames are not ``tied`` to one another.
    """

    body: BodyModel
    people: tuple[ParameterVector, ...]
    start: Float[Tensor, "person frame unknown"]
    basis: csr_array
    count: int
    seconds: float
    knot_seconds: float
    tied: bool
    softness: Float[np.ndarray, " unknown"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Coefficients of how many curves, people and unknowns."""
        return self.count, len(self.people), len(self.softness)

    @cached_property
    def capsules(self) -> CapsuleSkin:
        return capsule_skin(self.body)

    def vectors(self, curves: Float[np.ndarray, " coefficient"]) -> Float[Tensor, "person frame unknown"]:
        """Where the unknowns are."""
        moved = (self.basis @ curves.reshape(self.count, -1)).reshape(-1, *self.shape[1:]) * self.softness
        return self.start + torch.from_numpy(moved).transpose(0, 1)

    def moved(self, curves: Float[np.ndarray, " coefficient"]) -> tuple[BodyParams, ...]:
        """Where everybody is."""
        return tuple(each.unpack(vector) for each, vector in zip(self.people, self.vectors(curves), strict=True))

    def ends(self, params: BodyParams) -> Float[Tensor, "frame capsule 2 3"]:
        return self.capsules.ends(pose_landmarks(self.capsules.skin, params).positions)

    def watched(self, curves: Float[np.ndarray, " coefficient"]) -> _Pairs:
        """What is near to one another."""
        ends, radius = [self.ends(params) for params in self.moved(curves)], self.capsules.radius
        reach = radius[:, None] + radius
        found = []
        for one, other in combinations(range(len(ends)), 2):
            depth = overlap(ends[one][:, :, None], ends[other][:, None], reach).depth
            frame, first, second = torch.nonzero(depth > -WATCHED).T
            whom = torch.tensor([[one], [other]]).expand(2, len(frame))
            found.append((frame, whom, torch.stack([first, second])))
        return _Pairs(*(torch.cat([part[place] for part in found], -1) for place in range(3)))

    def measured(self, params: Sequence[BodyParams], pairs: _Pairs) -> Overlap:
        ends = torch.stack([self.ends(each) for each in params])
        one, other = (ends[pairs.person[end], pairs.frame, pairs.capsule[end]] for end in range(2))
        return overlap(one, other, self.capsules.radius[pairs.capsule].sum(0))

    def slopes(self, curves: Float[np.ndarray, " coefficient"], pairs: _Pairs) -> Float[np.ndarray, "2 pair unknown"]:
        """How depths change with both people's unknowns."""
        vectors, params = self.vectors(curves), self.moved(curves)
        found = self.measured(params, pairs)
        slopes = torch.zeros(2, len(pairs.frame), len(self.softness), dtype=torch.float64)
        for person, (vector, each) in enumerate(zip(self.people, params, strict=True)):
            mine = (pairs.person == person).any(0)
            for frames in torch.unique(pairs.frame[mine]).split(_BATCH):
                here = each[frames]
                jacobian = vector.unknowns.jacobian(
                    pose_landmarks(vector.unknowns.skin, here), vector.unknowns.tangent(here)
                )
                jacobian = vector.chain(vectors[person, frames], jacobian).unflatten(1, (-1, 3))
                ends = self.capsules.ends(jacobian.flatten(2)).unflatten(-1, (3, -1))
                for end, sign, along in ((0, -1.0, found.on_one), (1, 1.0, found.on_other)):
                    rows = torch.nonzero((pairs.person[end] == person) & torch.isin(pairs.frame, frames))[:, 0]
                    place = torch.searchsorted(frames, pairs.frame[rows])
                    of = ends[place, pairs.capsule[end, rows]]
                    share = along[rows][:, None, None]
                    point = (1 - share) * of[:, 0] + share * of[:, 1]
                    slopes[end, rows] = sign * (found.direction[rows][:, None] @ point)[:, 0]
        return slopes.numpy() * self.softness


def made_solid(body: BodyModel, people: Sequence[BodyParams], seconds: float) -> tuple[BodyParams, ...]:
    """The same people giving way to one another. ``seconds`` from one frame to the next."""
    if len(people) < 2 or not len(people[0]):
        return tuple(people)
    curves = _curves(body, people, seconds)
    found = np.zeros(int(np.prod(curves.shape)))
    for firmness in FIRMNESS:
        pairs = curves.watched(found)
        if not bool((curves.measured(curves.moved(found), pairs).depth > FLESH).any()):
            break
        found = _solved(curves, pairs, found, firmness)
    return curves.moved(found) if found.any() else tuple(people)


def _curves(body: BodyModel, people: Sequence[BodyParams], seconds: float) -> _Curves:
    unknowns = Unknowns(capsule_skin(body).skin, load_pose_prior().mean.to(torch.float64), False)
    vectors = tuple(ParameterVector(each, unknowns) for each in people)
    softness = np.full(unknowns.shape_begin, TURN)
    softness[:3] = ASIDE, UP, ASIDE
    start = torch.stack([vector.pack(vector.base) for vector in vectors])
    frames = len(people[0])
    if frames < 2 or seconds >= KNOTS:
        # Frames that are farther from one another than knots have nothing in common.
        return _Curves(body, vectors, start, csr_array(eye_array(frames)), frames, seconds, seconds, False, softness)
    spans = max(1, int(np.ceil((frames - 1) * seconds / KNOTS)))
    knots = np.pad(np.linspace(0, frames - 1, spans + 1), 3, mode="edge")
    basis = csr_array(BSpline.design_matrix(np.arange(frames, dtype=np.float64), knots, 3))
    between = seconds * (frames - 1) / spans
    return _Curves(body, vectors, start, basis, spans + 3, seconds, between, True, softness)


def _solved(curves: _Curves, pairs: _Pairs, start: np.ndarray, firmness: float) -> np.ndarray:
    """Least squares: how deep bodies are in each other, how far and how suddenly they are displaced."""
    count, people, unknowns = curves.shape
    per_frame, per_knot = np.sqrt(curves.seconds), np.sqrt(curves.knot_seconds)
    spread = kron(curves.basis, eye_array(people * unknowns), format="csr")
    small = per_knot * eye_array(count * people * unknowns)
    # Second differences; none where frames have nothing in common.
    bends = max(count - 2, 0) if curves.tied else 0
    before, here, after = (eye_array(bends, count, k=place) for place in range(3))
    bend = kron(
        per_knot * (before - 2 * here + after),
        diags_array(np.tile(curves.softness, people) / (SPEED_UP * curves.knot_seconds**2)),
    )
    calm = csr_array(vstack([small, bend]))
    frame, person = pairs.frame.numpy(), pairs.person.numpy()

    def residual(values: np.ndarray) -> np.ndarray:
        depth = curves.measured(curves.moved(values), pairs).depth.numpy() - LET_BE
        return np.concatenate([depth.clip(min=0) * per_frame / firmness, calm @ values])

    def jacobian(values: np.ndarray) -> csr_array:
        touching = np.flatnonzero(curves.measured(curves.moved(values), pairs).depth.numpy() > LET_BE)
        slopes = curves.slopes(values, pairs.chosen(touching)) * (per_frame / firmness)
        column = (frame[touching] * people + person[:, touching])[..., None] * unknowns + np.arange(unknowns)
        row = np.broadcast_to(touching[:, None], column.shape)
        shape = (len(frame), len(curves.start[0]) * people * unknowns)
        pushed = csr_array(coo_array((slopes.ravel(), (row.ravel(), column.ravel())), shape=shape))
        return csr_array(vstack([pushed @ spread, calm]))

    jacobians: Any = jacobian
    return least_squares(residual, start, jacobians, tr_solver="lsmr", ftol=1e-3, max_nfev=STEPS).x
