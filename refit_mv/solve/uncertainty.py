"""How sure a solution is: the inverse of its normal matrix, carried to the joints (Laplace's approximation)."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.solve.normal_equations import landmark_jacobian, linearise, pose_tangent
from refit_mv.solve.problem import FitProblem


def joint_skin(skin: LandmarkSkin) -> LandmarkSkin:
    """The joints themselves as landmarks: each follows its parent with all its mass."""
    count = len(skin.parents)
    device = skin.pair_joint.device
    # A copy of the given kind: skins of batches hold every frame's own rest joints.
    return replace(
        skin,
        landmark_names=tuple(str(joint) for joint in range(count)),
        pair_landmark=torch.arange(count, device=device),
        pair_joint=torch.tensor([max(parent, 0) for parent in skin.parents], device=device),
        mass=torch.ones(count, dtype=skin.mass.dtype, device=device),
        anchor=skin.rest_mean,
        anchor_directions=skin.rest_directions,
        anchor_pose=None,
        offset=skin.rest_mean.new_zeros(count, 3),
    )


def joint_covariance(problem: FitProblem, params: BodyParams) -> Float[Tensor, "frame joint 3 3"]:
    """Covariance of every joint's world position, m²."""
    with_shape = problem.shape_mode == "free"
    normal = linearise(problem, params, problem.feedback(params), problem.options.kernel, with_shape)
    size = normal.hessian.shape[-1]
    # The floor is a standard deviation of 1 km: it only keeps frames without any evidence invertible.
    eye = torch.eye(size, dtype=normal.hessian.dtype, device=normal.hessian.device)
    factor, failed = torch.linalg.cholesky_ex(normal.hessian + 1e-6 * eye)
    factor = torch.where((failed == 0)[:, None, None], factor, 1e-3 * eye)
    skin = joint_skin(problem.skin)
    jacobian = landmark_jacobian(skin, pose_landmarks(skin, params), pose_tangent(problem, params), with_shape)
    frames, joints = jacobian.shape[:2]
    half = torch.linalg.solve_triangular(
        factor, jacobian.reshape(frames, 3 * joints, size).transpose(-1, -2), upper=False
    )
    half = half.transpose(-1, -2).reshape(frames, joints, 3, size)
    return half @ half.transpose(-1, -2)


def carried_to_joints(
    problem: FitProblem, params: BodyParams, covariance: Float[Tensor, "frame unknown unknown"]
) -> Float[Tensor, "frame joint 3 3"]:
    """The same from covariances of the frames' unknowns, such as a chain of frames has them."""
    skin = joint_skin(problem.skin)
    with_shape = problem.shape_mode == "free"
    jacobian = landmark_jacobian(skin, pose_landmarks(skin, params), pose_tangent(problem, params), with_shape)
    return jacobian @ covariance[:, None] @ jacobian.mT
