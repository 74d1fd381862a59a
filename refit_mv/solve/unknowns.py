"""What is solved for of a frame, as flat vectors: pack, retract, limit.

The unknowns are, in this order: pelvis (3), a right perturbation of the root's rotation (3), the tangent coordinates
``Log(meanᵀ R)`` of every other joint (3 each), and shape. In these coordinates the pose prior is exactly quadratic.
"""

from dataclasses import dataclass, replace
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import PosedSkeleton
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, PosedLandmarks, rotation_jacobian, shape_jacobian
from refit_mv.geometry import rotations as so3
from refit_mv.kernels.compiling import compiled_by
from refit_mv.kernels.linearisation import landmark_jacobians
from refit_mv.kernels.retraction import moved_frames, shortened_frames

# Where the joints' tangent coordinates begin, after pelvis and root.
POSE_BEGIN = 6
# Largest pelvis move (metres), turn of a joint (radians) and change of a shape coefficient that a step may make: a
# linearisation is worth nothing beyond.
REACH = (1.0, 0.8, 2.0)


@dataclass(frozen=True, eq=False)
class Unknowns:
    """The unknowns of one body: its landmarks, the pose prior's ``mean``, and whether shape is sought."""

    skin: LandmarkSkin
    mean: Float[Tensor, "other 3 3"]
    with_shape: bool

    @property
    def joints(self) -> int:
        return len(self.mean) + 1

    @property
    def pose(self) -> slice:
        """The joints' tangent coordinates."""
        return slice(POSE_BEGIN, self.shape_begin)

    @property
    def shape_begin(self) -> int:
        return POSE_BEGIN + 3 * len(self.mean)

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "Unknowns":
        device = self.mean.device if device is None else device
        return replace(self, skin=self.skin.to(dtype, device), mean=self.mean.to(device, dtype))

    def tangent(self, params: BodyParams) -> Float[Tensor, "frame tangent"]:
        """``Log(meanᵀ R)`` of every joint but the root."""
        return so3.between(self.mean, params.rotations[:, 1:]).flatten(1)

    def moved(
        self, params: BodyParams, tangent: Float[Tensor, "frame tangent"], step: Float[Tensor, "frame unknown"]
    ) -> BodyParams:
        """Parameters after a step; ``tangent`` is that of ``params``. A step without shape leaves the shape alone."""
        return BodyParams(*_moved(self.mean, params.pelvis, params.rotations, params.shape, tangent, step))

    def limited(self, step: Float[Tensor, "frame unknown"]) -> Float[Tensor, "frame unknown"]:
        """The step, shortened part by part (pelvis, each joint, shape) to the ``REACH`` of a linearisation."""
        return shortened(step, self.joints, REACH)

    def jacobian(
        self, posed: PosedLandmarks, tangent: Float[Tensor, "frame tangent"]
    ) -> Float[Tensor, "frame row unknown"]:
        """Motion of every landmark with the unknowns, three rows each."""
        skeleton = posed.skeleton
        return landmark_jacobian(
            self.skin, skeleton.positions, skeleton.rotations, posed.share, tangent, self.with_shape
        )


@compiled_by(moved_frames)
def _moved(
    mean: Float[Tensor, "other 3 3"],
    pelvis: Float[Tensor, "frame 3"],
    rotations: Float[Tensor, "frame joint 3 3"],
    shape: Float[Tensor, "frame shape"],
    tangent: Float[Tensor, "frame tangent"],
    step: Float[Tensor, "frame unknown"],
) -> tuple[Tensor, Tensor, Tensor]:
    last = POSE_BEGIN + tangent.shape[-1]
    joints = mean @ so3.exp((tangent + step[:, POSE_BEGIN:last]).unflatten(-1, (-1, 3)))
    root = rotations[:, :1] @ so3.exp(step[:, None, 3:POSE_BEGIN])
    changed = shape + step[:, last:] if step.shape[-1] > last else shape
    return pelvis + step[:, :3], torch.cat([root, joints], dim=1), changed


@compiled_by(shortened_frames)
def shortened(
    step: Float[Tensor, "frame unknown"], joints: int, reach: tuple[float, float, float] = (inf, inf, inf)
) -> Float[Tensor, "frame unknown"]:
    """Steps with every part at most so long: pelvis (metres), each of the joints' turns (radians), shape."""
    last = 3 + 3 * joints
    turns = step[:, 3:last].unflatten(-1, (joints, 3))

    def within(vector: Tensor, largest: float) -> Tensor:
        return vector * (largest / (vector.detach().norm(dim=-1, keepdim=True) + 1e-9)).clamp_max(1.0)

    pelvis, turns = within(step[:, :3], reach[0]), within(turns, reach[1])
    return torch.cat([pelvis, turns.flatten(1), step[:, last:].clamp(-reach[2], reach[2])], dim=-1)


@compiled_by(landmark_jacobians)
def landmark_jacobian(
    skin: LandmarkSkin,
    joint: Float[Tensor, "frame joint 3"],
    world: Float[Tensor, "frame joint 3 3"],
    share: Float[Tensor, "frame pair 3"],
    tangent: Float[Tensor, "frame tangent"],
    with_shape: bool,
) -> Float[Tensor, "frame row unknown"]:
    """Motion of the landmarks of a posed skeleton (its joints, world_from_joint rotations and shares of pairs)."""
    frames = len(world)
    posed = PosedLandmarks(joint, PosedSkeleton(joint, world), share)
    inner = so3.right_jacobian(tangent.view(frames, -1, 3))
    axes = torch.cat([world[:, :1], world[:, 1:] @ inner], dim=1)
    turned = rotation_jacobian(skin, posed, axes)
    moved = torch.eye(3, dtype=turned.dtype, device=turned.device).expand(frames, skin.landmark_count, 3, 3)
    parts = [moved, turned.flatten(-2)]
    if with_shape:
        parts.append(shape_jacobian(skin, posed))
    return torch.cat(parts, dim=-1).flatten(1, 2)


@dataclass(frozen=True, eq=False)
class ParameterVector:
    """Body parameters as flat vectors around a base point, for libraries that know only vectors: pelvis and root turn
    relative to ``base``, the other joints' tangent coordinates, shape where it is sought.

    Valid for turns of the root below π from the base and of the joints below 2π from the mean.
    """

    base: BodyParams
    unknowns: Unknowns

    @property
    def size(self) -> int:
        """Unknowns of one frame."""
        return self.unknowns.shape_begin + (self.base.shape.shape[1] if self.unknowns.with_shape else 0)

    def unpack(self, vector: Float[Tensor, "frame unknown"]) -> BodyParams:
        """Parameters at a vector."""
        last = self.unknowns.shape_begin
        root = self.base.rotations[:, :1] @ so3.exp(vector[:, None, 3:POSE_BEGIN])
        joints = self.unknowns.mean @ so3.exp(vector[:, POSE_BEGIN:last].unflatten(-1, (-1, 3)))
        shape = vector[:, last:] if self.unknowns.with_shape else self.base.shape
        return BodyParams(self.base.pelvis + vector[:, :3], torch.cat([root, joints], dim=1), shape)

    def pack(self, params: BodyParams) -> Float[Tensor, "frame unknown"]:
        """The vector of given parameters; the inverse of ``unpack``."""
        root = so3.between(self.base.rotations[:, 0], params.rotations[:, 0])
        parts = [params.pelvis - self.base.pelvis, root, self.unknowns.tangent(params)]
        if self.unknowns.with_shape:
            parts.append(params.shape)
        return torch.cat(parts, dim=-1)

    def chain(
        self, vector: Float[Tensor, "frame unknown"], jacobian: Float[Tensor, "frame row unknown"]
    ) -> Float[Tensor, "frame row unknown"]:
        """Turn a Jacobian in the unknowns (right perturbations of the root) into one in the vector's entries."""
        root = jacobian[..., 3:POSE_BEGIN] @ so3.right_jacobian(vector[:, 3:POSE_BEGIN])
        return torch.cat([jacobian[..., :3], root, jacobian[..., POSE_BEGIN:]], dim=-1)
