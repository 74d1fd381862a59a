"""Load a body: the embedded open one, or a user's SMPL, SMPL-H or SMPL-X file.

The arrays are read here rather than by ``smplx``, whose constructors unpickle blindly, refuse SMPL as ``.npz`` and keep
at most ten shape directions of files with fewer than 300; the tests hold the result to ``smplx``'s own forward pass.
Official files are not part of this project: users bring their own.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from refit_mv.body.joints import SKELETONS
from refit_mv.body.landmark_transfer import landmarks_for
from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.safe_unpickle import read_model_pickle
from refit_mv.errors import InputError
from refit_mv.files import LARGEST_ARCHIVE, entries, found_at, read_npz, regular_file

REQUIRED = ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "kintree_table", "f")
# A template's height in metres; outside, the file is in centimetres or is no standing adult or child.
PLAUSIBLE_HEIGHT = (0.4, 2.6)
# SMPL-X keeps expressions behind the shape directions: 300 and 100 in the full file, 10 and 10 in the small one.
SMPLX_SHAPES = {400: 300, 20: 10}

SUFFIXES = (".pkl", ".npz")
KINDS = {len(skeleton): kind for kind, skeleton in SKELETONS.items()}


def load_body(source: str | Path, shape_count: int = 10) -> BodyModel:
    """The open body for ``"open"``, otherwise the model in a ``.pkl`` or ``.npz`` file with all landmarks on it.
    Float64, metres.

    The kind follows from the number of joints: 24 is SMPL, 52 SMPL-H, 55 SMPL-X. Hands rest flat (``smplx`` calls this
    ``flat_hand_mean=True``); expressions of SMPL-X are left out.

    Args:
        shape_count: shape directions to keep, at most; a file may have fewer.

    Raises:
        InputError: no such file, not a body model, or one whose arrays are missing, misshapen, not finite or not in
        metres.
    """
    if not isinstance(source, str | Path):
        raise InputError(f"a body is loaded by the name 'open' or a file's path, got a {type(source).__name__}")
    if shape_count < 0:
        raise InputError(f"shape_count must be 0 or more, got {shape_count}")
    if str(source) == "open":
        return _with_shapes(open_body(), shape_count)
    path = Path(source).expanduser()
    if found_at(path) is None:
        raise InputError(
            f"no body model at {path}: give the path of an SMPL, SMPL-H or SMPL-X .pkl or .npz file, or 'open' "
            "for the embedded body"
        )
    if path.is_dir():
        found = [entry.name for entry in entries(path) if entry.suffix in SUFFIXES]
        raise InputError(
            f"{path} is a folder, a body model is a file: choose one of "
            f"{', '.join(found[:6]) or 'its .pkl or .npz files (it has none)'}"
        )
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} ends in '{path.suffix}', a body model in .pkl or .npz: give the model file itself")
    regular_file(path, "body model", LARGEST_ARCHIVE)
    arrays = _checked(path, read_model_pickle(path) if path.suffix == ".pkl" else _read_npz(path))
    return _body_from(arrays, shape_count)


def lasting_source(source: str | Path) -> str:
    """What :func:`load_body` takes for the same body from any folder: a file's whole path; names stay as they are."""
    path = Path(source).expanduser()
    return str(path.resolve() if path.suffix in SUFFIXES else source)


def _with_shapes(body: BodyModel, shape_count: int) -> BodyModel:
    return replace(body, shape_directions=body.shape_directions[..., :shape_count])


def _read_npz(path: Path) -> dict[str, Any]:
    """The required arrays only: SMPL-X files also hold pickled dictionaries, which are never opened."""
    return read_npz(path, "body model", (*REQUIRED, "landmark_names", "landmark_regressor"))


def _checked(path: Path, arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every required array present, of the right shape, finite and in metres."""
    missing = [key for key in REQUIRED if not isinstance(arrays.get(key), np.ndarray)]
    if missing:
        raise InputError(
            f"{path} lacks the arrays {', '.join(missing)}, which every SMPL-family model has: give the model "
            "file itself, not a motion or a derived file"
        )
    found = {key: np.asarray(arrays[key]) for key in REQUIRED}
    for key, value in found.items():
        if value.dtype.kind not in "iuf" or value.ndim == 0:
            raise InputError(f"{path}: '{key}' holds {value.dtype}{value.shape}, expected an array of real numbers")
    vertices, joints = len(found["v_template"]), found["kintree_table"].shape[-1]
    if joints not in KINDS:
        raise InputError(f"{path} has {joints} joints: expected 24 (SMPL), 52 (SMPL-H) or 55 (SMPL-X)")
    shapes = found["shapedirs"].shape
    expected = {
        "v_template": (vertices, 3),
        "shapedirs": (vertices, 3, shapes[-1] if len(shapes) == 3 else "shapes"),
        "posedirs": (vertices, 3, 9 * (joints - 1)),
        "weights": (vertices, joints),
        "J_regressor": (joints, vertices),
        "kintree_table": (2, joints),
        "f": (len(found["f"]), 3),
    }
    for key, shape in expected.items():
        if found[key].shape != shape:
            raise InputError(
                f"{path}: '{key}' has shape {found[key].shape}, expected {shape}: get the file from its official source"
            )
        if not np.all(np.isfinite(found[key].astype(np.float64))):
            raise InputError(f"{path}: '{key}' holds values that are not finite: get the file from its official source")
    _check_meaning(path, found, KINDS[joints])
    for key in ("landmark_names", "landmark_regressor"):
        if isinstance(arrays.get(key), np.ndarray):
            found[key] = arrays[key]
    return found


def _check_meaning(path: Path, found: dict[str, np.ndarray], kind: str) -> None:
    faces = found["f"]
    if faces.size == 0 or faces.min() < 0 or faces.max() >= len(found["v_template"]):
        raise InputError(f"{path}: 'f' names vertices that do not exist: get the file from its official source")
    if tuple(_parents(found)) != SKELETONS[kind].parents:
        raise InputError(
            f"{path}: 'kintree_table' is not the tree of {kind.upper()}: only SMPL, SMPL-H and SMPL-X skeletons "
            "are known"
        )
    for key in ("weights", "J_regressor"):
        sums = found[key].astype(np.float64).sum(1)
        if np.any(np.abs(sums - 1.0) > 0.01):
            raise InputError(
                f"{path}: rows of '{key}' sum to {sums.min():.3g} to {sums.max():.3g}, expected 1: get the file "
                "from its official source"
            )
    height = float(np.ptp(found["v_template"][:, 1]))
    if not PLAUSIBLE_HEIGHT[0] < height < PLAUSIBLE_HEIGHT[1]:
        raise InputError(
            f"{path}: the template is {height:.3g} tall along y, expected 0.4 to 2.6 (metres, y up): convert it "
            "to metres"
        )


def _parents(found: dict[str, np.ndarray]) -> list[int]:
    # The root's parent is 2^32 - 1 in official files, whatever their integer type.
    return [-1, *(int(parent) for parent in found["kintree_table"][0, 1:])]


def _body_from(arrays: dict[str, np.ndarray], shape_count: int) -> BodyModel:
    def tensor(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float64))

    kind = KINDS[arrays["kintree_table"].shape[1]]
    directions = arrays["shapedirs"]
    if kind == "smplx":
        directions = directions[..., : SMPLX_SHAPES.get(directions.shape[-1], directions.shape[-1])]
    regressor, weights = tensor(arrays["J_regressor"]), tensor(arrays["weights"])
    body = BodyModel(
        name=kind,
        joint_names=SKELETONS[kind].joint_names,
        parents=tuple(_parents(arrays)),
        template=tensor(arrays["v_template"]),
        shape_directions=tensor(directions[..., :shape_count]),
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        joint_regressor=regressor / regressor.sum(1, keepdim=True),
        skin_weights=weights / weights.sum(1, keepdim=True),
        pose_directions=tensor(arrays["posedirs"]) if np.any(arrays["posedirs"]) else None,
        landmark_names=LANDMARK_NAMES,
        landmark_regressor=torch.zeros(0, len(arrays["v_template"]), dtype=torch.float64),
    )
    names = tuple(str(name) for name in arrays.get("landmark_names", ()))
    if names == LANDMARK_NAMES and arrays["landmark_regressor"].shape == (len(names), len(body.template)):
        return replace(body, landmark_regressor=tensor(arrays["landmark_regressor"]))
    return replace(body, landmark_regressor=tensor(landmarks_for(body, open_body())))
