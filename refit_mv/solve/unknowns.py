"""Body parameters as flat vectors around a base point, for libraries that know only vectors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3


@dataclass(frozen=True, eq=False)
class ParameterVector:
    """The unknowns of a frame as a vector: pelvis and root turn relative to ``base``, the other joints' tangent
    coordinates at the prior's ``mean``, shape.

    ``with_shape`` says whether shape belongs to the vector. Valid for turns of the root below π from the base and of
    the joints below 2π from the mean.
    """

    base: BodyParams
    mean: Float[Tensor, "joint 3 3"]
    with_shape: bool

    @property
    def size(self) -> int:
        """Unknowns of one frame."""
        return 6 + 3 * len(self.mean) + (self.base.shape.shape[1] if self.with_shape else 0)

    def unpack(self, vector: Float[Tensor, "frame unknown"]) -> BodyParams:
        """Parameters at a vector."""
        last = 6 + 3 * len(self.mean)
        root = self.base.rotations[:, :1] @ so3.exp(vector[:, None, 3:6])
        joints = self.mean @ so3.exp(vector[:, 6:last].unflatten(-1, (-1, 3)))
        shape = vector[:, last:] if self.with_shape else self.base.shape
        return BodyParams(self.base.pelvis + vector[:, :3], torch.cat([root, joints], dim=1), shape)

    def pack(self, params: BodyParams) -> Float[Tensor, "frame unknown"]:
        """The vector of given parameters; the inverse of ``unpack``."""
        root = so3.between(self.base.rotations[:, 0], params.rotations[:, 0])
        joints = so3.between(self.mean, params.rotations[:, 1:]).flatten(1)
        parts = [params.pelvis - self.base.pelvis, root, joints]
        if self.with_shape:
            parts.append(params.shape)
        return torch.cat(parts, dim=-1)

    def chain(
        self, vector: Float[Tensor, "frame unknown"], jacobian: Float[Tensor, "frame row unknown"]
    ) -> Float[Tensor, "frame row unknown"]:
        """Turn a Jacobian in the fitting problem's unknowns (right perturbations of the root) into one in the vector's
        entries.
        """
        root = jacobian[..., 3:6] @ so3.right_jacobian(vector[:, 3:6])
        return torch.cat([jacobian[..., :3], root, jacobian[..., 6:]], dim=-1)
