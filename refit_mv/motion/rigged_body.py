"""A motion as scene formats want it: a skinned mesh at rest, its joints, and one turn per joint and frame."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from refit_mv.geometry.rotations import quaternion
from refit_mv.motion.motion import Motion

# What engines take of influences on a vertex.
INFLUENCES = 4


@dataclass(frozen=True, eq=False)
class RiggedBody:
    """Metres. ``points``, ``normals`` and ``joints`` are of the shaped T-pose, where every joint is unrotated;
    ``influences`` and ``weights`` the four strongest joints of every vertex, weights summing to one (joint 0 where a
    weight is 0). ``turns`` are local unit quaternions (x, y, z, w) that go on without leaps of sign. ``root`` is where
    the root joint is; frames without a pose of their own hold the nearest frame's.
    """

    points: Float[np.ndarray, "vertex 3"]
    normals: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    joints: Float[np.ndarray, "joint 3"]
    influences: Int[np.ndarray, "vertex influence"]
    weights: Float[np.ndarray, "vertex influence"]
    root: Float[np.ndarray, "frame 3"]
    turns: Float[np.ndarray, "frame joint 4"]

    @staticmethod
    def of(motion: Motion) -> "RiggedBody":
        """The body and the movement of a motion. Pose-dependent correctives have no place in skinning: they are left
        out.

        Raises:
            InputError: the motion has no body, or no frame has a pose.
        """
        body, held = motion.known_body, motion.held()
        model = body.model
        points = (model.template + torch.einsum("vcs,s->vc", model.shape_directions, body.shape)).numpy()
        faces = model.faces.numpy()
        weights, influences = model.skin_weights.topk(min(INFLUENCES, model.joint_count), dim=1)
        influences = torch.where(weights > 0, influences, 0)
        return RiggedBody(
            points,
            _normals(points, faces),
            faces,
            body.rest.numpy(),
            influences.numpy(),
            (weights / weights.sum(1, keepdim=True)).numpy(),
            held.pelvis.numpy(),
            _without_leaps(quaternion(held.rotations).numpy())[..., [1, 2, 3, 0]],
        )


def bones(joints: Float[np.ndarray, "joint 3"], parents: tuple[int, ...]) -> Float[np.ndarray, "joint 3"]:
    """From each joint's parent to the joint, the root's from the origin."""
    above = np.array(parents)
    return joints - np.where(above[:, None] < 0, 0.0, joints[above])


def _without_leaps(turns: Float[np.ndarray, "frame joint 4"]) -> Float[np.ndarray, "frame joint 4"]:
    """Of the two quaternions of a rotation the one nearer to the frame before."""
    turned_over = (turns[1:] * turns[:-1]).sum(-1) < 0
    signs = np.where(np.cumsum(turned_over, axis=0) % 2 == 1, -1.0, 1.0)
    return np.concatenate([turns[:1], turns[1:] * signs[..., None]])


def _normals(points: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> Float[np.ndarray, "vertex 3"]:
    """Unit normals of a vertex's faces, weighted with their areas."""
    corner = points[faces]
    across = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normals = np.zeros_like(points)
    for place in range(3):
        np.add.at(normals, faces[:, place], across)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    # A vertex without a face faces up.
    return np.where(length > 0, normals / np.maximum(length, 1e-300), (0.0, 1.0, 0.0))
