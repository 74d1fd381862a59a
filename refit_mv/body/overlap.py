"""How deep the capsules of one body are in those of another."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Squared lengths (m²) below which an axis is a point, and sines² below which two axes are parallel.
_POINT, _PARALLEL = 1e-12, 1e-9


@dataclass(frozen=True, eq=False)
class Overlap:
    """Of capsules of two bodies: ``depth`` of one in the other (metres, negative: apart), where on both axes (0 to 1
    along each) they are nearest, and the direction from the other to the one there.
    """

    depth: Float[Tensor, "*batch"]
    on_one: Float[Tensor, "*batch"]
    on_other: Float[Tensor, "*batch"]
    direction: Float[Tensor, "*batch 3"]


def overlap(
    one: Float[Tensor, "*#batch 2 3"],
    other: Float[Tensor, "*#batch 2 3"],
    reach: Float[Tensor, "*#batch"],
) -> Overlap:
    """Capsules against capsules, by the nearest points of their axes (Ericson, "Real-Time Collision Detection", 2005,
    5.1.9). ``one`` and ``other`` are both ends of the axes, ``reach`` the sums of both radii, metres.
    """
    first, second, between = one[..., 1, :] - one[..., 0, :], other[..., 1, :] - other[..., 0, :], one - other
    between = between[..., 0, :]
    a, e = (axis.square().sum(-1).clamp_min(_POINT) for axis in (first, second))
    b, c, f = (first * second).sum(-1), (first * between).sum(-1), (second * between).sum(-1)
    sine = a * e - b * b
    crossing = (b * f - c * e) / sine.clamp_min(_PARALLEL * _POINT)
    # Of parallel axes the middle is as good as any.
    on_one = torch.where(sine > _PARALLEL * a * e, crossing, 0.5).clamp(0, 1)
    on_other = ((b * on_one + f) / e).clamp(0, 1)
    on_one = ((b * on_other - c) / a).clamp(0, 1)
    away = between + on_one[..., None] * first - on_other[..., None] * second
    distance = away.norm(dim=-1)
    return Overlap(reach - distance, on_one, on_other, away / distance.clamp_min(1e-9)[..., None])
