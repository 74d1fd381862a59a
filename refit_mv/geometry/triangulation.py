"""Where rays meet: weighted linear triangulation with robust reweighting.

Each ray i (camera centre c, unit direction d) says ``(I - d dᵀ)(x - c) = 0``. The weighted sum of these projectors is a
3×3 information matrix, so extra knowledge (a depth guessed from a person's size) enters as one more term, and one ray
alone is no special case. Dividing by the squared distance makes the residual angular, as the image measures it.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.kernels.compiling import compiled_by
from refit_mv.kernels.triangulation import meeting_points, robust_points

# Radians: 0.02 is 6 cm at 3 m.
ROBUST_SCALE, ITERATIONS = 0.02, 5


@dataclass(frozen=True, eq=False)
class Triangulation:
    """Points in the world (metres) and what supports them.

    ``residual`` is the angle in radians between each ray and the point. ``support`` counts the rays that ended within
    twice the robust scale. ``parallax`` is the largest sine between two supporting rays: near zero, depth is unknown.
    """

    points: Float[Tensor, "*batch point 3"]
    residual: Float[Tensor, "*batch view point"]
    support: Int[Tensor, "*batch point"]
    parallax: Float[Tensor, "*batch point"]


def ray_projector(direction: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """``I - d dᵀ``: what a ray knows, everything but the position along itself."""
    eye = torch.eye(3, dtype=direction.dtype, device=direction.device)
    return eye - direction[..., :, None] * direction[..., None, :]


def _floor_share(kind: torch.dtype) -> float:
    """Rank-deficient sums (no ray, one ray, parallel rays) stay solvable: the floor is 1e-9 of the largest weight, far
    below any real ray, and in float32 what rounding needs (2e-6; below that the solver meets exact zeros and refuses
    the whole batch).
    """
    return max(1e-9, 16 * torch.finfo(kind).eps)


def intersect(
    center: Float[Tensor, "view 3"],
    direction: Float[Tensor, "*batch view point 3"],
    weight: Float[Tensor, "*batch view point"],
    prior_point: Float[Tensor, "*batch point 3"] | None = None,
    prior_weight: float = 0.0,
) -> Float[Tensor, "*batch point 3"]:
    """Least-squares point of weighted rays; ``prior_point`` pulls with ``prior_weight`` where the rays say nothing."""
    anchor = center.mean(0) if prior_point is None else prior_point
    batch, (views, points) = weight.shape[:-2], weight.shape[-2:]
    found = _meeting_points(
        center,
        direction.reshape(-1, views, points, 3),
        weight.reshape(-1, views, points),
        anchor.expand(*batch, points, 3).reshape(-1, points, 3),
        prior_weight,
        _floor_share(weight.dtype),
    )
    return found.view(*batch, points, 3)


@compiled_by(meeting_points)
def _meeting_points(
    center: Float[Tensor, "view 3"],
    direction: Float[Tensor, "frame view point 3"],
    weight: Float[Tensor, "frame view point"],
    anchor: Float[Tensor, "frame point 3"],
    prior_weight: float,
    floor_share: float,
) -> Float[Tensor, "frame point 3"]:
    information = weight[..., None, None] * ray_projector(direction)
    target = (information @ center[:, None, :, None])[..., 0].sum(-3)
    total = information.sum(-4)
    floor = floor_share * weight.amax(-2).clamp_min(1e-12) + prior_weight
    eye = torch.eye(3, dtype=direction.dtype, device=direction.device)
    total = total + floor[..., None, None] * eye
    target = target + floor[..., None] * anchor
    return torch.linalg.solve(total, target[..., None])[..., 0]


def _angles(center: Tensor, direction: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Angle between every ray and its point, and their distance: (..., view, point) each."""
    offset = points[..., None, :, :] - center[:, None, :]
    distance = offset.norm(dim=-1).clamp_min(1e-9)
    toward = offset / distance[..., None]
    sine = torch.linalg.cross(toward, direction).norm(dim=-1)
    return torch.atan2(sine, (toward * direction).sum(-1)), distance


def triangulate(
    center: Float[Tensor, "view 3"],
    direction: Float[Tensor, "*batch view point 3"],
    weight: Float[Tensor, "*batch view point"],
    robust_scale: float = ROBUST_SCALE,
    iterations: int = ITERATIONS,
) -> Triangulation:
    """Robust triangulation of every point from all views.

    The start is the pair of views that the others agree with best (every pair is tried), so that one gross outlier
    among three views does not drag the mean; then iteratively reweighted least squares with the Geman–McClure kernel.
    ``weight`` is 0 for missing rays; ``robust_scale`` in radians.
    """
    batch, (views, points) = weight.shape[:-2], weight.shape[-2:]
    found, residual, support, parallax = _robust_points(
        center,
        direction.reshape(-1, views, points, 3),
        weight.reshape(-1, views, points),
        robust_scale,
        iterations,
        _floor_share(weight.dtype),
    )
    return Triangulation(
        points=found.view(*batch, points, 3),
        residual=residual.view(*batch, views, points),
        support=support.view(*batch, points),
        parallax=parallax.view(*batch, points),
    )


def triangulate_pixels(
    rig: CameraRig, pixels: Float[Tensor, "*batch view point 2"], confidence: Float[Tensor, "*batch view point"]
) -> Triangulation:
    """The same of what was seen, weighed by how much it is trusted. Pixels that the lens cannot have made are none."""
    stacked = rig.stacked()
    direction, valid = bearings(stacked, pixels)
    return triangulate(stacked.center, direction, confidence * valid)


def triangulate_arrays(
    center: Float[np.ndarray, "view 3"],
    direction: Float[np.ndarray, "frame view point 3"],
    weight: Float[np.ndarray, "frame view point"],
) -> tuple[Float[np.ndarray, "frame point 3"], Int[np.ndarray, "frame point"], Float[np.ndarray, "frame point"]]:
    """Points, support and parallax as :func:`triangulate` has them, bit for bit: for whoever asks frame by frame, where
    making tensors of arrays and arrays of tensors takes half as long as the rest.
    """
    given = map(np.ascontiguousarray, (center, direction, weight))
    floor = _floor_share(torch.from_numpy(weight).dtype)
    points, _, support, parallax = robust_points(*given, ROBUST_SCALE, ITERATIONS, floor)
    return points, support, parallax


@compiled_by(robust_points)
def _robust_points(
    center: Float[Tensor, "view 3"],
    direction: Float[Tensor, "frame view point 3"],
    weight: Float[Tensor, "frame view point"],
    robust_scale: float,
    iterations: int,
    floor_share: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    views = len(center)

    def kernel(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        angle, distance = _angles(center, direction, points)
        return (1 + (angle / robust_scale) ** 2) ** -2, angle, distance

    points = intersect(center, direction, weight)
    if views > 2:
        pair_points = [points]
        for first, second in combinations(range(views), 2):
            chosen = torch.zeros_like(weight)
            chosen[..., (first, second), :] = weight[..., (first, second), :]
            pair_points.append(intersect(center, direction, chosen))
        candidates = torch.stack(pair_points)
        angle, _ = _angles(center, direction.expand(len(pair_points), *direction.shape), candidates)
        scaled = (angle / robust_scale) ** 2
        cost = (weight * scaled / (1 + scaled)).sum(-2)
        best = cost.argmin(0)[None, ..., None].expand(1, *points.shape)
        points = candidates.gather(0, best)[0]
    for _ in range(iterations):
        robust, _, distance = kernel(points)
        points = intersect(center, direction, weight * robust / distance**2, prior_point=points, prior_weight=1e-9)
    _, angle, _ = kernel(points)
    supporting = (angle < 2 * robust_scale) & (weight > 0)
    sines = torch.linalg.cross(direction[..., :, None, :, :], direction[..., None, :, :, :]).norm(dim=-1)
    both = supporting[..., :, None, :] & supporting[..., None, :, :]
    return points, angle, supporting.sum(-2), (sines * both).flatten(-3, -2).amax(-2)
