"""The evidence of keypoints: viewing rays, and how far the body's landmarks pass by them.

Residuals are measured on the unit sphere around each camera and scaled by the person's distance: ``D (u - d)`` with d
the observed and u the predicted viewing direction. They are metres at the body, whatever the lens, the resolution or
the distance; detectors' errors grow with the person in the image in just this way. The cost of an observation is
``confidence^power / noise² · rho(|residual|)`` with the Geman–McClure kernel rho(r) = r² / (1 + r²/kernel²).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.skin import PosedLandmarks
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.kernels.normal_equations import RayRows
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.terms.term import Feedback, Guess, Linearisation, NormalEquations, Rows


@dataclass(frozen=True)
class RayOptions:
    """``noise``: standard deviation of a keypoint of confidence 1. ``kernel``: Geman–McClure scale."""

    noise: float = 0.010
    kernel: float = 0.08
    confidence_power: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "noise", "kernel")
        require_not_negative(self, "confidence_power")


@dataclass(frozen=True, eq=False)
class Rays:
    """Observed viewing directions. ``center`` and ``bearing`` in the world (metres, unit vectors), ``confidence`` 0
    where nothing was seen, ``distance`` roughly from camera to person (metres; fixed, so that the cost does not change
    under the optimizer's feet). Cameras are given per frame: training mixes rigs in one batch.
    """

    center: Float[Tensor, "frame view 3"]
    bearing: Float[Tensor, "frame view landmark 3"]
    confidence: Float[Tensor, "frame view landmark"]
    distance: Float[Tensor, "frame view"]
    options: RayOptions = field(default_factory=RayOptions)

    def __len__(self) -> int:
        return len(self.bearing)

    def __getitem__(self, frames: slice | Int[Tensor, " chosen"] | Bool[Tensor, " frame"]) -> "Rays":
        return self.map(lambda values: values[frames])

    def map(self, change: Callable[[Tensor], Tensor]) -> "Rays":
        """The same change made to all four tensors."""
        return Rays(
            change(self.center), change(self.bearing), change(self.confidence), change(self.distance), self.options
        )

    @staticmethod
    def concatenate(parts: "Sequence[Rays]") -> "Rays":
        """Join along the frame axis."""
        return Rays(
            torch.cat([part.center for part in parts]),
            torch.cat([part.bearing for part in parts]),
            torch.cat([part.confidence for part in parts]),
            torch.cat([part.distance for part in parts]),
            parts[0].options,
        )

    def frames(self, chosen: slice | Tensor) -> "Rays":
        """A selection of frames."""
        return self[chosen]

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> "Rays":
        return self.map(lambda values: values.to(device=device, dtype=dtype))

    def without(self, keep: Float[Tensor, "frame view landmark"]) -> "Rays":
        """The same with some observations struck out (``keep`` 0)."""
        return replace(self, confidence=self.confidence * keep)

    def per_view(self) -> "Rays":
        """Every view as a frame of its own, views of one frame side by side."""
        return self.map(lambda values: values.flatten(0, 1)[:, None])

    @property
    def seen(self) -> Bool[Tensor, " frame"]:
        """Frames with any evidence at all."""
        return (self.confidence > 0).flatten(1).any(-1)

    @cached_property
    def precision(self) -> Float[Tensor, "frame view landmark"]:
        """Of each observation before any robust kernel, 1/m²; 0 where nothing was seen."""
        weight = self.confidence.clamp_max(1.0) ** self.options.confidence_power / self.options.noise**2
        return torch.where(self.confidence > 0, weight, torch.zeros_like(weight))

    def feedback(self, posed: PosedLandmarks) -> Feedback:
        """Compare posed landmarks with the rays."""
        offset = posed.positions[:, None] - self.center[:, :, None]
        distance = offset.norm(dim=-1).clamp_min(1e-6)
        toward = offset / distance[..., None]
        scale = self.distance[..., None]
        return Feedback(
            residual=scale[..., None] * (toward - self.bearing),
            toward=toward,
            gain=scale / distance,
            confidence=self.confidence,
            posed=posed,
        )

    def cost(self, guess: Guess, kernel: float) -> Float[Tensor, " frame"]:
        squared = (guess.feedback.residual**2).sum(-1)
        return (self.precision * squared / (1 + squared / kernel**2)).sum((-1, -2))

    def add(self, here: Linearisation, normal: NormalEquations, kernel: float) -> None:
        add_rays(rays_of(here), normal, self.precision * robust_weight(here.feedback, kernel))

    def rows(self, here: Linearisation) -> Rows:
        """In groups of three per observation."""
        frames, _, unknowns = here.jacobian.shape
        feedback, scale = here.feedback, self.precision.sqrt()
        projector = ray_projector(feedback.toward) * (scale * feedback.gain)[..., None, None]
        jacobian = here.jacobian.view(frames, 1, -1, 3, unknowns)
        return Rows(
            (scale[..., None] * feedback.residual).reshape(frames, -1),
            (projector @ jacobian).reshape(frames, -1, unknowns),
        )


def robust_weight(feedback: Feedback, kernel: float) -> Float[Tensor, "frame view landmark"]:
    """Derivative of the Geman–McClure kernel with respect to the squared residual, in (0, 1]."""
    return (1 + (feedback.residual**2).sum(-1) / kernel**2) ** -2


def rays_of(here: Linearisation) -> RayRows:
    """What normal equations read of a linearised guess."""
    return RayRows(here.jacobian, here.feedback.toward, here.feedback.residual, here.feedback.gain)


def fuse_views(
    feedback: Feedback | RayRows, weight: Float[Tensor, "frame view landmark"]
) -> tuple[Float[Tensor, "frame landmark 3 3"], Float[Tensor, "frame landmark 3"]]:
    """Information matrix and gradient of every landmark's position, summed over the views: so ``Jᵀ J = Σ J_kᵀ A_k J_k``
    costs the same for one view as for sixteen.
    """
    projector = ray_projector(feedback.toward)
    information = ((weight * feedback.gain**2)[..., None, None] * projector).sum(1)
    pull = feedback.residual - (feedback.toward * feedback.residual).sum(-1, keepdim=True) * feedback.toward
    return information, ((weight * feedback.gain)[..., None] * pull).sum(1)


def add_rays(
    rows: RayRows, normal: NormalEquations, weight: Float[Tensor, "frame view landmark"]
) -> tuple[Float[Tensor, "frame landmark 3 3"], Float[Tensor, "frame landmark 3"]]:
    """Add the rays with exactly these weights (1/m²); returns what every landmark's views sum to."""
    information, pull = fuse_views(rows, weight)
    frames, _, unknowns = rows.jacobian.shape
    weighted = (information @ rows.jacobian.view(frames, -1, 3, unknowns)).flatten(1, 2)
    normal.hessian.add_(rows.jacobian.mT @ weighted)
    # An elementwise product and a sum are ten times faster than a batched product with one column.
    normal.gradient.add_((rows.jacobian * pull.flatten(1)[..., None]).sum(1))
    return information, pull
