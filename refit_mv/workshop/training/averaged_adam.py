"""How networks are trained here: AdamW, warm-up and cosine over the run, clipped gradients, and a moving average of the
weights, which is what ships.
"""

import copy
import math
from dataclasses import dataclass
from typing import Generic

import torch
from torch import Tensor

from refit_mv.networks.weights_file import Network, optimizer_tensors, restore_networks, restore_optimizer


@dataclass(frozen=True)
class OptimiserOptions:
    """AdamW with a cosine schedule over the run's time; ``average`` is the decay of the exponential moving average that
    is shipped.
    """

    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.998


class AveragedAdam(Generic[Network]):
    """A network, its moving average, and the optimiser that moves both."""

    def __init__(self, network: Network, options: OptimiserOptions) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        self.options = options
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
        )

    def advance(self, loss: Tensor, step: int, share: float) -> None:
        """Descend once; ``step`` counts from 0, ``share`` of the run is over."""
        o = self.options
        warm = min(1.0, (step + 1) / o.warmup_steps)
        rate = o.learning_rate * warm * (0.01 + 0.5 * (1 + math.cos(math.pi * max(0.0, (share - 0.1) / 0.9))))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), o.clip)
        # A single ill-conditioned frame must not poison the moments.
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
        keep = min(o.average, 1 - 3 / (10 + step))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - keep)

    def tensors(self) -> dict[str, Tensor]:
        """Everything needed to go on."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return tensors | optimizer_tensors(self.optimiser)

    def restore(self, tensors: dict[str, Tensor], origin: str) -> None:
        """The inverse of ``tensors``.

        Raises:
            InputError: they belong to a network of other sizes; ``origin`` is named.
        """
        restore_networks({"network": self.network, "average": self.average}, tensors, origin)
        restore_optimizer(self.optimiser, tensors)
