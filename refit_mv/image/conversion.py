"""The authors' checkpoint file to weights of ours. It is read without running what its pickle says."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.safe_unpickle import UNREADABLE
from refit_mv.errors import InputError
from refit_mv.files import LARGEST_ARCHIVE, found_at, regular_file
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.released import load_released
from refit_mv.image.weights import save_image_network

# Where the authors keep the vertices of the feedback points, seen from where they keep checkpoints.
POINTS_FILE, POINTS_FOLDER = "smpl_ssm.npy", Path("smpl")
# SMPL's mesh.
VERTICES = 6890
POINT_LAYER = "corr_layer.6.weight"
# Figures that a checkpoint stores beside its tensors are NumPy numbers, under a name that NumPy has moved since.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_NUMPY_NUMBERS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
    type(np.dtype(np.float32)),
    type(np.dtype(np.int64)),
]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The network's tensors in a checkpoint: those under ``model``, or the whole file.

    Raises:
        InputError: no such file, not a checkpoint, or one that asks for more than tensors and numbers.
    """
    if found_at(path) is None:
        raise InputError(f"no checkpoint {path}; give the file that the authors call checkpoint_best.pth.tar")
    regular_file(path, "checkpoint", LARGEST_ARCHIVE)
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, *UNREADABLE) as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is None:
            raise InputError(f"{path} is no PyTorch checkpoint, or a damaged one: fetch it again") from None
        raise InputError(
            f"{path} was not opened: its pickle asks for '{foreign[1]}', where a checkpoint holds tensors and "
            "numbers; get it from its authors"
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: expected a checkpoint with the network's tensors under 'model'")
    return {str(key): value for key, value in content.items()}


def read_points(path: Path) -> tuple[int, ...]:
    """Vertices of SMPL's mesh, in the order in which the network knows them.

    Raises:
        InputError: no such file, or no list of vertices.
    """
    try:
        vertices = np.load(regular_file(path, "list of feedback points"), allow_pickle=False)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot read the feedback points' vertices ({error})") from None
    if not isinstance(vertices, np.ndarray) or vertices.ndim != 1 or vertices.dtype.kind not in "iu":
        raise InputError(
            f"{path}: expected one row of vertex numbers, got {getattr(vertices, 'dtype', type(vertices))}"
        )
    if vertices.size == 0 or vertices.min() < 0 or vertices.max() >= VERTICES:
        raise InputError(f"{path}: expected numbers of SMPL's {VERTICES} vertices")
    return tuple(int(vertex) for vertex in vertices)


def find_points(checkpoint: Path) -> Path:
    """The authors' file of feedback points in their own folder layout.

    Raises:
        InputError: it is not there.
    """
    folders = [checkpoint.parent, *(parent / POINTS_FOLDER for parent in checkpoint.resolve().parents[:3])]
    for folder in folders:
        if (folder / POINTS_FILE).is_file():
            return folder / POINTS_FILE
    raise InputError(
        f"{POINTS_FILE}, the vertices at which the network looks, is not beside {checkpoint}: give it with "
        "--points (the authors keep it in data/smpl)"
    )


def convert(checkpoint: Path, points: Path | None = None, out: Path | None = None) -> Path:
    """Write the released checkpoint as weights that ``optimizer: image`` reads. Returns the file, by default the
    checkpoint's name with ``.safetensors``.

    Raises:
        InputError: the checkpoint or the points cannot be used; nothing is written then.
    """
    tensors = read_checkpoint(checkpoint)
    vertices = read_points(find_points(checkpoint) if points is None else points)
    known = tensors.get(POINT_LAYER)
    if known is not None and known.ndim > 0 and len(known) != len(vertices):
        raise InputError(f"the checkpoint looks at {len(known)} points, the file of points names {len(vertices)}")
    network = ImageReFit(ImageNetworkOptions(point_vertices=vertices, mesh_vertices=VERTICES))
    load_released(network, tensors, str(checkpoint))
    target = _target(checkpoint) if out is None else out
    save_image_network(target, network, {"origin": checkpoint.name, "body": "smpl"})
    return target


def _target(checkpoint: Path) -> Path:
    name = checkpoint.name
    for suffix in (".tar", ".pth", ".pt", ".ckpt"):
        name = name.removesuffix(suffix)
    return checkpoint.with_name(f"{name}.safetensors")
