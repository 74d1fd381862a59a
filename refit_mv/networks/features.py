"""What the network reads, all of it in the frame of the body's own root, so that neither the world nor the rig matters.

Nothing here carries a gradient: the network learns what to do about what it sees, not how to change what it sees (as in
RAFT).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.triangulation import ray_projector
from refit_mv.kernels.compiling import array
from refit_mv.kernels.evidence_features import iteration_frames, observation_frames, statistics_frames
from refit_mv.networks.scene import BONES, JOINT_STREAMS, Scene
from refit_mv.networks.system import LIMITS, NOISE, ClassicStep, Linearisation, kernels_serve, limited

STREAM_FEATURES = 16
LANDMARK_FEATURES = 15
STATISTICS = 21
CONTEXT_FEATURES = 3 * (JOINT_STREAMS - 1) + 3 * JOINT_STREAMS + 3 + 2 * BONES + STATISTICS
OBSERVATION_FEATURES = 14
# Typical log bone lengths would be a constant the network can learn; centring them only helps its first steps.
TYPICAL_LOG_BONE = -1.9


@dataclass(frozen=True, eq=False)
class IterationFeatures:
    """Inputs of one recurrent iteration: per stream, per landmark, and of the whole; the classic's step and the mean
    viewing direction beside them.
    """

    stream: Float[Tensor, "frame stream own"]
    landmark: Float[Tensor, "frame landmark about"]
    context: Float[Tensor, "frame summary"]
    proposal: Float[Tensor, "frame unknown"]
    gaze: Float[Tensor, "frame 3"]


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


@torch.no_grad()
def mean_gaze(here: Linearisation) -> Float[Tensor, "frame 3"]:
    """Mean viewing direction in the root frame: a unit vector for one view, short where cameras stand around. Along it
    evidence is thinnest.
    """
    feedback = here.feedback
    direction = _weighted_mean(feedback.toward, feedback.confidence[..., None], (1, 2))
    return (here.params.rotations[:, 0].transpose(-1, -2) @ direction[..., None])[..., 0]


@torch.no_grad()
def statistics(here: Linearisation, distance: Float[Tensor, "frame view"]) -> Float[Tensor, "frame statistic"]:
    """How good the evidence is as a whole, the same whatever the order of views and landmarks."""
    feedback = here.feedback
    confidence = feedback.confidence
    residual = feedback.residual
    if kernels_serve(residual, confidence, distance):
        seen = map(array, (confidence, residual, feedback.toward, distance, here.params.rotations))
        return torch.from_numpy(statistics_frames(*seen))
    size = residual.norm(dim=-1)
    both = (1, 2)
    log_size = torch.log(size + 1e-3)
    mean = _weighted_mean(log_size, confidence, both)
    spread = _weighted_mean((log_size - mean[:, None, None]) ** 2, confidence, both).sqrt()
    seen = (confidence > 0).to(size.dtype)
    robust = [(1 + (size / kernel) ** 2) ** -2 for kernel in (0.005, 0.015, 0.04, 0.12)]
    log_confidence = torch.log(confidence.clamp_min(1e-3))
    mean_confidence = _weighted_mean(log_confidence, seen, both)
    confidence_spread = _weighted_mean((log_confidence - mean_confidence[:, None, None]) ** 2, seen, both).sqrt()
    views = (seen.sum(-1) >= 3).sum(-1).to(size.dtype)
    points = seen.amax(1).sum(-1)
    projector = ray_projector(feedback.toward)
    information = (confidence[..., None, None] * projector).sum(both) / confidence.sum(both)[:, None, None].clamp_min(
        1e-6
    )
    root = here.params.rotations[:, 0]
    direction = _symmetric_six(root.transpose(-1, -2) @ information @ root)
    view_seen = (seen.amax(-1) > 0).to(size.dtype)
    far = _weighted_mean(torch.log(distance.clamp_min(0.3)), view_seen, (1,))
    columns = [
        0.5 * mean + 2, spread, *(_weighted_mean(value, confidence, both) for value in robust), mean_confidence,
        confidence_spread,
        torch.log1p(views), 1 / views.clamp_min(1), torch.log1p(points) - 3, far - 1.2,
    ]  # fmt: skip
    return torch.cat([torch.stack(columns, -1), direction - 0.6, mean_gaze(here)], dim=-1)


@torch.no_grad()
def iteration_features(
    scene: Scene,
    here: Linearisation,
    classic: ClassicStep,
    distance: Float[Tensor, "frame view"],
) -> IterationFeatures:
    """Features of one recurrent iteration from the classic's step and the fused evidence."""
    diagonal, gradient, weight = classic.diagonal, classic.gradient, classic.weight
    information, pull = classic.information, classic.pull
    if kernels_serve(here.jacobian, diagonal, distance):
        feedback, params = here.feedback, here.params
        given = (
            classic.step, diagonal, gradient, weight, information, pull,
            feedback.confidence, feedback.residual, feedback.toward, distance, feedback.posed.positions,
            params.pelvis, params.rotations, here.tangent, here.bone, here.bone_slope,
        )  # fmt: skip
        found = iteration_frames(scene.arrays, scene.with_shape, LIMITS, NOISE, TYPICAL_LOG_BONE, *map(array, given))
        return IterationFeatures(*map(torch.from_numpy, found))
    frames = len(diagonal)
    proposal = limited(scene, classic.step)
    joints = scene.pose_mean.shape[0] + 1
    last = 3 + 3 * joints
    root = here.params.rotations[:, 0]
    root_from_world = root.transpose(-1, -2)

    def local(vector: Tensor) -> Tensor:
        return (root_from_world @ vector[..., None])[..., 0]

    present = scene.stream_present[:, None]

    def per_stream(flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (joints, 3))[:, scene.stream_joint] * present

    turn = per_stream(proposal[:, 3:last])
    whitened = gradient / (diagonal + 10.0).sqrt()
    tangent = torch.cat([here.tangent.new_zeros(frames, 3), here.tangent], dim=-1)
    pose = per_stream(tangent)
    move = local(proposal[:, :3])
    move_size = torch.asinh(5 * move)
    gaze = mean_gaze(here)
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
    bone_step = (
        (here.bone_slope @ proposal[:, last:, None])[..., 0] if scene.with_shape else torch.zeros_like(here.bone)
    )
    shape_part = joint_part.new_zeros(frames, 1, joint_part.shape[-1])
    stream = torch.cat([joint_part, shape_part, move_part[:, None]], dim=1)

    trace = information.diagonal(dim1=-2, dim2=-1).sum(-1)
    total = weight.sum(1)
    turned = root_from_world[:, None] @ information @ root[:, None]
    position = here.feedback.posed.positions - here.params.pelvis[:, None]
    correction = (root_from_world[:, None] @ (-pull / (trace / 2 + 100.0)[..., None])[..., None])[..., 0]
    base = (here.feedback.confidence / 0.01**2).sum(1)
    landmark = torch.cat(
        [
            (root_from_world[:, None] @ position[..., None])[..., 0],
            torch.asinh(20 * correction),
            _symmetric_six(turned) / (trace[..., None] + 100.0),
            torch.log1p(total)[..., None] / 8,
            (total / base.clamp_min(1.0))[..., None],
            torch.log1p((here.feedback.confidence > 0).sum(1).to(total.dtype))[..., None],
        ],
        dim=-1,
    )
    # How much of the evidence on each joint survived the robust kernel, and how many landmarks it has.
    survived = torch.stack([landmark[..., -2], landmark[..., -3]], -1)
    pooled = scene.pooling @ survived
    padding = pooled.new_zeros(frames, 2, 2)
    mean_landmark = pooled.new_zeros(frames, JOINT_STREAMS + 2, STREAM_FEATURES - joint_part.shape[-1] - 2)
    stream = torch.cat([stream, torch.cat([pooled, padding], dim=1), mean_landmark], dim=-1)
    context = torch.cat(
        [
            pose[:, 1:].flatten(1),
            torch.asinh(5 * turn).flatten(1),
            move_size,
            (here.bone - TYPICAL_LOG_BONE) * scene.stream_present[1:],
            10 * bone_step,
            statistics(here, distance),
        ],
        dim=-1,
    )
    return IterationFeatures(stream, landmark, context, proposal, gaze)


@torch.no_grad()
def observation_features(
    scene: Scene, here: Linearisation, distance: Float[Tensor, "frame view"]
) -> Float[Tensor, "frame view landmark feature"]:
    """What the weight of one observation may depend on: itself, its view, its landmark in the other views, and its
    mirror image.
    """
    feedback = here.feedback
    confidence = feedback.confidence
    if kernels_serve(feedback.residual, confidence, distance):
        given = (confidence, feedback.residual, feedback.toward, feedback.gain, distance)
        return torch.from_numpy(observation_frames(scene.arrays.mirror, *map(array, given)))
    seen = (confidence > 0).to(confidence.dtype)
    size = feedback.residual.norm(dim=-1)
    log_size = torch.log(size + 5e-4)
    log_confidence = torch.log(confidence.clamp_min(1e-2)) * seen
    of_view = _weighted_mean(log_size, confidence, (2,))[..., None].expand_as(size)
    total, count = (log_size * seen).sum(1, keepdim=True), seen.sum(1, keepdim=True)
    others = (total - log_size * seen) / (count - seen).clamp_min(1)
    has_others = ((count - seen) > 0).to(seen.dtype)
    frame = _weighted_mean(log_size, confidence, (1, 2))[:, None, None].expand_as(size)
    mirrored = feedback.toward[:, :, scene.mirror]
    observed = feedback.toward - feedback.residual / distance[..., None, None]
    swapped = torch.log(distance[..., None] * (observed - mirrored).norm(dim=-1) + 5e-4)
    self_mirrored = (scene.mirror == torch.arange(len(scene.mirror))).to(seen.dtype).expand_as(size)
    view_confidence = _weighted_mean(log_confidence, seen, (2,))[..., None].expand_as(size)
    return torch.stack(
        [
            log_size + 4,
            torch.asinh(10 * size),
            log_confidence,
            confidence,
            torch.log(feedback.gain),
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
