"""Rigid transforms, named so that frames cancel: ``p_b = b_from_a.apply(p_a)``, ``c_from_a = c_from_b @ b_from_a``."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RigidTransform:
    """Rotation followed by translation (metres). Batches broadcast."""

    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]

    @staticmethod
    def identity(dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> "RigidTransform":
        return RigidTransform(torch.eye(3, dtype=dtype, device=device), torch.zeros(3, dtype=dtype, device=device))

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "RigidTransform":
        """Converted and moved."""
        return RigidTransform(self.rotation.to(device, dtype), self.translation.to(device, dtype))

    def apply(self, points: Float[Tensor, "*points 3"]) -> Float[Tensor, "*out 3"]:
        """Map points; the transform's batch broadcasts against the points' leading axes."""
        return (self.rotation @ points[..., None])[..., 0] + self.translation

    def inverse(self) -> "RigidTransform":
        back = self.rotation.transpose(-1, -2)
        return RigidTransform(back, -(back @ self.translation[..., None])[..., 0])

    def __matmul__(self, other: "RigidTransform") -> "RigidTransform":
        return RigidTransform(self.rotation @ other.rotation, self.apply(other.translation))

    def matrix(self) -> Float[Tensor, "*batch 4 4"]:
        top = torch.cat([self.rotation, self.translation[..., None]], dim=-1)
        bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device).expand(*top.shape[:-2], 1, 4)
        return torch.cat([top, bottom], dim=-2)
