"""Fusing what every view proposes on its own: the paper's way across views, made metric.

Body joints and shape are means over views, the root's rotation is a mean on SO(3) that is never a reflection, and the
pelvis is where the views' rays agree: one view knows nothing along its own rays, so its opinion about that direction
counts little.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.networks.frame_network import MOVE_STREAM, SHAPE_STREAM
from refit_mv.networks.scene import Scene
from refit_mv.solve.terms.rays import Rays

# How much of its precision across the rays a view has along them: its distance is guessed from size to about a quarter.
ALONG = 0.01


def view_share(rays: Rays, trust: Float[Tensor, "lane stream"] | None) -> Float[Tensor, "frame view stream"]:
    """Every view's share per stream: softmax of the learned trust over the views that saw something, equal shares
    without one.
    """
    frames, views = rays.confidence.shape[:2]
    seen = (rays.confidence > 0).any(-1)
    # A frame that nobody saw takes the plain mean of what all views made of nothing.
    seen = seen | ~seen.any(1, keepdim=True)
    scores = (
        rays.confidence.new_zeros(frames, views, MOVE_STREAM + 1) if trust is None else trust.view(frames, views, -1)
    )
    return torch.softmax(scores.masked_fill(~seen[..., None], -torch.inf), dim=1)


def fuse_params(
    scene: Scene, rays: Rays, proposed: BodyParams, share: Float[Tensor, "frame view stream"], metric: bool
) -> BodyParams:
    """One body from every view's. ``metric`` weighs pelvis positions by what each view can know; otherwise they are
    averaged.
    """
    frames, views = share.shape[:2]
    joints = proposed.rotations.shape[1]
    by_joint = share.mean(-1, keepdim=True).expand(-1, -1, joints).clone()
    known = scene.stream_present > 0
    by_joint[..., scene.stream_joint[known]] = share[..., : len(known)][..., known]
    rotations = so3.weighted_mean(
        proposed.rotations.view(frames, views, joints, 3, 3).transpose(1, 2), by_joint.transpose(1, 2)
    )
    shape = (share[..., SHAPE_STREAM, None] * proposed.shape.view(frames, views, -1)).sum(1)
    pelvis = proposed.pelvis.view(frames, views, 3)
    weight = share[..., MOVE_STREAM, None, None]
    if metric:
        toward = torch.nn.functional.normalize(pelvis.detach() - rays.center, dim=-1)
        information = weight * (ray_projector(toward) + ALONG * toward[..., :, None] * toward[..., None, :])
    else:
        information = weight * torch.eye(3, dtype=pelvis.dtype, device=pelvis.device)
    pull = (information @ pelvis[..., None]).sum(1)
    fused = torch.linalg.solve(
        information.sum(1) + 1e-9 * torch.eye(3, dtype=pelvis.dtype, device=pelvis.device), pull
    )[..., 0]
    return BodyParams(fused, rotations, shape)


def fuse_streams(share: Float[Tensor, "frame view stream"], hidden: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and context of a frame from those of its views, for the layers."""
    frames, views = share.shape[:2]
    by_view = hidden.view(hidden.shape[0], frames, views, -1)
    fused = (share.permute(2, 0, 1)[..., None] * by_view).sum(2)
    return fused, (share.mean(-1)[..., None] * context.view(frames, views, -1)).sum(1)
