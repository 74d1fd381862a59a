"""A detector's habits from what it reported of rendered people: where its points sit, and what its confidence means.

Left and right are learned together, as each other's mirror images.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import landmark_skin, offset_jacobian, pose_landmarks
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.session.detector_profile import DetectorProfile, Habits, ProfileCard
from refit_mv.workshop.training.detector_pictures import Sightings

# Claims below this are guesses, and say little of where a detector's points sit.
LEAST_CONFIDENCE = 0.1
# Geman–McClure scale of the offsets' least squares (metres), and how often it is re-weighted.
KERNEL, ROUNDS = 0.03, 20
# Prior on offsets: so many points' worth, at the spread of good points, of sitting where the body has them.
BELIEF = 5.0
# Confidences at which sigma is told.
KNOTS = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)
# A point's own sigma at a knot counts as much as its share of all points' when so many observations tell it.
ENOUGH = 60.0
# Two-dimensional Gaussian errors have a median of so many sigma.
MEDIAN = 1.17741
# Sides are swapped when both points lie nearer to each other's place, by half at least.
CLEARLY = 0.5
SIDED = ("left_elbow", "left_wrist", "left_knee", "left_ankle")


@dataclass(frozen=True, eq=False)
class Misses:
    """How far reported points pass by the body's landmarks. ``miss`` (metres at the body, world axes, across the ray)
    is from the landmark, at ``place``, to the point; ``across`` projects onto the plane across the ray; ``by_offset``
    is how the landmark moves with its rest-pose offset. ``known``: reported, of somebody who was found.
    """

    landmark_names: tuple[str, ...]
    place: Float[Tensor, "picture landmark 3"]
    miss: Float[Tensor, "picture landmark 3"]
    across: Float[Tensor, "picture landmark 3 3"]
    by_offset: Float[Tensor, "picture landmark 3 3"]
    confidence: Float[Tensor, "picture landmark"]
    known: Bool[Tensor, "picture landmark"]

    def beside(self, offset: Float[Tensor, "landmark 3"]) -> Float[Tensor, "picture landmark 3"]:
        """What is left of the misses when points are expected at an offset."""
        moved = (self.by_offset @ offset[..., None])[..., 0]
        return self.miss - (self.across @ moved[..., None])[..., 0]


def misses(body: BodyModel, sightings: Sightings) -> Misses:
    """Compare everything that was reported with the truth."""
    every = sightings.keypoints.keypoint_names
    names = tuple(name for name in every if name in body.landmark_names)
    places = [every.index(name) for name in names]
    skin = landmark_skin(body, names)
    posed = pose_landmarks(skin, sightings.shown())
    rotation, matrix = torch.from_numpy(sightings.rotation), torch.from_numpy(sightings.matrix)
    center = -(rotation.mT @ torch.from_numpy(sightings.translation)[..., None])[..., 0]
    pixels = torch.from_numpy(sightings.pixels[:, places])
    flat = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1) @ torch.linalg.inv(matrix).mT
    bearing = torch.nn.functional.normalize(flat @ rotation, dim=-1)
    away = posed.positions - center[:, None]
    distance = away.norm(dim=-1, keepdim=True)
    toward = away / distance
    across = ray_projector(toward)
    confidence = torch.from_numpy(sightings.confidence[:, places])
    return Misses(
        names,
        posed.positions,
        (across @ (distance * (bearing - toward))[..., None])[..., 0],
        across,
        offset_jacobian(skin, posed),
        confidence,
        (confidence > 0) & torch.from_numpy(sightings.found)[:, None],
    )


def learn(body: BodyModel, sightings: Sightings, card: ProfileCard) -> DetectorProfile:
    """The profile; ``card`` says what it is made from, its rates are filled in here."""
    told = misses(body, sightings)
    offset = _offsets(told)
    sigma = _sigmas(told, told.beside(offset).norm(dim=-1))
    found = torch.from_numpy(sightings.found)
    lost = 1 - (told.confidence[found] >= LEAST_CONFIDENCE).double().mean()
    card = replace(card, found=float(found.double().mean()), swapped=_swapped(told), lost=float(lost))
    return DetectorProfile(card, told.landmark_names, Habits(offset, torch.tensor(KNOTS, dtype=sigma.dtype), sigma))


def _mirror(names: tuple[str, ...]) -> Int[Tensor, " landmark"]:
    return torch.tensor(mirrored_order(names))


def _offsets(told: Misses) -> Float[Tensor, "landmark 3"]:
    """Robust least squares for every landmark and its mirror image."""
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))
    other = _mirror(told.landmark_names)
    seen = told.known & (told.confidence >= LEAST_CONFIDENCE)
    found = []
    for own in range(len(other)):
        rows, targets, weights = [], [], []
        for place, axes in ((own, torch.eye(3, dtype=torch.float64)), (int(other[own]), flip)):
            chosen = seen[:, place]
            rows.append(told.across[chosen, place] @ told.by_offset[chosen, place] @ axes)
            targets.append(told.miss[chosen, place])
            weights.append(told.confidence[chosen, place])
        row, target, weight = torch.cat(rows), torch.cat(targets), torch.cat(weights)
        offset = torch.zeros(3, dtype=torch.float64)
        for _ in range(ROUNDS):
            left = target - row @ offset
            robust = weight * (1 + (left**2).sum(-1) / KERNEL**2) ** -2
            hessian = torch.einsum("nia,nib,n->ab", row, row, robust) + BELIEF * torch.eye(3, dtype=torch.float64)
            offset = torch.linalg.solve(hessian, torch.einsum("nia,ni,n->a", row, target, robust))
        found.append(offset)
    return torch.stack(found)


def _sigmas(told: Misses, left: Float[Tensor, "picture landmark"]) -> Float[Tensor, "landmark knot"]:
    """Per axis, from medians, so that gross outliers do not count: those are the robust kernel's. Never better at a
    lower confidence.
    """
    knots, other = torch.tensor(KNOTS, dtype=torch.float64), _mirror(told.landmark_names)
    edges = torch.cat([knots[:1] - 1, (knots[1:] + knots[:-1]) / 2, knots[-1:] + 1])
    common, own, counts = [], [], []
    for low, high in pairwise(edges):
        inside = told.known & (told.confidence > low) & (told.confidence <= high)
        common.append(left[inside].median() if bool(inside.any()) else left.new_tensor(torch.nan))
        both = [torch.cat([left[inside[:, a], a], left[inside[:, b], b]]) for a, b in enumerate(other.tolist())]
        own.append(torch.stack([each.median() if len(each) else common[-1] for each in both]))
        counts.append(torch.tensor([len(each) for each in both], dtype=torch.float64))
    shared = _filled(torch.stack(common))
    mine, count = torch.stack(own, 1), torch.stack(counts, 1)
    ratio = torch.where(count > 0, mine / shared, torch.ones_like(mine)).log()
    # How much better or worse a point is than all, whatever its confidence; then at each confidence.
    always = (count * ratio).sum(1, keepdim=True) / (count.sum(1, keepdim=True) + ENOUGH)
    told_by = count / (count + ENOUGH)
    sigma = shared * (told_by * ratio + (1 - told_by) * always).exp() / MEDIAN
    return sigma.flip(1).cummax(1).values.flip(1)


def _filled(values: Float[Tensor, " knot"]) -> Float[Tensor, " knot"]:
    """With the nearest known value where there is none."""
    known = torch.nonzero(values.isfinite())[:, 0]
    nearest = (torch.arange(len(values))[:, None] - known).abs().argmin(1)
    return values[known[nearest]]


def _swapped(told: Misses) -> float:
    """The share of pairs of arms' and legs' points that lie on the other side."""
    names, swapped, pairs = told.landmark_names, 0, 0
    for left, right in enumerate(_mirror(names).tolist()):
        if names[left] not in SIDED:
            continue
        both = told.known[:, left] & told.known[:, right]
        apart = told.place[:, left] - told.place[:, right]
        own = told.miss[:, left].norm(dim=-1) + told.miss[:, right].norm(dim=-1)
        crossed = [
            (told.across[:, at] @ (told.miss[:, at] + way)[..., None]).norm(dim=(-2, -1))
            for at, way in ((left, apart), (right, -apart))
        ]
        swapped += int((both & (sum(crossed) < CLEARLY * own)).sum())
        pairs += int(both.sum())
    return swapped / max(pairs, 1)
