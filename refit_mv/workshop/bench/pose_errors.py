"""How far a fitted body is from the true one, frame by frame, in the measures of the literature."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.geometry.rotations import angle_between, nearest_rotation

# Whole meshes are compared this many frames at a time: 64 × 6,900 vertices in float64 are 11 MB.
MESH_FRAMES = 64


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """Errors of every frame: metres, rotations in radians.

    ``joint`` over SMPL's 24 joints in the world, ``relative`` with the pelvis moved onto the true one, ``aligned``
    after the best similarity transform of the frame (Procrustes, scale included), ``turn`` of every joint's own
    rotation (the root's in the world), ``vertex`` averaged over the surface, ``landmark`` over the landmarks that
    served as evidence.
    """

    joint: Float[Tensor, "frame joint"]
    relative: Float[Tensor, "frame joint"]
    aligned: Float[Tensor, "frame joint"]
    turn: Float[Tensor, "frame joint"]
    vertex: Float[Tensor, " frame"]
    landmark: Float[Tensor, "frame landmark"]

    def __len__(self) -> int:
        return len(self.vertex)

    def __getitem__(self, frames: slice | Bool[Tensor, " frame"]) -> "PoseErrors":
        return PoseErrors(
            self.joint[frames],
            self.relative[frames],
            self.aligned[frames],
            self.turn[frames],
            self.vertex[frames],
            self.landmark[frames],
        )

    @staticmethod
    def concatenate(parts: "list[PoseErrors]") -> "PoseErrors":
        """Join along the frame axis."""
        return PoseErrors(
            torch.cat([part.joint for part in parts]),
            torch.cat([part.relative for part in parts]),
            torch.cat([part.aligned for part in parts]),
            torch.cat([part.turn for part in parts]),
            torch.cat([part.vertex for part in parts]),
            torch.cat([part.landmark for part in parts]),
        )


def procrustes(
    source: Float[Tensor, "frame point 3"], target: Float[Tensor, "frame point 3"]
) -> Float[Tensor, "frame point 3"]:
    """``source`` after the similarity transform that brings it closest to ``target`` in least squares (Umeyama, PAMI
    1991).
    """
    a, b = source - source.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
    covariance = b.transpose(-1, -2) @ a
    rotation = nearest_rotation(covariance)
    turned = a @ rotation.transpose(-1, -2)
    scale = (turned * b).sum((-1, -2)) / (a * a).sum((-1, -2)).clamp_min(1e-12)
    return scale[:, None, None] * turned + target.mean(1, keepdim=True)


def pose_errors(body: BodyModel, skin: LandmarkSkin, fitted: BodyParams, truth: BodyParams) -> PoseErrors:
    """Compare two parameter sets of one body. Joints beyond SMPL's 24 (fingers, jaw, eyes) do not count."""
    chosen = body.smpl_joints
    ours, theirs = (posed_joints(body, params).positions[:, chosen] for params in (fitted, truth))
    shift = theirs[:, :1] - ours[:, :1]
    surface = [
        (vertices(body, fitted[part]) - vertices(body, truth[part])).norm(dim=-1).mean(-1)
        for part in (slice(at, at + MESH_FRAMES) for at in range(0, len(truth), MESH_FRAMES))
    ]
    return PoseErrors(
        joint=(ours - theirs).norm(dim=-1),
        relative=(ours + shift - theirs).norm(dim=-1),
        aligned=(procrustes(ours, theirs) - theirs).norm(dim=-1),
        turn=angle_between(fitted.rotations[:, chosen], truth.rotations[:, chosen]),
        vertex=torch.cat(surface),
        landmark=(pose_landmarks(skin, fitted).positions - pose_landmarks(skin, truth).positions).norm(dim=-1),
    )
