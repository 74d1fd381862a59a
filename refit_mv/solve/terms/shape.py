"""How bodies differ: shape coefficients are standard normal, as shape directions are scaled; and how far a detector's
points may sit from where the body has them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.terms.term import EveryFrame, Guess, Linearisation, NormalEquations, Rows


@dataclass(frozen=True)
class ShapeOptions:
    """``shape_prior``: factor on ``|shape|²/2``. ``offset``: standard deviation of the landmark offsets that a person's
    session may need, metres. ``independent_frames``: how many frames of a session count as independent evidence on
    shape and offsets; a rig's and a detector's errors repeat, so hundreds of frames are not hundreds of measurements.
    """

    shape_prior: float = 1.0
    offset: float = 0.010
    independent_frames: float = 8.0

    def __post_init__(self) -> None:
        require_positive(self, "offset", "independent_frames")
        require_not_negative(self, "shape_prior")

    def common_factor(self, frames: int) -> float:
        """How much harder the priors on shape and offsets pull when ``frames`` share them."""
        return max(1.0, frames / self.independent_frames)


@dataclass(frozen=True, eq=False)
class ShapePriorTerm(EveryFrame):
    """Of every frame's own shape, where that is sought."""

    weight: float

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "ShapePriorTerm":
        return self

    def cost(self, guess: Guess, kernel: float) -> Float[Tensor, " frame"]:
        return self.weight * (guess.params.shape**2).sum(-1)

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        self.add_scaled(here.params.shape, normal, self.weight)

    def add_scaled(
        self, shape: Float[Tensor, "frame shape"], normal: NormalEquations, scale: Float[Tensor, " frame"] | float
    ) -> None:
        """Add the prior with another weight."""
        each = torch.as_tensor(scale, dtype=shape.dtype, device=shape.device).reshape(-1, 1)
        normal.diagonal[:, -shape.shape[-1] :] += each
        normal.gradient[:, -shape.shape[-1] :] += each * shape

    def rows(self, here: Linearisation) -> Rows:
        shape, unknowns = here.params.shape, here.jacobian.shape[-1]
        factor = self.weight**0.5
        eye = torch.eye(unknowns, dtype=shape.dtype, device=shape.device)[-shape.shape[-1] :]
        return Rows(factor * shape, (factor * eye).expand(len(shape), -1, -1))
