"""What poses people take: a Gaussian in the tangent space of a mean pose, exactly quadratic in the unknowns."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.priors import PosePrior, prior_for, whitener
from refit_mv.ranges import require_not_negative
from refit_mv.solve.terms.term import EveryFrame, Guess, Linearisation, NormalEquations, Rows
from refit_mv.solve.unknowns import POSE_BEGIN


@dataclass(frozen=True)
class PosePriorOptions:
    """``pose_prior``: factor on the learned Gaussian's negative log-likelihood."""

    pose_prior: float = 1.5

    def __post_init__(self) -> None:
        require_not_negative(self, "pose_prior")


@dataclass(frozen=True, eq=False)
class PosePriorTerm(EveryFrame):
    """``precision`` of the tangent coordinates and its square ``root``, both as learned; ``weight`` is how much they
    count.
    """

    precision: Float[Tensor, "tangent tangent"]
    root: Float[Tensor, "tangent tangent"]
    weight: float

    @staticmethod
    def of(prior: PosePrior, weight: float) -> "PosePriorTerm":
        """Whitened in float64: variances differ 200-fold."""
        root = whitener(prior.to(torch.float64))
        return PosePriorTerm(root.T @ root, root, weight)

    def scaled(self, factor: float) -> "PosePriorTerm":
        """The same prior counting ``factor`` times as much."""
        return PosePriorTerm(self.precision, self.root, factor * self.weight)

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "PosePriorTerm":
        return replace(self, precision=self.precision.to(device, dtype), root=self.root.to(device, dtype))

    def cost(self, guess: Guess, kernel: float) -> Float[Tensor, " frame"]:
        return self.weight * ((guess.tangent @ self.root.T) ** 2).sum(-1)

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        self.add_scaled(here.tangent, normal, self.weight)

    def add_scaled(
        self, tangent: Float[Tensor, "frame tangent"], normal: NormalEquations, scale: Float[Tensor, " frame"] | float
    ) -> None:
        """Add the prior counting ``scale`` times as much as learned."""
        pose = slice(POSE_BEGIN, POSE_BEGIN + tangent.shape[-1])
        each = torch.as_tensor(scale, dtype=tangent.dtype, device=tangent.device)
        normal.hessian[:, pose, pose] += each.reshape(-1, 1, 1) * self.precision
        normal.gradient[:, pose] += each.reshape(-1, 1) * (tangent @ self.precision)

    def rows(self, here: Linearisation) -> Rows:
        size, root = here.tangent.shape[-1], self.weight**0.5 * self.root
        jacobian = here.jacobian.new_zeros(len(here.tangent), size, here.jacobian.shape[-1])
        jacobian[..., POSE_BEGIN : POSE_BEGIN + size] = root
        return Rows(here.tangent @ root.T, jacobian)


@dataclass(frozen=True, eq=False)
class ArrangedPrior:
    """The shipped prior over a body's joints: mean, limits, and the term that it makes with weight 1."""

    mean: Float[Tensor, "other 3 3"]
    lower: Float[Tensor, " tangent"]
    upper: Float[Tensor, " tangent"]
    term: PosePriorTerm


@lru_cache(maxsize=8)
def arranged_prior(body: BodyModel, dtype: torch.dtype, device: torch.device) -> ArrangedPrior:
    """Arranged once: whoever fits frame by frame builds a problem for every frame."""
    # What is kept serves training and inference alike; tensors made in inference mode would not.
    with torch.inference_mode(False):
        prior = prior_for(body)
        # Through the default weight and back, so that results stay to the bit what they always were: the time network,
        # in single precision, makes 1e-4 of a wrist's rotation out of one rounding here.
        usual = PosePriorOptions().pose_prior
        root = usual**0.5 * whitener(prior)
        term = PosePriorTerm(root.T @ root / usual, root / usual**0.5, 1.0).to(dtype, device)
        prior = prior.to(dtype, device)
        return ArrangedPrior(prior.mean, prior.lower, prior.upper, term)
