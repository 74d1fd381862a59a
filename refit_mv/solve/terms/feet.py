"""Feet that stand: points of soles at their places, and all of a sole above the floor."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.solve.terms.term import Guess, Linearisation, NormalEquations, Rows
from refit_mv.solve.unknowns import POSE_BEGIN, Unknowns


@dataclass(frozen=True, eq=False)
class Ground:
    """The floor for a term: points with ``places @ normal < level`` are below it. ``precision`` in 1/m²."""

    normal: Float[Tensor, "3"]
    level: float
    precision: float

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "Ground":
        return replace(self, normal=self.normal.to(device=device, dtype=dtype))


@dataclass(frozen=True, eq=False)
class FeetTerm:
    """The first points of ``skin`` (``body.soles.sole_skin``) are drawn to ``place``, each with its ``precision``
    (1/m², 0 where it does not stand), and all its points out of the ``ground``, one-sidedly. Quadratic: whoever makes
    the term decides what it believes. ``mean`` is the pose prior's.
    """

    skin: LandmarkSkin
    mean: Float[Tensor, "other 3 3"]
    place: Float[Tensor, "frame point 3"]
    precision: Float[Tensor, "frame point"]
    ground: Ground | None = None

    def residual(self, sole: Float[Tensor, "frame sole 3"]) -> Float[Tensor, "frame row"]:
        """Whitened: three rows for each point that may stand, one for each that may be below the floor."""
        away = sole[:, : self.place.shape[1]] - self.place
        parts = [(self.precision.sqrt()[..., None] * away).flatten(1)]
        if self.ground is not None:
            below = (self.ground.level - sole @ self.ground.normal).clamp_min(0)
            parts.append(self.ground.precision**0.5 * below)
        return torch.cat(parts, -1)

    def cost(self, guess: Guess, kernel: float) -> Float[Tensor, " frame"]:
        return (self.residual(pose_landmarks(self.skin, guess.params).positions) ** 2).sum(-1)

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        rows = self.rows(here)
        normal.hessian.add_(rows.jacobian.mT @ rows.jacobian)
        normal.gradient.add_((rows.jacobian.mT @ rows.residual[..., None])[..., 0])

    def rows(self, here: Linearisation) -> Rows:
        with_shape = here.jacobian.shape[-1] > POSE_BEGIN + here.tangent.shape[-1]
        return self.linearised(here.params, here.tangent, with_shape)

    def linearised(self, params: BodyParams, tangent: Float[Tensor, "frame tangent"], with_shape: bool = False) -> Rows:
        """The rows of parameters whose ``tangent`` is known."""
        posed = pose_landmarks(self.skin, params)
        moved = Unknowns(self.skin, self.mean, with_shape).jacobian(posed, tangent).unflatten(1, (-1, 3))
        residual, count = self.residual(posed.positions), self.place.shape[1]
        parts = [(self.precision.sqrt()[..., None, None] * moved[:, :count]).flatten(1, 2)]
        if self.ground is not None:
            sinking = -torch.einsum("c,fkcu->fku", self.ground.normal, moved)
            below = residual[:, 3 * count :] > 0
            parts.append(self.ground.precision**0.5 * below[..., None] * sinking)
        return Rows(residual, torch.cat(parts, 1))

    def frames(self, chosen: slice | Tensor) -> "FeetTerm":
        return replace(self, place=self.place[chosen], precision=self.precision[chosen])

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "FeetTerm":
        device = self.place.device if device is None else device
        return FeetTerm(
            self.skin.to(dtype, device),
            self.mean.to(device, dtype),
            self.place.to(device, dtype),
            self.precision.to(device, dtype),
            None if self.ground is None else self.ground.to(dtype, device),
        )
