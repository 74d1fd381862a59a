"""How far joints bend: a quadratic wall beyond the limits of each tangent coordinate."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.ranges import require_positive
from refit_mv.solve.terms.term import EveryFrame, Guess, Linearisation, NormalEquations, Rows
from refit_mv.solve.unknowns import POSE_BEGIN


@dataclass(frozen=True)
class LimitOptions:
    """``limit``: standard deviation in radians beyond a joint limit."""

    limit: float = 0.05

    def __post_init__(self) -> None:
        require_positive(self, "limit")


@dataclass(frozen=True, eq=False)
class JointLimits(EveryFrame):
    """``lower`` and ``upper`` bound the tangent coordinates (radians); ``sigma`` is how soft the walls are."""

    lower: Float[Tensor, " tangent"]
    upper: Float[Tensor, " tangent"]
    sigma: float

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "JointLimits":
        return replace(self, lower=self.lower.to(device, dtype), upper=self.upper.to(device, dtype))

    def excess(self, tangent: Float[Tensor, "frame tangent"]) -> Float[Tensor, "frame tangent"]:
        """How far each tangent coordinate lies beyond its limits, radians, signed."""
        return (tangent - self.upper).clamp_min(0) + (tangent - self.lower).clamp_max(0)

    def cost(self, guess: Guess, kernel: float) -> Float[Tensor, " frame"]:
        return ((self.excess(guess.tangent) / self.sigma) ** 2).sum(-1)

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        self.add_at(here.tangent, normal)

    def add_at(self, tangent: Float[Tensor, "frame tangent"], normal: NormalEquations) -> None:
        """Add the walls at these tangent coordinates."""
        excess = self.excess(tangent)
        pose = slice(POSE_BEGIN, POSE_BEGIN + excess.shape[-1])
        normal.diagonal[:, pose] += (excess != 0).to(excess.dtype) / self.sigma**2
        normal.gradient[:, pose] += excess / self.sigma**2

    def rows(self, here: Linearisation) -> Rows:
        excess = self.excess(here.tangent) / self.sigma
        size = excess.shape[-1]
        jacobian = here.jacobian.new_zeros(len(excess), size, here.jacobian.shape[-1])
        jacobian[..., POSE_BEGIN : POSE_BEGIN + size] = torch.diag_embed((excess != 0).to(excess.dtype) / self.sigma)
        return Rows(excess, jacobian)
