"""HRNet-W48 (Sun et al., "Deep high-resolution representation learning for human pose estimation", CVPR 2019) as ReFit
uses it.

Four branches at strides 4, 8, 16 and 32 run side by side and exchange features after every few blocks. At the end all
are brought to stride 4 and concatenated; a second head runs downwards and is averaged into one vector.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (48, 96, 192, 384)
# Exchange modules in the stages of two, three and four branches.
STAGE_MODULES = (1, 4, 3)
BRANCH_BLOCKS = 4
STEM_CHANNELS, BOTTLENECK_CHANNELS, BOTTLENECKS = 64, 256, 4


class ConvNorm(nn.Module):
    """Convolution and batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "crop input height width"]) -> Float[Tensor, "crop output h w"]:
        return self.norm(self.conv(x))


class ConvNormReLU(ConvNorm):
    """The same with a rectifier behind."""

    def forward(self, x: Float[Tensor, "crop input height width"]) -> Float[Tensor, "crop output h w"]:
        return torch.relu(super().forward(x))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around which the input is led."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNormReLU(channels, channels)
        self.second = ConvNorm(channels, channels)

    def forward(self, x: Float[Tensor, "crop channel height width"]) -> Float[Tensor, "crop channel height width"]:
        return torch.relu(self.second(self.first(x)) + x)


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions around which the input is led, itself projected where channels differ."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = ConvNormReLU(inputs, STEM_CHANNELS, 1)
        self.second = ConvNormReLU(STEM_CHANNELS, STEM_CHANNELS)
        self.third = ConvNorm(STEM_CHANNELS, BOTTLENECK_CHANNELS, 1)
        self.around = nn.Identity() if inputs == BOTTLENECK_CHANNELS else ConvNorm(inputs, BOTTLENECK_CHANNELS, 1)

    def forward(self, x: Float[Tensor, "crop input height width"]) -> Float[Tensor, "crop output height width"]:
        return torch.relu(self.third(self.second(self.first(x))) + self.around(x))


def _down(source: int, target: int) -> nn.Sequential:
    """From branch ``source`` to the coarser ``target``: a stride-2 convolution for each step, channels changed by the
    last.
    """
    inner = [ConvNormReLU(WIDTHS[source], WIDTHS[source], stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*inner, ConvNorm(WIDTHS[source], WIDTHS[target], stride=2))


def _up(source: int, target: int) -> nn.Sequential:
    """From branch ``source`` to the finer ``target``: channels changed, then every pixel repeated."""
    return nn.Sequential(
        ConvNorm(WIDTHS[source], WIDTHS[target], 1), nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
    )


class Exchange(nn.Module):
    """Blocks on every branch, then every branch gets the sum of all, brought to its resolution."""

    def __init__(self, branches: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(BRANCH_BLOCKS))) for width in WIDTHS[:branches]
        )
        self.exchange = nn.ModuleList(
            nn.ModuleDict(
                {
                    str(source): _up(source, target) if source > target else _down(source, target)
                    for source in range(branches)
                    if source != target
                }
            )
            for target in range(branches)
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        mixed = []
        for target, paths in enumerate(self.exchange):
            assert isinstance(paths, nn.ModuleDict)
            total = features[target]
            for source, path in paths.items():
                total = total + path(features[int(source)])
            mixed.append(torch.relu(total))
        return mixed


class HRNet(nn.Module):
    """Features of crops at stride 4, and one vector for each."""

    feature_channels = sum(WIDTHS)
    summary_channels = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNormReLU(3, STEM_CHANNELS, stride=2), ConvNormReLU(STEM_CHANNELS, STEM_CHANNELS, stride=2)
        )
        self.bottlenecks = nn.Sequential(
            *(Bottleneck(STEM_CHANNELS if index == 0 else BOTTLENECK_CHANNELS) for index in range(BOTTLENECKS))
        )
        self.entry = ConvNormReLU(BOTTLENECK_CHANNELS, WIDTHS[0])
        # How each further branch begins: from the bottlenecks, then from the coarsest branch there is.
        before = (BOTTLENECK_CHANNELS, *WIDTHS[1:-1])
        self.coarser = nn.ModuleList(
            ConvNormReLU(inputs, outputs, stride=2) for inputs, outputs in zip(before, WIDTHS[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(Exchange(branches) for _ in range(modules))
            for branches, modules in enumerate(STAGE_MODULES, 2)
        )
        self.upward = nn.ModuleList(
            nn.ModuleList(ConvNormReLU(width, width) for _ in range(steps)) for steps, width in enumerate(WIDTHS[1:], 1)
        )
        self.downward = nn.ModuleList(ConvNormReLU(fine, coarse, stride=2) for fine, coarse in pairwise(WIDTHS))
        self.last = ConvNormReLU(WIDTHS[-1], WIDTHS[-1], 1)

    def forward(
        self, images: Float[Tensor, "crop 3 height width"]
    ) -> tuple[Float[Tensor, "crop channel h w"], Float[Tensor, "crop summary"]]:
        x = self.bottlenecks(self.stem(images))
        features, coarsest = [self.entry(x)], x
        for coarser, stage in zip(self.coarser, self.stages, strict=True):
            features = [*features, coarser(coarsest)]
            assert isinstance(stage, nn.ModuleList)
            for exchange in stage:
                features = exchange(features)
            coarsest = features[-1]
        summary = features[0]
        for step, coarser_feature in zip(self.downward, features[1:], strict=True):
            summary = step(summary) + coarser_feature
        fine = [features[0], *(self._to_finest(i, x) for i, x in enumerate(features[1:]))]
        return torch.cat(fine, dim=1), self.last(summary).mean((-1, -2))

    def _to_finest(self, index: int, x: Tensor) -> Tensor:
        steps = self.upward[index]
        assert isinstance(steps, nn.ModuleList)
        for step in steps:
            x = step(nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))
        return x
