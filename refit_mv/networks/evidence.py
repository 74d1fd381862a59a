"""What the cameras saw, as the network reads it: rays that may come from another rig in every frame."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.skin import PosedLandmarks
from refit_mv.solve.problem import Feedback, FitProblem


@dataclass(frozen=True, eq=False)
class Evidence:
    """Observed viewing directions. ``center`` and ``bearing`` in the world (metres, unit vectors), ``confidence`` 0
    where nothing was seen, ``distance`` roughly from camera to person (metres). The same numbers as in ``FitProblem``,
    with the cameras given per frame.
    """

    center: Float[Tensor, "frame view 3"]
    bearing: Float[Tensor, "frame view landmark 3"]
    confidence: Float[Tensor, "frame view landmark"]
    distance: Float[Tensor, "frame view"]

    def __len__(self) -> int:
        return len(self.bearing)

    @staticmethod
    def of(problem: FitProblem) -> "Evidence":
        frames = len(problem)
        center = problem.rig.center.expand(frames, *problem.rig.center.shape)
        return Evidence(center, problem.bearing, problem.confidence, problem.person_distance)

    def __getitem__(self, frames: slice | Int[Tensor, " chosen"]) -> "Evidence":
        return Evidence(self.center[frames], self.bearing[frames], self.confidence[frames], self.distance[frames])

    def to(self, dtype: torch.dtype) -> "Evidence":
        return Evidence(
            self.center.to(dtype), self.bearing.to(dtype), self.confidence.to(dtype), self.distance.to(dtype)
        )

    def without(self, keep: Float[Tensor, "frame view landmark"]) -> "Evidence":
        """Evidence with some observations struck out (``keep`` 0)."""
        return replace(self, confidence=self.confidence * keep)

    def per_view(self) -> "Evidence":
        """Every view as a frame of its own, views of one frame side by side."""
        return Evidence(
            *(t.flatten(0, 1)[:, None] for t in (self.center, self.bearing, self.confidence, self.distance))
        )

    def feedback(self, posed: PosedLandmarks) -> Feedback:
        """Compare posed landmarks with the rays: ``FitProblem.feedback`` for per-frame cameras."""
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
