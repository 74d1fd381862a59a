"""Weights on disk: safetensors with the network's options inside, and a training run's state beside them. Every file
appears whole or not at all.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from refit_mv.errors import InputError
from refit_mv.files import LARGEST_ARCHIVE, complete_or_absent, regular_file
from refit_mv.networks.frame_network import NetworkOptions, ReFitNetwork

Network = TypeVar("Network", bound=nn.Module)
Options = TypeVar("Options")

FORMAT = "refit-mv keypoints 1"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
SHIPPED_WEIGHTS = WEIGHTS_FOLDER / "keypoints.safetensors"


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """All tensors and what is to be known of them, or no file."""
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with complete_or_absent(path) as temporary:
        save_file(whole, str(temporary), metadata=metadata)


def save_network(path: Path, network: ReFitNetwork, facts: dict[str, object]) -> None:
    """Weights with options and ``facts`` (figures, calibration; JSON) in the header."""
    metadata = {"format": FORMAT, "network": json.dumps(asdict(network.options)), "facts": json.dumps(facts)}
    save_tensors(path, dict(network.state_dict()), metadata)


def stored_options(kind: type[Options], stored: dict[str, Any], path: Path) -> Options:
    """A network's options as a header has them.

    Raises:
        InputError: they are not this version's.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if set(stored) != known:
        raise InputError(
            f"{path}: its network options {sorted(set(stored) ^ known)} do not fit this version; train again"
        )
    return kind(**stored)


def load_weights(
    path: Path, expected: str, build: Callable[[dict[str, str]], Network], advice: str = "train them again"
) -> tuple[Network, dict[str, Any]]:
    """The network that ``build`` makes of a file's header, with the file's weights, ready for inference, and the facts
    stored with it.

    Raises:
        InputError: no such file, not safetensors, not of the format ``expected`` (then with ``advice``), or weights of
        another design.
    """
    regular_file(path, "file of network weights", LARGEST_ARCHIVE)
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != expected:
            raise InputError(
                f"{path}: expected weights of format '{expected}', found '{metadata.get('format')}'; {advice}"
            )
        # Weights that are about to be replaced are drawn nonetheless: not from the numbers of whoever asks.
        with torch.random.fork_rng(devices=[]):
            network = build(metadata)
        network.load_state_dict(load_file(str(path)), strict=True)
        facts = json.loads(metadata.get("facts", "{}"))
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        TypeError,
        AttributeError,
        safetensors.SafetensorError,
    ) as error:
        raise InputError(f"{path}: cannot read network weights ({' '.join(str(error).split())[:200]})") from None
    # Whatever precision the program that asks has chosen for numbers of its own.
    return network.float().eval().requires_grad_(False), facts


def load_network(path: Path = SHIPPED_WEIGHTS) -> tuple[ReFitNetwork, dict[str, Any]]:
    """The network, ready for inference, and the facts stored with it.

    Raises:
        InputError: as ``load_weights``.
    """

    def build(metadata: dict[str, str]) -> ReFitNetwork:
        return ReFitNetwork(stored_options(NetworkOptions, json.loads(metadata["network"]), path))

    return load_weights(path, FORMAT, build)


def save_state(path: Path, tensors: dict[str, Tensor], state: dict[str, object]) -> None:
    """A run's full state: named tensors and plain values."""
    save_tensors(path, tensors, {"state": json.dumps(state)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of :func:`save_state`."""
    regular_file(path, "training state", LARGEST_ARCHIVE)
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        return load_file(str(path)), json.loads(metadata["state"])
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: cannot resume from this file ({' '.join(str(error).split())[:200]})") from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments by parameter number."""
    return {
        f"optimizer.{index}.{name}": value if value.ndim else value[None]
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_networks(networks: Mapping[str, nn.Module], tensors: dict[str, Tensor], origin: str) -> None:
    """Weights of each network from the tensors whose names begin with its key and a dot.

    Raises:
        InputError: they belong to networks of other sizes; ``origin`` is named.
    """
    for key, network in networks.items():
        prefix = f"{key}."
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        try:
            network.load_state_dict(own)
        except RuntimeError:
            raise InputError(
                f"{origin}: belongs to a network of other sizes; resume with the recipe it was begun with"
            ) from None


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the moments back."""
    stored: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            stored.setdefault(int(index), {})[name] = value[0] if name == "step" else value
    current = optimizer.state_dict()
    current["state"] = stored
    optimizer.load_state_dict(current)
