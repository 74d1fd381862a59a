"""Detected keypoints as feedback beside the feature maps: how far the body's points are from where a detector saw
them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from refit_mv.image.streams import StreamLinear

FEATURES = 5


@dataclass(frozen=True, eq=False)
class KeypointEvidence:
    """Keypoints of ``points.KEYPOINT_NAMES`` in pixels of each crop; confidence 0 where nothing was detected."""

    pixels: Float[Tensor, "crop keypoint 2"]
    confidence: Float[Tensor, "crop keypoint"]


class KeypointFeedback(nn.Module):
    """Residuals to features that are added to those of the windows. Starts at zero: a network trained on pictures alone
    is not disturbed by being given a second source.
    """

    def __init__(self, keypoints: int, outputs: int) -> None:
        super().__init__()
        self.residual = StreamLinear(keypoints, 3, FEATURES)
        self.gather = nn.Linear(keypoints * FEATURES, outputs, bias=False)
        nn.init.zeros_(self.gather.weight)

    def forward(
        self, evidence: KeypointEvidence, projected: Float[Tensor, "crop keypoint 2"], crop_size: int
    ) -> Float[Tensor, "crop output"]:
        """The features. Residuals beyond half a crop say no more than half a crop."""
        confidence = evidence.confidence[..., None]
        residual = (2 / crop_size * (evidence.pixels - projected)).clamp(-1, 1)
        # Without confidence a pixel means nothing, whatever number stands there.
        told = torch.cat([torch.where(confidence > 0, confidence * residual, 0.0), confidence], dim=-1)
        seen = (confidence > 0).to(told.dtype)
        return self.gather((seen * self.residual(told)).flatten(1))
