"""One body from what every view proposes.

``mean`` is what the released multi-view mode does: plain means, cameras left to themselves, so that no common position
comes out. ``updates`` is metric. SMPL's translation leaves out the rest pelvis, an offset that is the same in every
camera's axes and therefore another in the world for each: averaging translations is wrong by tens of millimetres. So
the *pelvis* is placed, where the views' rays to it cross. Rotations are averaged on SO(3), where a mean is never a
reflection. Views count by how much they can be trusted.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.estimate import Estimate
from refit_mv.image.options import Fusion
from refit_mv.image.points import FeedbackBody
from refit_mv.image.streams import CAMERA_STREAM, JOINT_STREAMS, SHAPE_STREAM, STREAMS

# How much of its precision across the rays a view has along them: it guesses distance from size, to about a tenth.
ALONG = 0.01


@dataclass(frozen=True, eq=False)
class Views:
    """Which crops belong together: ``count`` views of each frame, frame by frame. ``weight`` says how much each crop
    counts (a detection's confidence; 0: nothing was seen), None: all alike.
    """

    count: int
    cam_from_world: RigidTransform
    weight: Float[Tensor, " crop"] | None = None

    def share(self, log_trust: Float[Tensor, "crop stream"] | None) -> Float[Tensor, "frame view stream"]:
        """Every view's share in each stream; equal shares in frames that nobody saw."""
        crops = len(self.cam_from_world.translation)
        like = self.cam_from_world.translation
        score = like.new_zeros(crops, STREAMS) if log_trust is None else log_trust
        score = score.unflatten(0, (-1, self.count))
        if self.weight is not None:
            weight = self.weight.view(-1, self.count, 1)
            nobody = (weight <= 0).all(1, keepdim=True)
            score = score + torch.where(nobody, torch.ones_like(weight), weight).log()
        return torch.softmax(score, dim=1)


def fused(estimate: Estimate, views: Views | None, crops: CropCamera, body: FeedbackBody, fusion: Fusion) -> Estimate:
    """The estimate with what all views of a frame share made equal."""
    if views is None:
        return estimate
    return _plain_mean(estimate, views) if fusion == "mean" else _metric(estimate, views, crops, body)


def _each_view(per_frame: Tensor, views: int) -> Tensor:
    return per_frame.repeat_interleave(views, dim=0)


def _plain_mean(estimate: Estimate, views: Views) -> Estimate:
    cam_from_world = views.cam_from_world.rotation
    root = cam_from_world.transpose(-1, -2) @ so3.from_6d(estimate.pose[:, 0])
    mean = root.unflatten(0, (-1, views.count)).mean(1)
    with torch.no_grad():
        u, _, vh = torch.linalg.svd(mean)
        inside_out = torch.linalg.det(u @ vh)[:, None, None] < 0
    # Where the mean of roots turns inside out, so does the released code's. Elsewhere the nearest rotation is the same,
    # and has a gradient.
    root = cam_from_world @ _each_view(torch.where(inside_out, u @ vh, so3.nearest_rotation(mean)), views.count)
    limbs = _each_view(estimate.pose[:, 1:].unflatten(0, (-1, views.count)).mean(1), views.count)
    shape = _each_view(estimate.shape.unflatten(0, (-1, views.count)).mean(1), views.count)
    return Estimate(torch.cat([so3.to_6d(root)[:, None], limbs], dim=1), shape, estimate.camera)


def _metric(estimate: Estimate, views: Views, crops: CropCamera, body: FeedbackBody) -> Estimate:
    world = world_params(estimate, views, crops, body)
    seen_by = views.cam_from_world
    root = seen_by.rotation @ _each_view(world.root, views.count)
    pose = torch.cat([root[:, None], _each_view(world.limbs, views.count)], dim=1)
    shape = _each_view(world.shape, views.count)
    pelvis = seen_by.apply(_each_view(world.pelvis, views.count))
    camera = crops.camera_of(pelvis - body.rest_pelvis(body.shape(shape)))
    return Estimate(so3.to_6d(pose), shape, camera, estimate.log_trust)


@dataclass(frozen=True, eq=False)
class WorldBody:
    """One body per frame in the world: the pelvis in metres, world_from_root, the other joints' local rotations, and
    the network's shape.
    """

    pelvis: Float[Tensor, "frame 3"]
    root: Float[Tensor, "frame 3 3"]
    limbs: Float[Tensor, "frame joint 3 3"]
    shape: Float[Tensor, "frame shape"]

    def params(self, body: FeedbackBody) -> BodyParams:
        """As parameters of the body."""
        rotations = body.rotations(torch.cat([self.root[:, None], self.limbs], dim=1))
        return BodyParams(self.pelvis, rotations, body.shape(self.shape))


def world_params(estimate: Estimate, views: Views, crops: CropCamera, body: FeedbackBody) -> WorldBody:
    """The one body that all views together propose."""
    share = views.share(estimate.log_trust)
    world_from_cam = views.cam_from_world.inverse()
    rotations = estimate.rotations
    rotations = torch.cat([world_from_cam.rotation[:, None] @ rotations[:, :1], rotations[:, 1:]], dim=1)
    mean = so3.weighted_mean(
        rotations.unflatten(0, (-1, views.count)).transpose(1, 2), share[..., :JOINT_STREAMS].transpose(1, 2)
    )
    shape = (share[..., SHAPE_STREAM, None] * estimate.shape.unflatten(0, (-1, views.count))).sum(1)
    pelvis_cam = crops.translation(estimate.camera) + body.rest_pelvis(body.shape(estimate.shape))
    pelvis = _crossing(world_from_cam, pelvis_cam, share[..., CAMERA_STREAM])
    return WorldBody(pelvis, mean[:, 0], mean[:, 1:], shape)


def _crossing(
    world_from_cam: RigidTransform, p_cam: Float[Tensor, "crop 3"], share: Float[Tensor, "frame view"]
) -> Float[Tensor, "frame 3"]:
    """Where the views' rays cross. What a view knows shrinks with distance, and along its own ray it knows little."""
    frames, views = share.shape
    p_world = world_from_cam.apply(p_cam).view(frames, views, 3)
    offset = p_world.detach() - world_from_cam.translation.view(frames, views, 3)
    distance = offset.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    toward = offset / distance
    precision = (share[..., None] / distance**2)[..., None]
    information = precision * (ray_projector(toward) + ALONG * toward[..., :, None] * toward[..., None, :])
    # Divided by their sum, so that the solver meets numbers of order one however unsure all views are.
    information = information / precision.sum(1, keepdim=True)
    pull = (information @ p_world[..., None]).sum(1)
    return torch.linalg.solve(information.sum(1), pull)[..., 0]
