"""A rig mended by free points alone: what people's keypoints say of the cameras before any body is known. It finds its
way from far off, where a body fitted before the given cameras would be none.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.geometry.triangulation import triangulate
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.bundle import KNOWN, SHIFT, TURN, Beliefs, Bundle, adjust
from refit_mv.rigs.freedoms import with_pose
from refit_mv.rigs.sample import Sample

# Rays that far apart (metres at the person) still see each other at first.
WIDEST = 0.5
ITERATIONS, ANNEALING = 24, 10
NARROW = 4.0


def points_of(rig: CameraRig, people: Sequence[Evidence]) -> Sample:
    """All people's keypoints, one frame after the other. Nobody is taken to move."""
    stacked = rig.stacked()
    seen = [camera_bearings(stacked, evidence.pixels) for evidence in people]
    direction = torch.cat([rays for rays, _ in seen])
    weight = torch.cat(
        [evidence.confidence.clamp_max(1.0) * valid for evidence, (_, valid) in zip(people, seen, strict=True)]
    )
    still = direction.new_zeros(len(direction), direction.shape[2], 3)
    return Sample(stacked, torch.arange(len(direction)), direction, weight, still)


def mended_by_points(
    rig: CameraRig, people: Sequence[Evidence], turn_known: float, move_known: float, kernel: float = NARROW
) -> tuple[CameraRig, Bundle]:
    """The rig before which everybody's rays meet best, lenses and clocks as they are. ``turn_known`` (radians) and
    ``move_known`` (metres): how far cameras may be off. Beyond ``kernel`` usual misses a point hardly counts.
    """
    beliefs = Beliefs(turn_known, move_known, KNOWN, KNOWN, WIDEST, ITERATIONS, ANNEALING, kernel)
    bundle = adjust(points_of(rig, people), beliefs)
    cameras = []
    for camera, own in zip(rig, bundle.unknowns, strict=True):
        turn, pose = exp(own[TURN]), camera.cam_from_world
        cameras.append(with_pose(camera, RigidTransform(turn @ pose.rotation, turn @ pose.translation + own[SHIFT])))
    return CameraRig(tuple(cameras)), bundle


def median_px(rig: CameraRig, people: Sequence[Evidence]) -> Float[Tensor, " view"]:
    """The median of :func:`pixels_off` in every view."""
    return pixels_off(rig, people).transpose(0, 1).flatten(1).nanmedian(1).values


def pixels_off(rig: CameraRig, people: Sequence[Evidence]) -> Float[Tensor, "frame view landmark"]:
    """How far every keypoint is from where the meeting point of all views' rays projects, in pixels; NaN where no two
    views see it.
    """
    stacked = rig.stacked()
    sample = points_of(rig, people)
    world = sample.direction @ stacked.cam_from_world.rotation
    found = triangulate(stacked.center, world, sample.weight)
    off = found.residual * stacked.focal[:, None]
    seen = (sample.weight > 0) & ((sample.weight > 0).sum(1, keepdim=True) > 1)
    return torch.where(seen, off, torch.full_like(off, torch.nan))
