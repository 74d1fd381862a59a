"""A network of the released design with random weights that let signals through, and crops for it."""

import pytest
import torch
from torch import nn

from refit_mv.body.model import BodyModel
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions


def enliven(network: nn.Module, seed: int = 0) -> None:
    """Random weights and statistics under which features stay of order one: with the usual ones HRNet's shrink to
    nothing and every comparison succeeds.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.data = draw(module.weight, -1, 1) * (4.0 / fan) ** 0.5
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data = draw(module.weight, 0.4, 0.8)
            module.bias.data = draw(module.bias, -0.2, 0.3)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean = draw(module.running_mean, -0.2, 0.2)
            module.running_var = draw(module.running_var, 0.6, 1.4)


@pytest.fixture(scope="session")
def released_vertices(body: BodyModel) -> tuple[int, ...]:
    """67 vertices of the mesh in no particular order, as the released file of points has them."""
    order = torch.randperm(len(body.template), generator=torch.Generator().manual_seed(3))
    return tuple(order[:67].tolist())


@pytest.fixture(scope="session")
def released_network(released_vertices: tuple[int, ...]) -> ImageReFit:
    """Float64, evaluation mode, crops of 64 pixels."""
    torch.manual_seed(1)
    network = ImageReFit(ImageNetworkOptions(crop_size=64, point_vertices=released_vertices, fusion="mean"))
    enliven(network)
    for change in (network.decoder.rotation_change, network.decoder.shape_change, network.decoder.camera_change):
        # Small steps, so that people stay in front of the camera.
        change.weight.data *= 0.3
        change.bias.data *= 0.3
    return network.double().eval().requires_grad_(False)


def made_up_crops(count: int, seed: int = 0) -> CropCamera:
    """Boxes around people some metres away, all over the frame."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    focal = 900 + 400 * draw(count)
    return CropCamera(focal, 480 + 40 * draw(count, 2), 250 + 500 * draw(count, 2), focal * (0.2 + 0.2 * draw(count)))
