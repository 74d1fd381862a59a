"""What a term of the cost is, and what it is given to read and to add to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import PosedLandmarks

Own = TypeVar("Own")


@dataclass(frozen=True, eq=False)
class Feedback:
    """What the rays say about a guess, per (frame, view, landmark).

    ``residual`` in metres at the body, ``toward`` the predicted viewing direction, ``gain`` metres of residual per
    metre of landmark motion across the ray, ``confidence`` 0 where nothing was seen.
    """

    residual: Float[Tensor, "frame view landmark 3"]
    toward: Float[Tensor, "frame view landmark 3"]
    gain: Float[Tensor, "frame view landmark"]
    confidence: Float[Tensor, "frame view landmark"]
    posed: PosedLandmarks


@dataclass(frozen=True, eq=False)
class Guess:
    """Parameters, what the rays say of them, and the tangent coordinates of the joints."""

    params: BodyParams
    feedback: Feedback
    tangent: Float[Tensor, "frame tangent"]


@dataclass(frozen=True, eq=False)
class Linearisation(Guess):
    """A guess, and how its landmarks move with the unknowns; three rows a landmark."""

    jacobian: Float[Tensor, "frame row unknown"]


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """``hessian @ step = -gradient`` per frame. Terms add to both in place."""

    hessian: Float[Tensor, "frame unknown unknown"]
    gradient: Float[Tensor, "frame unknown"]

    @staticmethod
    def zero(frames: int, unknowns: int, like: Tensor) -> "NormalEquations":
        """Nothing known."""
        return NormalEquations(like.new_zeros(frames, unknowns, unknowns), like.new_zeros(frames, unknowns))

    @property
    def diagonal(self) -> Float[Tensor, "frame unknown"]:
        """A view of the Hessian's diagonal."""
        return self.hessian.diagonal(dim1=-2, dim2=-1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Whitened residuals and their Jacobian, for least-squares libraries."""

    residual: Float[Tensor, "frame row"]
    jacobian: Float[Tensor, "frame row unknown"]

    @staticmethod
    def stacked(parts: "Sequence[Rows]") -> "Rows":
        """One below the other."""
        return Rows(torch.cat([part.residual for part in parts], 1), torch.cat([part.jacobian for part in parts], 1))


@runtime_checkable
class Term(Protocol):
    """One summand of the cost. ``kernel`` is the robust scale in force, metres at the body; terms that are quadratic
    ignore it.
    """

    def cost(self, guess: Guess, kernel: float) -> Float[Tensor, " frame"]:
        """Twice its part of each frame's negative log-posterior."""
        ...

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        """Its Gauss–Newton normal equations (half of its cost's), robust weights frozen at the guess."""
        ...

    def rows(self, here: Linearisation) -> Rows:
        """Its residuals, still without the kernel: the sum of their squares is its cost where nothing is robust."""
        ...

    def frames(self, chosen: slice | Tensor) -> "Term":
        """The same term on a selection of frames."""
        ...

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "Term":
        """The same in another precision or on another device."""
        ...


@dataclass(frozen=True, eq=False)
class EveryFrame:
    """A term that is the same for every frame."""

    def frames(self: Own, chosen: slice | Tensor) -> Own:
        """Itself."""
        return self
