"""Windows of feature maps around points: what the network sees of the picture in one iteration."""

import torch
from jaxtyping import Float
from torch import Tensor

# Feature maps have one pixel for every four of the crop.
MAP_STRIDE = 4


def look_up(
    maps: Float[Tensor, "crop point height width"], pixels: Float[Tensor, "crop point 2"], radius: int
) -> Float[Tensor, "crop point window"]:
    """Each point's own map in a square window around the point's pixel (of the crop), bilinear, zero outside the map.

    Map pixel (i, j) answers for crop pixel (4 i, 4 j), without a shift by half a pixel. The window is flattened with x
    as the outer index and y as the inner one.
    """
    crops, points, height, width = maps.shape
    step = torch.arange(-radius, radius + 1, dtype=maps.dtype, device=maps.device)
    offset = torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1)
    window = pixels.reshape(-1, 1, 1, 2) / MAP_STRIDE + offset
    extent = torch.tensor([width - 1, height - 1], dtype=maps.dtype, device=maps.device)
    seen = torch.nn.functional.grid_sample(
        maps.reshape(-1, 1, height, width), 2 * window / extent - 1, align_corners=True
    )
    return seen.view(crops, points, -1)
