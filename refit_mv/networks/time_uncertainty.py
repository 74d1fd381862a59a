"""How sure a fitted window is: draws from the Gaussian whose precision is the chain of frames, carried to the joints.

A frame's marginal covariance needs the whole chain. Exact recursions cost five times the solution itself; some draws
cost a part of it, and their noise is the same from frame to frame.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.networks.scene import Scene
from refit_mv.networks.time_unroll import UnrolledSequence
from refit_mv.solve.uncertainty import joint_jacobian

# A variance of three axes from so many draws is within 20 % (one sigma), a standard deviation within 10 %.
DRAWS = 16
EVERYTHING = slice(None)


@torch.no_grad()
def drawn_joint_covariance(
    scene: Scene, unrolled: UnrolledSequence, frames: slice = EVERYTHING
) -> Float[Tensor, "frame joint 3 3"]:
    """Covariance of the joints' world positions (m²) in ``frames`` (counted over all windows); the draws' seed is
    fixed.
    """
    windows, length, size = unrolled.factor.inverse.shape[:3]
    # The same numbers in every frame and window: what is drawn varies as smoothly as what is known.
    single = torch.float32
    normal = torch.randn(size, DRAWS, generator=torch.Generator().manual_seed(0), dtype=single)
    signs = torch.randn(length, 1, DRAWS, generator=torch.Generator().manual_seed(1), dtype=single).sign()
    columns = (normal * signs).expand(windows, -1, -1, -1)
    drawn = unrolled.factor.backward(columns.to(unrolled.factor.inverse)).flatten(0, 1)[frames]
    moved = (joint_jacobian(scene.unknowns, unrolled.at[frames]) @ drawn).unflatten(1, (-1, 3))
    return moved @ moved.transpose(-1, -2) / DRAWS
