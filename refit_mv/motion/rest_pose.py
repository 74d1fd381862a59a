"""The pose in which a skeleton is bare: the body's own T-pose, or the A-pose in which some characters stand."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Motion, ShapedBody

# How far the arms of an A-pose hang, from the shoulders; everything else is as in the T-pose.
A_POSE_DEGREES = 45.0
# What each pose is, in words for whoever takes a file over.
REST_POSES = {
    "t": "T-pose of the shaped body",
    "a": f"A-pose of the shaped body: the T-pose with arms {A_POSE_DEGREES:g} degrees down",
}


def rested(motion: Motion, pose: str) -> Motion:
    """The same movement of the same body, told by a skeleton that is bare in another pose: joints are where they
    were in every frame, and so is skin that is not blended across a shoulder. Pose-dependent correctives, which count
    from the T-pose, are left out.

    Raises:
        InputError: no such pose, the motion has no body, or its body no SMPL shoulders.
    """
    if pose not in REST_POSES:
        raise InputError(f"no rest pose '{pose}': choose one of {', '.join(REST_POSES)}")
    if pose == "t":
        return motion
    worn = motion.known_body
    bare = _a_pose(worn)
    skeleton = posed_joints(worn.model, bare)
    turned = skeleton.rotations[0]
    above = torch.tensor([max(parent, 0) for parent in worn.model.parents])
    before = turned[above].clone()
    before[0] = torch.eye(3, dtype=turned.dtype)
    rotations = before @ motion.rotations @ turned.transpose(-1, -2)
    plain = replace(worn.model, pose_directions=None)
    model = _standing(plain, vertices(plain, bare)[0], skeleton.positions[0])
    return replace(motion, rotations=rotations, body=ShapedBody(model, worn.shape, worn.gender))


def _a_pose(worn: ShapedBody) -> BodyParams:
    names, eye = worn.model.joint_names, torch.eye(3, dtype=torch.float64)
    rotations = eye.expand(1, len(names), 3, 3).clone()
    for name, sign in (("left_shoulder", -1.0), ("right_shoulder", 1.0)):
        if name not in names:
            raise InputError(f"body '{worn.model.name}' has no {name}: only its own rest pose can be written")
        rotations[0, names.index(name)] = exp(sign * torch.deg2rad(torch.tensor(A_POSE_DEGREES).double()) * eye[2])
    return BodyParams(worn.rest[:1], rotations, worn.shape[None])


def _standing(model: BodyModel, points: Float[Tensor, "vertex 3"], joints: Float[Tensor, "joint 3"]) -> BodyModel:
    """A body of one shape whose template is ``points`` and whose joints are ``joints``."""
    # The smallest change of the regressor that puts the joints where they are, its rows summing to one as before.
    known = torch.cat([points, torch.ones_like(points[:, :1])], dim=1)
    wanted = torch.cat([joints, torch.ones_like(joints[:, :1])], dim=1)
    regressor = model.joint_regressor
    regressor = regressor + (wanted - regressor @ known) @ torch.linalg.pinv(known)
    still = torch.zeros_like(model.shape_directions)
    return replace(model, template=points, shape_directions=still, joint_regressor=regressor)
