"""The body model and its parameters.

Linear blend skinning with SMPL's conventions (Loper et al., "SMPL: A skinned multi-person linear model", SIGGRAPH Asia
2015): rest pose is a T-pose, y up, z forward, x to the person's left; shape acts linearly on the template; joints are
regressed from the shaped template. One difference, made for good reason: the root is placed by the world position of
the *pelvis joint*, not by SMPL's ``trans``, which leaves out the rest pelvis and so depends on shape.
``smpl_translation`` converts at the file edge.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, Skeleton
from refit_mv.body.landmarks import vertex_landmarks
from refit_mv.body.params import BodyParams


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A linear-blend-skinned body. Metres, rest frame y up and z forward. All tensors float64 on the CPU unless moved
    with ``to``.

    ``pose_directions`` (SMPL's pose-dependent correctives) act on the features ``R_j - I`` of all joints but the root,
    flattened row-major; None where the body has none. ``landmark_regressor`` rows are non-negative and sum to one.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    template: Float[Tensor, "vertex 3"]
    shape_directions: Float[Tensor, "vertex 3 shape"]
    faces: Int[Tensor, "face 3"]
    joint_regressor: Float[Tensor, "joint vertex"]
    skin_weights: Float[Tensor, "vertex joint"]
    pose_directions: Float[Tensor, "vertex 3 pose_feature"] | None
    landmark_names: tuple[str, ...]
    landmark_regressor: Float[Tensor, "landmark vertex"]

    @property
    def shape_count(self) -> int:
        return self.shape_directions.shape[-1]

    @property
    def joint_count(self) -> int:
        return len(self.parents)

    @property
    def skeleton(self) -> Skeleton:
        """Names and tree of the joints."""
        return Skeleton(self.joint_names, self.parents)

    @property
    def smpl_joints(self) -> list[int]:
        """Which of the joints are SMPL's, in SMPL's order; those that the body lacks are left out."""
        return [self.joint_names.index(name) for name in SMPL_JOINT_NAMES if name in self.joint_names]

    def rest(self, frames: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> BodyParams:
        """The T-pose of the mean shape with its pelvis at the origin."""
        eye = torch.eye(3, dtype=dtype, device=device)
        return BodyParams(
            pelvis=torch.zeros(frames, 3, dtype=dtype, device=device),
            rotations=eye.expand(frames, self.joint_count, 3, 3).clone(),
            shape=torch.zeros(frames, self.shape_count, dtype=dtype, device=device),
        )

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "BodyModel":
        """The same body with its floating-point tensors converted and moved."""
        if self.template.dtype == dtype and self.template.device == torch.device(device):
            return self
        pose_directions = None if self.pose_directions is None else self.pose_directions.to(device, dtype)
        return replace(
            self,
            template=self.template.to(device, dtype),
            shape_directions=self.shape_directions.to(device, dtype),
            faces=self.faces.to(device),
            joint_regressor=self.joint_regressor.to(device, dtype),
            skin_weights=self.skin_weights.to(device, dtype),
            pose_directions=pose_directions,
            landmark_regressor=self.landmark_regressor.to(device, dtype),
        )


def with_vertices(body: BodyModel, count: int) -> BodyModel:
    """The body with ``count`` of its vertices, at equal steps of their numbering, as further landmarks:
    ``landmarks.vertex_landmarks(count)``.
    """
    chosen = torch.linspace(0, len(body.template) - 1, count).round().long()
    rows = torch.zeros(count, len(body.template), dtype=body.landmark_regressor.dtype)
    rows[torch.arange(count), chosen] = 1.0
    return replace(
        body,
        landmark_names=(*body.landmark_names, *vertex_landmarks(count)),
        landmark_regressor=torch.cat([body.landmark_regressor, rows]),
    )


@dataclass(frozen=True, eq=False)
class PosedSkeleton:
    """Joint positions in the world (metres) and world_from_joint rotations."""

    positions: Float[Tensor, "frame joint 3"]
    rotations: Float[Tensor, "frame joint 3 3"]


def rest_joints(body: BodyModel, shape: Float[Tensor, "frame shape"]) -> Float[Tensor, "frame joint 3"]:
    """Joints of the shaped T-pose."""
    mean = body.joint_regressor @ body.template
    directions = torch.einsum("jv,vcs->jcs", body.joint_regressor, body.shape_directions)
    return mean + torch.einsum("jcs,fs->fjc", directions, shape)


def tree_levels(parents: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Joints grouped by depth with their parents, root excluded, so that a chain of rotations takes one product per
    level.
    """
    depth = [0] * len(parents)
    for joint, parent in enumerate(parents):
        depth[joint] = 0 if parent < 0 else depth[parent] + 1
    levels = []
    for level in range(1, max(depth) + 1):
        joints = [joint for joint, value in enumerate(depth) if value == level]
        levels.append((joints, [parents[joint] for joint in joints]))
    return levels


def pose_skeleton(
    parents: tuple[int, ...],
    rest: Float[Tensor, "frame joint 3"],
    pelvis: Float[Tensor, "frame 3"],
    rotations: Float[Tensor, "frame joint 3 3"],
) -> PosedSkeleton:
    """Forward kinematics from rest joints of the shaped body."""
    world: list[Tensor] = [rotations[:, 0]] * len(parents)
    position: list[Tensor] = [pelvis] * len(parents)
    bones = rest - rest[:, [max(parent, 0) for parent in parents]]
    for joints, level_parents in tree_levels(parents):
        parent_rotation = torch.stack([world[parent] for parent in level_parents], dim=1)
        turned = parent_rotation @ rotations[:, joints]
        offset = (parent_rotation @ bones[:, joints, :, None])[..., 0]
        for place, (joint, parent) in enumerate(zip(joints, level_parents, strict=True)):
            world[joint] = turned[:, place]
            position[joint] = position[parent] + offset[:, place]
    return PosedSkeleton(torch.stack(position, dim=1), torch.stack(world, dim=1))


def posed_joints(body: BodyModel, params: BodyParams) -> PosedSkeleton:
    """Forward kinematics of the body's joints in the world."""
    return pose_skeleton(body.parents, rest_joints(body, params.shape), params.pelvis, params.rotations)


def pose_features(rotations: Float[Tensor, "frame joint 3 3"]) -> Float[Tensor, "frame pose_feature"]:
    """SMPL's corrective features: ``R - I`` of every joint but the root, row-major."""
    eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return (rotations[:, 1:] - eye).flatten(1)


def vertices(body: BodyModel, params: BodyParams) -> Float[Tensor, "frame vertex 3"]:
    """The whole skinned surface in the world. Costs a full mesh per frame: fitting uses ``LandmarkSkin`` instead."""
    shaped = body.template + torch.einsum("vcs,fs->fvc", body.shape_directions, params.shape)
    rest = torch.einsum("jv,fvc->fjc", body.joint_regressor, shaped)
    if body.pose_directions is not None:
        shaped = shaped + torch.einsum("vcp,fp->fvc", body.pose_directions, pose_features(params.rotations))
    skeleton = pose_skeleton(body.parents, rest, params.pelvis, params.rotations)
    shift = skeleton.positions - (skeleton.rotations @ rest[..., None])[..., 0]
    blend = torch.einsum("vj,fjrc->fvrc", body.skin_weights, torch.cat([skeleton.rotations, shift[..., None]], dim=-1))
    return (blend[..., :3] @ shaped[..., None])[..., 0] + blend[..., 3]


def smpl_translation(body: BodyModel, params: BodyParams) -> Float[Tensor, "frame 3"]:
    """SMPL's ``trans``: the pelvis without the rest pelvis, as AMASS files store it."""
    return params.pelvis - rest_joints(body, params.shape)[:, 0]
