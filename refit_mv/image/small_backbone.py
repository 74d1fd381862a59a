"""A backbone that learns on a CPU: 1.5 million parameters under the same interface as HRNet.

Residual stages at strides 4, 8, 16 and 32, then back up to stride 4 with each stage's features added (Lin et al.,
"Feature pyramid networks", CVPR 2017).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from refit_mv.image.hrnet import BasicBlock, ConvNorm, ConvNormReLU

WIDTHS = (32, 64, 128, 192)
STEM_CHANNELS, PYRAMID_CHANNELS = 24, 48


class SmallBackbone(nn.Module):
    """Features of crops at stride 4, and one vector for each."""

    feature_channels = PYRAMID_CHANNELS
    summary_channels = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        before = (STEM_CHANNELS, *WIDTHS[:-1])
        self.stem = ConvNormReLU(3, STEM_CHANNELS, stride=2)
        self.stages = nn.ModuleList(
            nn.Sequential(ConvNormReLU(inputs, outputs, stride=2), BasicBlock(outputs))
            for inputs, outputs in zip(before, WIDTHS, strict=True)
        )
        self.lateral = nn.ModuleList(ConvNorm(width, PYRAMID_CHANNELS, 1) for width in WIDTHS)
        self.last = ConvNormReLU(PYRAMID_CHANNELS, PYRAMID_CHANNELS)

    def forward(
        self, images: Float[Tensor, "crop 3 height width"]
    ) -> tuple[Float[Tensor, "crop channel h w"], Float[Tensor, "crop summary"]]:
        x, levels = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        pyramid = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        features = pyramid[-1]
        for finer in reversed(pyramid[:-1]):
            features = finer + nn.functional.interpolate(features, scale_factor=2, mode="nearest")
        return self.last(torch.relu(features)), levels[-1].mean((-1, -2))
