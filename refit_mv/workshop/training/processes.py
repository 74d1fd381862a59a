"""Several processes training one network: what ``torchrun`` starts is used, alone one is one of one."""

import os
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from refit_mv.errors import InputError


@dataclass(frozen=True)
class Processes:
    """Which of ``count`` processes this is, and the device it computes on."""

    index: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this one evaluates, writes files and talks."""
        return self.index == 0

    def share(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over all processes."""
        if self.count == 1:
            return network
        # A batch of single views trains no trust among views: its gradients are missing then.
        return DistributedDataParallel(network, find_unused_parameters=True)

    def wait(self) -> None:
        """For all others."""
        if self.count > 1:
            torch.distributed.barrier()

    def agreed(self, value: float) -> float:
        """The leading process's number, so that all stop at the same step though their clocks differ."""
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        if torch.distributed.get_backend() == "nccl":
            told = told.to(self.device)
        torch.distributed.broadcast(told, 0)
        return float(told)


ALONE = Processes(0, 1, torch.device("cpu"))


def join_processes(device: str) -> Processes:
    """Join the others that ``torchrun`` started, if it did. ``device``: cpu, cuda, or auto.

    Raises:
        InputError: CUDA is asked for and not there.
    """
    has_cuda = torch.cuda.is_available()
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {device}: expected cpu, cuda or auto")
    if device == "cuda" and not has_cuda:
        raise InputError("--device cuda: no CUDA device is usable here; use --device cpu")
    count, index = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    on_cuda = has_cuda and device != "cpu"
    if count > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if on_cuda else "gloo")
    if not on_cuda:
        return Processes(index, count, torch.device("cpu"))
    chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(chosen)
    return Processes(index, count, chosen)
