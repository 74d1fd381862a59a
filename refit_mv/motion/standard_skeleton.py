"""A stick figure of average proportions on SMPL's kinematic tree.

Motions have no body of their own: bone directions, floor height and travel are judged on this one. Segment lengths
follow the stature fractions of Winter, "Biomechanics and Motor Control of Human Movement" (table 4.1) for a person of
1.70 m; the spine's joints are spaced by eye.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.model import PosedSkeleton, pose_skeleton
from refit_mv.body.sides import other_side

# Height of the ankle joint over the sole (Winter: 0.039 of stature).
ANKLE_HEIGHT = 0.066

_LEFT_AND_MIDDLE = {
    "pelvis": (0.0, 0.0, 0.0),
    "left_hip": (0.085, -0.080, 0.0),
    "left_knee": (0.085, -0.496, 0.0),
    "left_ankle": (0.085, -0.914, 0.0),
    "left_foot": (0.085, -0.960, 0.130),
    "spine1": (0.0, 0.100, 0.0),
    "spine2": (0.0, 0.220, 0.0),
    "spine3": (0.0, 0.280, 0.0),
    "neck": (0.0, 0.480, 0.0),
    "head": (0.0, 0.560, 0.0),
    "left_collar": (0.070, 0.390, 0.0),
    "left_shoulder": (0.190, 0.410, 0.0),
    "left_elbow": (0.506, 0.410, 0.0),
    "left_wrist": (0.754, 0.410, 0.0),
    "left_hand": (0.840, 0.410, 0.0),
}


def _position(name: str) -> tuple[float, float, float]:
    if name.startswith("right_"):
        x, y, z = _LEFT_AND_MIDDLE[other_side(name)]
        return -x, y, z
    return _LEFT_AND_MIDDLE[name]


def standard_rest_joints() -> Float[Tensor, "24 3"]:
    """Rest joints in metres: T-pose, pelvis at the origin, y up, z forward, left at +x."""
    return torch.tensor([_position(name) for name in SMPL_JOINT_NAMES], dtype=torch.float64)


def standard_pelvis_height() -> float:
    """Height of the pelvis joint over the floor when standing in the T-pose, metres."""
    return ANKLE_HEIGHT - _LEFT_AND_MIDDLE["left_ankle"][1]


def pose_standard_skeleton(pelvis: Float[Tensor, "frame 3"], rotations: Float[Tensor, "frame 24 3 3"]) -> PosedSkeleton:
    """The stick figure in the world."""
    rest = standard_rest_joints().to(rotations)
    return pose_skeleton(SMPL_PARENTS, rest.expand(len(pelvis), *rest.shape), pelvis, rotations)
