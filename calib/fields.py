"""Numbers out of files: checked where they are read, so that an error names the camera and the key."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import ROTATION_TOLERANCE
from refit_mv.geometry.transforms import RigidTransform


def required(table: Mapping[str, object], key: str, camera: str) -> object:
    """The value under ``key``; InputError names the camera, the key and what is there instead."""
    if key not in table:
        raise InputError(f"camera '{camera}': '{key}' is missing; found: {', '.join(map(str, table)) or 'nothing'}")
    return table[key]


def numbers(value: object, camera: str, key: str, shape: tuple[int, ...] | None = None) -> Float[np.ndarray, "..."]:
    """``value`` as finite float64. Rows and columns of length 1 do not matter; without a shape any flat list will
    do."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"camera '{camera}': '{key}' must be numbers{_wanted(shape)}, got {_short(value)}") from None
    if shape is None:
        array = array.reshape(-1)
    elif tuple(n for n in array.shape if n != 1) == tuple(n for n in shape if n != 1):
        array = array.reshape(shape)
    else:
        raise InputError(f"camera '{camera}': '{key}' must be numbers{_wanted(shape)}, got {_short(value)}")
    if not np.isfinite(array).all():
        raise InputError(
            f"camera '{camera}': '{key}' holds NaN or infinity: {_short(value)}; calibrate this camera again"
        )
    return array


def number(value: object, camera: str, key: str) -> float:
    return float(numbers(value, camera, key, ()))


def number_list(text: str, camera: str, key: str, count: int) -> Float[np.ndarray, " count"]:
    """Numbers written one after another with blanks between, as XML attributes hold them."""
    return numbers(text.split(), camera, key, (count,))


def image_size(value: object, camera: str, key: str = "size") -> tuple[int, int]:
    """(width, height) in whole pixels; files write 1080, 1080.0 or "1080"."""
    size = numbers(value, camera, key, (2,))
    if (size != np.round(size)).any() or (size <= 0).any():
        raise InputError(f"camera '{camera}': '{key}' must be width and height in whole pixels, got {_short(value)}")
    return int(size[0]), int(size[1])


def coefficients(value: object, camera: str, key: str, fisheye: bool = False) -> Float[np.ndarray, " coefficients"]:
    """Distortion coefficients; zeros that pad a list beyond the lens model's length are cut (OpenCV writes up to
    14)."""
    flat = numbers(value, camera, key)
    longest = 4 if fisheye else 8
    while flat.size > longest and flat[-1] == 0:
        flat = flat[:-1]
    return flat


def intrinsic_matrix(value: object, camera: str, key: str) -> Float[np.ndarray, "3 3"]:
    matrix = numbers(value, camera, key, (3, 3))
    if matrix[1, 0] != 0 or matrix[2].tolist() != [0, 0, 1]:
        raise InputError(
            f"camera '{camera}': '{key}' must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]], got {matrix.tolist()}"
            " (transposed or not an intrinsic matrix)"
        )
    return matrix


def rotation(value: object, camera: str, key: str) -> Float[np.ndarray, "3 3"]:
    """A rotation matrix from a Rodrigues vector (radians) or from 3×3 numbers.

    A matrix that is off orthonormal by rounding in the file is replaced by the nearest rotation; one that is further
    off is passed on as it is, for ``Camera`` to refuse.
    """
    flat = numbers(value, camera, key)
    if flat.size == 3:
        return rotations.exp(torch.from_numpy(flat)).numpy()
    matrix = numbers(value, camera, key, (3, 3))
    off = np.abs(matrix.T @ matrix - np.eye(3)).max()
    if off <= ROTATION_TOLERANCE and np.linalg.det(matrix) > 0:
        return rotations.nearest_rotation(torch.from_numpy(matrix)).numpy()
    return matrix


def transform(rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, " 3"]) -> RigidTransform:
    return RigidTransform(
        torch.from_numpy(np.ascontiguousarray(rotation)), torch.from_numpy(np.ascontiguousarray(translation))
    )


def _wanted(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return ""
    return " (one)" if shape == () else f" ({'×'.join(map(str, shape))})"


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 120 else text[:117] + "..."
