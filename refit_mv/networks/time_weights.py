"""Weights of the time network on disk: safetensors, options and facts in the header."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from refit_mv.networks.frame_network import NetworkOptions
from refit_mv.networks.time_network import SequenceNetwork, SequenceOptions
from refit_mv.networks.weights_file import WEIGHTS_FOLDER, load_weights, save_tensors, stored_options

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


def load_sequence_network(path: Path = SHIPPED_SEQUENCE_WEIGHTS) -> tuple[SequenceNetwork, dict[str, Any]]:
    """The network, ready for inference, and the facts stored with it.

    Raises:
        InputError: as ``checkpoint.load_weights``.
    """

    def build(metadata: dict[str, str]) -> SequenceNetwork:
        return SequenceNetwork(
            stored_options(SequenceOptions, json.loads(metadata["network"]), path),
            stored_options(NetworkOptions, json.loads(metadata["frame_network"]), path),
        )

    return load_weights(path, FORMAT, build)
