"""How sure a solution is: the inverse of its normal matrix, carried to the joints (Laplace's approximation)."""

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.unknowns import Unknowns


@lru_cache(maxsize=16)
def joint_skin(skin: LandmarkSkin) -> LandmarkSkin:
    """The joints themselves as landmarks: each follows its parent with all its mass."""
    count = len(skin.parents)
    device = skin.pair_joint.device
    # A copy of the given kind: skins of batches hold every frame's own rest joints.
    # What is kept serves training and inference alike; tensors made in inference mode would not.
    with torch.inference_mode(False):
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
    normal = problem.normal_equations(problem.linearise(params))
    # The floor is a standard deviation of 1 km: it only keeps frames without any evidence invertible.
    eye = torch.eye(normal.hessian.shape[-1], dtype=normal.hessian.dtype, device=normal.hessian.device)
    factor, failed = torch.linalg.cholesky_ex(normal.hessian + 1e-6 * eye)
    return factored_covariance(problem.unknowns, params, torch.where((failed == 0)[:, None, None], factor, 1e-3 * eye))


def joint_jacobian(unknowns: Unknowns, params: BodyParams) -> Float[Tensor, "frame row unknown"]:
    """How the joints' world positions move with the unknowns, three rows each."""
    joints = replace(unknowns, skin=joint_skin(unknowns.skin))
    return joints.jacobian(pose_landmarks(joints.skin, params), joints.tangent(params))


def factored_covariance(
    unknowns: Unknowns, params: BodyParams, factor: Float[Tensor, "frame unknown unknown"]
) -> Float[Tensor, "frame joint 3 3"]:
    """Covariance of the joints' world positions (m²) from the lower Cholesky factor of the normal matrix."""
    jacobian = joint_jacobian(unknowns, params)
    half = torch.linalg.solve_triangular(factor, jacobian.transpose(-1, -2), upper=False)
    half = half.transpose(-1, -2).unflatten(1, (-1, 3))
    return half @ half.transpose(-1, -2)


def carried_to_joints(
    unknowns: Unknowns, params: BodyParams, covariance: Float[Tensor, "frame unknown unknown"]
) -> Float[Tensor, "frame joint 3 3"]:
    """The same from covariances of the frames' unknowns, such as a chain of frames has them."""
    jacobian = joint_jacobian(unknowns, params).unflatten(1, (-1, 3))
    return jacobian @ covariance[:, None] @ jacobian.mT
