"""Roughly where the person is, from rays and from apparent size, for any number of views.

Rays of two views fix a point across each other; along one single ray nothing is known but the person's size: limbs of
known length span a measured angle, so distance is at most length over angle, and the least foreshortened limbs come
close to it. Both kinds of knowledge are sums of 3×3 information matrices.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.skin import LandmarkSkin
from refit_mv.geometry.camera import StackedRig
from refit_mv.geometry.triangulation import ray_projector

# Pairs of landmarks closer than this in the rest pose measure noise rather than size.
SHORTEST_LIMB = 0.18
# Quantile over a person's limbs that counts as "not foreshortened"; the maximum itself would follow outliers.
LEAST_FORESHORTENED = 0.85
# A person in a view is known to this many metres across the rays, and to this share of the distance along them.
ACROSS, ALONG = 0.10, 0.25
# Where no view has enough points, a person stands this far away.
USUAL_DISTANCE = 3.5


@lru_cache(maxsize=16)
def limb_pairs(skin: LandmarkSkin) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of landmarks on one bone or two neighbouring joints, and their distance in the rest pose: (first, second,
    metres).
    """
    count = skin.landmark_count
    mass = skin.mass.new_zeros(count, len(skin.parents)).index_put(
        (skin.pair_landmark, skin.pair_joint), skin.mass, accumulate=True
    )
    owner = mass.argmax(-1)
    rest = skin.anchor.new_zeros(count, 3).index_add(0, skin.pair_landmark, skin.anchor)
    parents = torch.tensor(skin.parents, device=owner.device)
    first, second = torch.triu_indices(count, count, offset=1, device=owner.device).unbind(0)
    a, b = owner[first], owner[second]
    near = (a == b) | (parents[a] == b) | (parents[b] == a)
    length = (rest[first] - rest[second]).norm(dim=-1)
    chosen = near & (length > SHORTEST_LIMB)
    return first[chosen], second[chosen], length[chosen]


def locate(
    skin: LandmarkSkin,
    rig: StackedRig,
    bearing: Float[Tensor, "frame view landmark 3"],
    confidence: Float[Tensor, "frame view landmark"],
) -> Float[Tensor, "frame 3"]:
    """Precision-weighted position (metres, world) of the person's seen landmarks from all views, robust against single
    bad views.
    """
    first, second, length = limb_pairs(skin)
    weight = torch.minimum(confidence[..., first], confidence[..., second])
    angle = 2 * torch.asin((0.5 * (bearing[..., first, :] - bearing[..., second, :]).norm(dim=-1)).clamp(max=1.0))
    per_metre = torch.where(weight > 0, angle / length, torch.full_like(angle, torch.nan))
    inverse_distance = torch.nanquantile(per_metre, LEAST_FORESHORTENED, dim=-1) if len(length) else per_metre.mean(-1)
    usable = torch.isfinite(inverse_distance) & (inverse_distance > 1e-3)
    apparent = torch.where(
        usable, 1 / inverse_distance.clamp_min(1e-3), torch.full_like(inverse_distance, USUAL_DISTANCE)
    )

    seen = confidence.sum(-1)
    direction = torch.nn.functional.normalize((confidence[..., None] * bearing).sum(-2), dim=-1)
    guess = rig.center + apparent[..., None] * direction
    projector = ray_projector(direction)
    eye = torch.eye(3, dtype=bearing.dtype, device=bearing.device)
    along = (ALONG * apparent)[..., None, None]
    trust = torch.where(usable, torch.ones_like(apparent), torch.full_like(apparent, 0.05))
    information = projector / ACROSS**2 + (eye - projector) * trust[..., None, None] / along**2
    base = (seen > 0).to(bearing.dtype)
    weight = base * seen.clamp(max=4.0)
    # Views without any point say nothing; frames without any view end at the rig's middle, one usual distance ahead.
    fallback = (rig.center + USUAL_DISTANCE * rig.cam_from_world.rotation[:, 2]).mean(0)
    center = fallback.expand(bearing.shape[0], 3)
    robust = torch.ones_like(weight)
    for _ in range(6):
        total = ((weight * robust)[..., None, None] * information).sum(1) + 1e-6 * eye
        target = ((weight * robust)[..., None, None] * information @ guess[..., None])[..., 0].sum(1) + 1e-6 * fallback
        center = torch.linalg.solve(total, target[..., None])[..., 0]
        miss = ((center[:, None] - guess)[..., None, :] @ information @ (center[:, None] - guess)[..., None])[..., 0, 0]
        robust = 1 / (1 + miss / 9.0)
    return center
