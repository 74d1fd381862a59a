"""Weights of the time network on disk: safetensors, options and facts in the header."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file

from refit_mv.errors import InputError
from refit_mv.learned.checkpoint import WEIGHTS_FOLDER, save_tensors
from refit_mv.learned.network import NetworkOptions
from refit_mv.learned.sequence_network import SequenceNetwork, SequenceOptions

FORMAT = "refit-mv sequences 1"
SHIPPED_SEQUENCE_WEIGHTS = WEIGHTS_FOLDER / "sequences.safetensors"


def save_sequence_network(path: Path, network: SequenceNetwork, facts: dict[str, object]) -> None:
    """Weights with the options of both networks and ``facts`` (figures, calibration; JSON) in the header."""
    metadata = {
        "format": FORMAT,
        "network": json.dumps(asdict(network.options)),
        "frame_network": json.dumps(asdict(network.frame_options)),
        "facts": json.dumps(facts),
    }
    save_tensors(path, dict(network.state_dict()), metadata)


def _options(kind: type, stored: dict[str, Any], path: Path) -> Any:
    known = {field.name for field in fields(kind)}
    if set(stored) != known:
        raise InputError(f"{path}: its options {sorted(set(stored) ^ known)} do not fit this version; train again")
    return kind(**stored)


def load_sequence_network(path: Path = SHIPPED_SEQUENCE_WEIGHTS) -> tuple[SequenceNetwork, dict[str, Any]]:
    """The network, ready for inference, and the facts stored with it.

    Raises:
        InputError: no such file, not safetensors, or weights of another design.
    """
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{path}: expected weights of format '{FORMAT}', found '{metadata.get('format')}'; train them again"
            )
        network = SequenceNetwork(
            _options(SequenceOptions, json.loads(metadata["network"]), path),
            _options(NetworkOptions, json.loads(metadata["frame_network"]), path),
        )
        network.load_state_dict(load_file(str(path)), strict=True)
        facts = json.loads(metadata.get("facts", "{}"))
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: cannot read network weights ({str(error).splitlines()[0]})") from None
    return network.eval().requires_grad_(False), facts
