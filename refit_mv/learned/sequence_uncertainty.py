"""How sure a fitted window is: draws from the Gaussian whose precision is the chain of frames, carried to the joints.

A frame's marginal covariance needs the whole chain. Exact recursions cost five times the solution itself; some draws cost a part of it, and their noise is the same from frame to frame.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.skin import pose_landmarks
from refit_mv.fitting.normal_equations import landmark_jacobian
from refit_mv.fitting.uncertainty import joint_skin
from refit_mv.learned.chain import backward_pass
from refit_mv.learned.scene import Scene
from refit_mv.learned.sequence_unroll import UnrolledSequence
from refit_mv.learned.system import pose_tangent

# A variance of three axes from so many draws is within 12 % (one sigma).
DRAWS = 24


@torch.no_grad()
def drawn_joint_covariance(scene: Scene, unrolled: UnrolledSequence) -> Float[Tensor, "frame joint 3 3"]:
    """Covariance of the joints' world positions (m²); the draws' seed is fixed."""
    skin = joint_skin(scene.skin)
    jacobian = landmark_jacobian(skin, pose_landmarks(skin, unrolled.at), pose_tangent(scene, unrolled.at), False)
    frames, joints = jacobian.shape[:2]
    windows, size = unrolled.factor.own[0].shape[:2]
    # The same numbers in every frame and window: what is drawn varies as smoothly as what is known.
    normal = torch.randn(size, DRAWS, generator=torch.Generator().manual_seed(0), dtype=jacobian.dtype)
    signs = torch.randn(len(unrolled.factor.own), 1, DRAWS, generator=torch.Generator().manual_seed(1)).sign()
    columns = [(normal * sign).expand(windows, -1, -1) for sign in signs.to(jacobian.dtype)]
    drawn = backward_pass(unrolled.factor, columns).flatten(0, 1)
    moved = (jacobian.flatten(1, 2) @ drawn).view(frames, joints, 3, DRAWS)
    return moved @ moved.transpose(-1, -2) / DRAWS
