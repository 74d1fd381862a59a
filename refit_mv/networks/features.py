"""What the network reads, all of it in the frame of the body's own root, so that neither the world nor the rig matters.

Nothing here carries a gradient: the network learns what to do about what it sees, not how to change what it sees (as in
RAFT). The order of columns is part of the weights: columns have names, and new ones come last.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.triangulation import ray_projector
from refit_mv.kernels.compiling import compiled_by
from refit_mv.kernels.normal_equations import Estimate
from refit_mv.networks.compiled_features import (
    NEAR_SCALES,
    iteration_frames,
    observation_frames,
    statistics_frames,
)
from refit_mv.networks.scene import BONES, JOINT_STREAMS, Scene, StreamMaps
from refit_mv.solve.system import RobustStep
from refit_mv.solve.terms.rays import RayOptions
from refit_mv.solve.terms.term import Linearisation
from refit_mv.solve.unknowns import REACH, shortened


def _each(names: str, axes: str = "xyz") -> tuple[str, ...]:
    return tuple(f"{name}.{axis}" for name in names.split() for axis in axes)


STATISTICS_COLUMNS = (
    "log_residual", "residual_spread", *(f"within_{scale:g}" for scale in NEAR_SCALES), "log_confidence",
    "confidence_spread", "log_views", "inverse_views", "log_points", "log_distance",
    "information.xx", "information.yy", "information.zz", "information.xy", "information.xz", "information.yz",
    *_each("gaze"),
)  # fmt: skip
STREAM_COLUMNS = (*_each("turn slope stiffness pose"), "survived", "trusted", "spare.0", "spare.1")
LANDMARK_COLUMNS = (
    *_each("place correction"),
    "information.xx", "information.yy", "information.zz", "information.xy", "information.xz", "information.yz",
    "log_weight", "survived", "log_views",
)  # fmt: skip
OBSERVATION_COLUMNS = (
    "log_residual", "residual", "log_confidence", "confidence", "log_gain", "log_distance", "view_residual",
    "other_views_residual", "has_other_views", "frame_residual", "mirrored_less_own", "mirrored", "view_confidence",
    "log_views",
)  # fmt: skip
CONTEXT_COLUMNS = (
    *_each(" ".join(f"pose{joint}" for joint in range(1, JOINT_STREAMS))),
    *_each(" ".join(f"turn{joint}" for joint in range(JOINT_STREAMS))),
    *_each("move"),
    *(f"bone{bone}" for bone in range(BONES)),
    *(f"bone_step{bone}" for bone in range(BONES)),
    *STATISTICS_COLUMNS,
)
STREAM_FEATURES, LANDMARK_FEATURES, STATISTICS = len(STREAM_COLUMNS), len(LANDMARK_COLUMNS), len(STATISTICS_COLUMNS)
CONTEXT_FEATURES, OBSERVATION_FEATURES = len(CONTEXT_COLUMNS), len(OBSERVATION_COLUMNS)
# Typical log bone lengths would be a constant the network can learn; centring them only helps its first steps.
TYPICAL_LOG_BONE = -1.9
# Weights are read against those of an exact keypoint.
EXACT_NOISE = RayOptions().noise


class SeenRays(NamedTuple):
    """What the rays say of a guess, as features read it: of tensors for callers, of arrays inside loops."""

    confidence: Float[Tensor, "frame view landmark"]
    residual: Float[Tensor, "frame view landmark 3"]
    toward: Float[Tensor, "frame view landmark 3"]
    gain: Float[Tensor, "frame view landmark"]
    distance: Float[Tensor, "frame view"]
    position: Float[Tensor, "frame landmark 3"]

    @staticmethod
    def of(here: Linearisation, distance: Float[Tensor, "frame view"]) -> "SeenRays":
        """``distance`` roughly from camera to person, metres."""
        seen = here.feedback
        return SeenRays(seen.confidence, seen.residual, seen.toward, seen.gain, distance, seen.posed.positions)


@dataclass(frozen=True, eq=False)
class IterationFeatures:
    """Inputs of one recurrent iteration: per stream, per landmark, and of the whole; beside them the classic's step,
    the mean viewing direction, and how log bone lengths change with shape.
    """

    stream: Float[Tensor, "frame stream own"]
    landmark: Float[Tensor, "frame landmark about"]
    context: Float[Tensor, "frame summary"]
    proposal: Float[Tensor, "frame unknown"]
    gaze: Float[Tensor, "frame 3"]
    bone_slope: Float[Tensor, "frame bone shape"]


def _weighted_mean(value: Tensor, weight: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (value * weight).sum(dims) / weight.sum(dims).clamp_min(1e-6)


def _symmetric_six(matrix: Tensor) -> Tensor:
    return torch.stack(
        [
            matrix[..., 0, 0],
            matrix[..., 1, 1],
            matrix[..., 2, 2],
            matrix[..., 0, 1],
            matrix[..., 0, 2],
            matrix[..., 1, 2],
        ],
        dim=-1,
    )


def _mean_gaze(seen: SeenRays, rotations: Float[Tensor, "frame joint 3 3"]) -> Float[Tensor, "frame 3"]:
    """Mean viewing direction in the root frame: a unit vector for one view, short where cameras stand around. Along it
    evidence is thinnest.
    """
    direction = _weighted_mean(seen.toward, seen.confidence[..., None], (1, 2))
    return (rotations[:, 0].mT @ direction[..., None])[..., 0]


@torch.no_grad()
def statistics(here: Linearisation, distance: Float[Tensor, "frame view"]) -> Float[Tensor, "frame statistic"]:
    """How good the evidence is as a whole, the same whatever the order of views and landmarks."""
    return _statistics(SeenRays.of(here, distance), here.params.rotations)


@compiled_by(statistics_frames, spread=True)
def _statistics(seen: SeenRays, rotations: Float[Tensor, "frame joint 3 3"]) -> Float[Tensor, "frame statistic"]:
    confidence, residual = seen.confidence, seen.residual
    size = residual.norm(dim=-1)
    both = (1, 2)
    log_size = torch.log(size + 1e-3)
    mean = _weighted_mean(log_size, confidence, both)
    spread = _weighted_mean((log_size - mean[:, None, None]) ** 2, confidence, both).sqrt()
    there = (confidence > 0).to(size.dtype)
    robust = [(1 + (size / kernel) ** 2) ** -2 for kernel in NEAR_SCALES]
    log_confidence = torch.log(confidence.clamp_min(1e-3))
    mean_confidence = _weighted_mean(log_confidence, there, both)
    confidence_spread = _weighted_mean((log_confidence - mean_confidence[:, None, None]) ** 2, there, both).sqrt()
    views = (there.sum(-1) >= 3).sum(-1).to(size.dtype)
    points = there.amax(1).sum(-1)
    projector = ray_projector(seen.toward)
    information = (confidence[..., None, None] * projector).sum(both) / confidence.sum(both)[:, None, None].clamp_min(
        1e-6
    )
    root = rotations[:, 0]
    direction = _symmetric_six(root.transpose(-1, -2) @ information @ root)
    view_seen = (there.amax(-1) > 0).to(size.dtype)
    far = _weighted_mean(torch.log(seen.distance.clamp_min(0.3)), view_seen, (1,))
    columns = [
        0.5 * mean + 2, spread, *(_weighted_mean(value, confidence, both) for value in robust), mean_confidence,
        confidence_spread,
        torch.log1p(views), 1 / views.clamp_min(1), torch.log1p(points) - 3, far - 1.2,
    ]  # fmt: skip
    return torch.cat([torch.stack(columns, -1), direction - 0.6, _mean_gaze(seen, rotations)], dim=-1)


@torch.no_grad()
def iteration_features(
    scene: Scene, here: Linearisation, robust: RobustStep, distance: Float[Tensor, "frame view"]
) -> IterationFeatures:
    """Features of one recurrent iteration from the classic's step and the fused evidence."""
    params = here.params
    at = Estimate(params.pelvis, params.rotations, params.shape, here.tangent, *scene.bones(params.shape))
    stream, landmark, context, proposal, gaze = _iteration(
        scene.maps, scene.with_shape, REACH, EXACT_NOISE, TYPICAL_LOG_BONE, robust, SeenRays.of(here, distance), at
    )
    return IterationFeatures(stream, landmark, context, proposal, gaze, at.slope)


@compiled_by(iteration_frames, spread=True)
def _iteration(
    maps: StreamMaps,
    with_shape: bool,
    reach: tuple[float, float, float],
    noise: float,
    typical_bone: float,
    robust: RobustStep,
    seen: SeenRays,
    at: Estimate,
) -> tuple[Tensor, ...]:
    frames, joints = at.rotations.shape[:2]
    proposal, facts = shortened(robust.step, joints, reach), _statistics(seen, at.rotations)
    diagonal, gradient, weight = robust.diagonal, robust.gradient, robust.weight
    information, pull = robust.information, robust.pull
    last = 3 + 3 * joints
    root = at.rotations[:, 0]
    root_from_world = root.transpose(-1, -2)

    def local(vector: Tensor) -> Tensor:
        return (root_from_world @ vector[..., None])[..., 0]

    present = maps.present[:, None]

    def per_stream(flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (joints, 3))[:, maps.joint] * present

    turn = per_stream(proposal[:, 3:last])
    whitened = gradient / (diagonal + 10.0).sqrt()
    tangent = torch.cat([at.tangent.new_zeros(frames, 3), at.tangent], dim=-1)
    pose = per_stream(tangent)
    move = local(proposal[:, :3])
    move_size = torch.asinh(5 * move)
    gaze = facts[:, -3:]
    joint_part = torch.cat(
        [
            torch.asinh(5 * turn),
            torch.asinh(per_stream(whitened[:, 3:last]) / 3),
            torch.log1p(per_stream(diagonal[:, 3:last])) / 8,
            pose,
        ],
        dim=-1,
    )
    move_part = torch.cat(
        [
            move_size,
            torch.asinh(local(gradient[:, :3]) / (diagonal[:, :3].mean(-1, keepdim=True) + 10.0).sqrt() / 3),
            torch.log1p(diagonal[:, :3].mean(-1, keepdim=True)).expand(-1, 3) / 8,
            gaze,
        ],
        dim=-1,
    )
    bone_step = (at.slope @ proposal[:, last:, None])[..., 0] if with_shape else torch.zeros_like(at.bone)
    shape_part = joint_part.new_zeros(frames, 1, joint_part.shape[-1])
    stream = torch.cat([joint_part, shape_part, move_part[:, None]], dim=1)

    trace = information.diagonal(dim1=-2, dim2=-1).sum(-1)
    total = weight.sum(1)
    turned = root_from_world[:, None] @ information @ root[:, None]
    position = seen.position - at.pelvis[:, None]
    correction = (root_from_world[:, None] @ (-pull / (trace / 2 + 100.0)[..., None])[..., None])[..., 0]
    base = (seen.confidence / noise**2).sum(1)
    landmark = torch.cat(
        [
            (root_from_world[:, None] @ position[..., None])[..., 0],
            torch.asinh(20 * correction),
            _symmetric_six(turned) / (trace[..., None] + 100.0),
            torch.log1p(total)[..., None] / 8,
            (total / base.clamp_min(1.0))[..., None],
            torch.log1p((seen.confidence > 0).sum(1).to(total.dtype))[..., None],
        ],
        dim=-1,
    )
    # How much of the evidence on each joint survived the robust kernel, and how many landmarks it has.
    survived = torch.stack([landmark[..., -2], landmark[..., -3]], -1)
    pooled = maps.pooling @ survived
    padding = pooled.new_zeros(frames, 2, 2)
    mean_landmark = pooled.new_zeros(frames, JOINT_STREAMS + 2, STREAM_FEATURES - joint_part.shape[-1] - 2)
    stream = torch.cat([stream, torch.cat([pooled, padding], dim=1), mean_landmark], dim=-1)
    context = torch.cat(
        [
            pose[:, 1:].flatten(1),
            torch.asinh(5 * turn).flatten(1),
            move_size,
            (at.bone - typical_bone) * maps.present[1:],
            10 * bone_step,
            facts,
        ],
        dim=-1,
    )
    return stream, landmark, context, proposal, gaze


@torch.no_grad()
def observation_features(
    scene: Scene, here: Linearisation, distance: Float[Tensor, "frame view"]
) -> Float[Tensor, "frame view landmark feature"]:
    """What the weight of one observation may depend on: itself, its view, its landmark in the other views, and its
    mirror image.
    """
    return _observations(scene.mirror, SeenRays.of(here, distance))


@compiled_by(observation_frames, spread=True)
def _observations(mirror: Tensor, seen: SeenRays) -> Float[Tensor, "frame view landmark feature"]:
    confidence, distance = seen.confidence, seen.distance
    there = (confidence > 0).to(confidence.dtype)
    size = seen.residual.norm(dim=-1)
    log_size = torch.log(size + 5e-4)
    log_confidence = torch.log(confidence.clamp_min(1e-2)) * there
    of_view = _weighted_mean(log_size, confidence, (2,))[..., None].expand_as(size)
    total, count = (log_size * there).sum(1, keepdim=True), there.sum(1, keepdim=True)
    others = (total - log_size * there) / (count - there).clamp_min(1)
    has_others = ((count - there) > 0).to(there.dtype)
    frame = _weighted_mean(log_size, confidence, (1, 2))[:, None, None].expand_as(size)
    mirrored = seen.toward[:, :, mirror]
    observed = seen.toward - seen.residual / distance[..., None, None]
    swapped = torch.log(distance[..., None] * (observed - mirrored).norm(dim=-1) + 5e-4)
    self_mirrored = (mirror == torch.arange(len(mirror), device=mirror.device)).to(there.dtype).expand_as(size)
    view_confidence = _weighted_mean(log_confidence, there, (2,))[..., None].expand_as(size)
    return torch.stack(
        [
            log_size + 4,
            torch.asinh(10 * size),
            log_confidence,
            confidence,
            torch.log(seen.gain),
            torch.log(distance.clamp_min(0.3))[..., None].expand_as(size) - 1.2,
            of_view + 4,
            (others + 4) * has_others,
            has_others,
            frame + 4,
            torch.where(self_mirrored > 0, torch.zeros_like(size), swapped - log_size),
            swapped + 4,
            view_confidence,
            torch.log1p(count).expand_as(size),
        ],
        dim=-1,
    )
