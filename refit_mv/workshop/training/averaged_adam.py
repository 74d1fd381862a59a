"""How networks are trained here: AdamW with clipped gradients, and a moving average of the weights, which is what
ships.
"""

import copy
import math
from dataclasses import dataclass
from typing import Generic, Literal

import torch
from torch import Tensor

from refit_mv.networks.weights_file import Network, optimizer_tensors, restore_networks, restore_optimizer
from refit_mv.ranges import require_not_negative, require_positive


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW with a cosine schedule over the run's time; ``average`` is the decay of the exponential moving average that
    is shipped.
    """

    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.998

    @property
    def betas(self) -> tuple[float, float]:
        """A shorter memory of squared gradients than usual: samples differ much from batch to batch."""
        return 0.9, 0.99

    def rate(self, step: int, share: float) -> float:
        """Full for a tenth of the run, then falling to a hundredth."""
        warm = min(1.0, (step + 1) / self.warmup_steps)
        return self.learning_rate * warm * (0.01 + 0.5 * (1 + math.cos(math.pi * max(0.0, (share - 0.1) / 0.9))))


@dataclass(frozen=True)
class ImageOptimizerOptions:
    """Adam, as in the paper with a constant rate; ``cosine`` lets it fall to nothing over the run. ``average`` is the
    decay of a moving average of the weights, which is what is kept (0: the weights as they are). ``clip`` is the
    largest norm of the gradient.
    """

    learning_rate: float = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    clip: float = 4.0
    weight_decay: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "learning_rate", "clip")
        require_not_negative(self, "warmup_steps", "weight_decay", "average")

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's own."""
        return 0.9, 0.999

    def rate(self, step: int, share: float) -> float:
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(share, 1.0))) if self.schedule == "cosine" else 1.0
        return self.learning_rate * warm * max(fall, 1e-3)


class AveragedAdam(Generic[Network]):
    """A network, its moving average, and the optimizer that moves both. ``scaler`` keeps the gradients of half
    precision within its range.
    """

    def __init__(
        self,
        network: Network,
        options: OptimizerOptions | ImageOptimizerOptions,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False).eval()
        self.options = options
        self.scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, betas=options.betas, weight_decay=options.weight_decay
        )

    def advance(self, loss: Tensor, step: int, share: float) -> None:
        """Descend once; ``step`` counts from 0, ``share`` of the run is over."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate(step, share)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip)
        # A single ill-conditioned frame must not poison the moments. The scaler leaves out such steps by itself.
        if self.scaler.is_enabled() or bool(torch.isfinite(norm)):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self._follow(min(self.options.average, 1 - 3 / (10 + step)))

    @torch.no_grad()
    def _follow(self, keep: float) -> None:
        for slow, fast in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)

    @property
    def shipped(self) -> Network:
        """A copy of the averaged network on the processor, where it is judged."""
        return copy.deepcopy(self.average).cpu()

    def tensors(self) -> dict[str, Tensor]:
        """Everything needed to go on."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return tensors | optimizer_tensors(self.optimizer)

    def restore(self, tensors: dict[str, Tensor], origin: str) -> None:
        """The inverse of ``tensors``.

        Raises:
            InputError: they belong to a network of other sizes; ``origin`` is named.
        """
        restore_networks({"network": self.network, "average": self.average}, tensors, origin)
        restore_optimizer(self.optimizer, tensors)
