"""The image network on disk: safetensors with its options in the header."""

import json
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from refit_mv.errors import InputError
from refit_mv.files import found_at
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.networks.weights_file import load_weights, save_tensors

FORMAT = "refit-mv image 1"
HOW_TO_GET = "train one (refit-mv train image) or convert the released checkpoint (refit-mv weights convert)"


def save_image_network(path: Path, network: ImageReFit, facts: dict[str, object] | None = None) -> None:
    """Weights with the options, and ``facts`` about them (figures, origin; JSON) in the header."""
    metadata = {
        "format": FORMAT,
        "network": json.dumps(asdict(network.options)),
        "facts": json.dumps({} if facts is None else facts),
    }
    save_tensors(path, dict(network.state_dict()), metadata)


def load_image_network(path: Path) -> tuple[ImageReFit, dict[str, Any]]:
    """The network, ready for inference, and the facts stored with it.

    Raises:
        InputError: no such file, not safetensors, or weights of another design.
    """
    if found_at(path) is None:
        raise InputError(f"no weights of an image network at {path}: {HOW_TO_GET}")

    def build(metadata: dict[str, str]) -> ImageReFit:
        stored = json.loads(metadata["network"])
        unknown = set(stored) - {field.name for field in fields(ImageNetworkOptions)}
        if unknown:
            raise InputError(
                f"{path}: this version does not know its network's options {', '.join(sorted(unknown))}; {HOW_TO_GET}"
            )
        stored["point_vertices"] = tuple(stored.get("point_vertices", ()))
        return ImageReFit(ImageNetworkOptions(**stored))

    return load_weights(path, FORMAT, build, HOW_TO_GET)


@cache
def cached_image_network(path: Path) -> ImageReFit:
    """The network of a file, loaded once."""
    return load_image_network(path)[0]
