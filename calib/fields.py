"""Names and numbers out of files: checked where they are read, so that an error names the camera and the key."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import LENS_COEFFICIENTS, ROTATION_TOLERANCE
from refit_mv.geometry.transforms import RigidTransform

# What nothing in a calibration exceeds, whatever its unit (Qualisys' 1/64 pixel, micrometres).
LARGEST_NUMBER = 1e12
LONGEST_LIST = 64
# A pixel of focal length sees half a circle; a telescope has ten thousands.
FOCAL_PX = (1.0, 1e6)
SIDE_PX = (16, 100_000)
# Pictures are made of this size, three bytes a pixel.
MOST_PIXELS = 500e6
# Turns beyond a few come from numbers that mean something else.
LARGEST_ROTATION = 100.0
MOST_CAMERAS = 1000
LONGEST_NAME = 200


def camera_name(value: object) -> str:
    """A camera's name: any words that can be printed in one line, or a number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"a camera's name must be a word or a number, got {short(value)}")
    try:
        name = str(value)
        name.encode("utf-8")
    except (ValueError, UnicodeEncodeError):
        name = ""
    if not name.strip() or len(name) > LONGEST_NAME or set(name) & set("\n\r\0"):
        raise InputError(f"a camera's name must be one line of 1 to {LONGEST_NAME} characters, got {short(value)}")
    return name


def camera_count(count: int) -> None:
    """Refuse files that hold more cameras than any rig."""
    if count > MOST_CAMERAS:
        raise InputError(f"it holds {count} cameras; more than {MOST_CAMERAS} are not read")


def required(table: Mapping[str, object], key: str, camera: str) -> object:
    """The value under ``key``; InputError names the camera, the key and what is there instead."""
    if key not in table:
        raise InputError(f"camera '{camera}': '{key}' is missing; found: {listed(table)}")
    return table[key]


def numbers(value: object, camera: str, key: str, shape: tuple[int, ...] | None = None) -> Float[np.ndarray, "..."]:
    """``value`` as finite float64. Rows and columns of length 1 do not matter; without a shape any flat list will
    do."""
    try:
        array = np.array(_plain(value, 3), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"camera '{camera}': '{key}' must be numbers{_wanted(shape)}, got {short(value)}") from None
    if shape is None:
        array = array.reshape(-1)
    elif tuple(n for n in array.shape if n != 1) == tuple(n for n in shape if n != 1):
        array = array.reshape(shape)
    else:
        raise InputError(f"camera '{camera}': '{key}' must be numbers{_wanted(shape)}, got {short(value)}")
    if not np.isfinite(array).all():
        raise InputError(
            f"camera '{camera}': '{key}' holds NaN or infinity: {short(value)}; calibrate this camera again"
        )
    if array.size and np.abs(array).max() > LARGEST_NUMBER:
        raise InputError(f"camera '{camera}': '{key}' holds a number beyond all measure: {short(value)}")
    return array


def _plain(value: object, depth: int) -> object:
    """Nested lists of Python's own numbers; dates, truths and tables are none."""
    if isinstance(value, list | tuple | np.ndarray) and depth:
        if len(value) > LONGEST_LIST:
            raise ValueError
        return [_plain(each, depth - 1) for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    return float(value)


def number(value: object, camera: str, key: str) -> float:
    return float(numbers(value, camera, key, ()))


def number_list(text: str, camera: str, key: str, count: int) -> Float[np.ndarray, " count"]:
    """Numbers written one after another with blanks between, as XML attributes hold them."""
    return numbers(text.split(), camera, key, (count,))


def image_size(value: object, camera: str, key: str = "size") -> tuple[int, int]:
    """(width, height) in whole pixels; files write 1080, 1080.0 or "1080"."""
    size = numbers(value, camera, key, (2,))
    if (size != np.round(size)).any() or (size <= 0).any():
        raise InputError(f"camera '{camera}': '{key}' must be width and height in whole pixels, got {short(value)}")
    if size.min() < SIDE_PX[0] or size.max() > SIDE_PX[1] or size.prod() > MOST_PIXELS:
        raise InputError(
            f"camera '{camera}': '{key}' is {size[0]:.5g}×{size[1]:.5g} pixels; pictures of {SIDE_PX[0]} to "
            f"{SIDE_PX[1]} on a side are read"
        )
    return int(size[0]), int(size[1])


def coefficients(value: object, camera: str, key: str, fisheye: bool = False) -> Float[np.ndarray, " coefficients"]:
    """Distortion coefficients; zeros that pad a list beyond the lens model's length are cut (OpenCV writes up to
    14)."""
    flat = numbers(value, camera, key)
    allowed = (0, 4) if fisheye else (0, 4, 5, 8, LENS_COEFFICIENTS)
    while flat.size > allowed[-1] and flat[-1] == 0:
        flat = flat[:-1]
    if flat.size in (13, 14) and not fisheye:
        raise InputError(
            f"camera '{camera}': '{key}' has OpenCV's tilted sensor (its last two of 14 numbers), which is not read: "
            f"{flat.tolist()}; calibrate without CALIB_TILTED_MODEL"
        )
    if flat.size not in allowed:
        lens = "fisheye" if fisheye else "brown_conrady"
        raise InputError(
            f"camera '{camera}': '{key}' of a {lens} lens takes {allowed} coefficients, got {short(flat.tolist())}"
        )
    return flat[:8] if flat.size == LENS_COEFFICIENTS and not flat[8:].any() else flat


def intrinsic_matrix(value: object, camera: str, key: str) -> Float[np.ndarray, "3 3"]:
    matrix = numbers(value, camera, key, (3, 3))
    if matrix[1, 0] != 0 or matrix[2].tolist() != [0, 0, 1]:
        raise InputError(
            f"camera '{camera}': '{key}' must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]], got {matrix.tolist()}"
            " (transposed or not an intrinsic matrix)"
        )
    low, high = FOCAL_PX
    if not (low <= matrix[0, 0] <= high and low <= matrix[1, 1] <= high and np.abs(matrix[:2]).max() <= high):
        raise InputError(
            f"camera '{camera}': '{key}' needs positive focal lengths of {low:g} to {high:g} px and a principal point "
            f"within as many; got {matrix.tolist()}"
        )
    return matrix


def rotation(value: object, camera: str, key: str) -> Float[np.ndarray, "3 3"]:
    """A rotation matrix from a Rodrigues vector (radians) or from 3×3 numbers.

    A matrix that is off orthonormal by rounding in the file is replaced by the nearest rotation; one that is further
    off is passed on as it is, for ``Camera`` to refuse.
    """
    flat = numbers(value, camera, key)
    if flat.size and np.abs(flat).max() > LARGEST_ROTATION:
        raise InputError(f"camera '{camera}': '{key}' is no rotation in radians: {short(value)}")
    if flat.size == 3:
        return rotations.exp(torch.from_numpy(flat)).numpy()
    matrix = numbers(value, camera, key, (3, 3))
    off = np.abs(matrix.T @ matrix - np.eye(3)).max()
    if off <= ROTATION_TOLERANCE and np.linalg.det(matrix) > 0:
        return rotations.nearest_rotation(torch.from_numpy(matrix)).numpy()
    return matrix


def quaternion(given: Float[np.ndarray, " 4"], camera: str, key: str, order: str) -> Float[np.ndarray, "3 3"]:
    """The rotation matrix of a unit quaternion whose components stand in ``order`` ("xyzw" or "wxyz")."""
    length = np.linalg.norm(given)
    if not 0.99 < length < 1.01:
        raise InputError(f"camera '{camera}': {key} must be a unit quaternion {' '.join(order)}, got {given.tolist()}")
    x, y, z, w = (given[order.index(part)] / length for part in "xyzw")
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def transform(rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, " 3"]) -> RigidTransform:
    return RigidTransform(
        torch.from_numpy(np.ascontiguousarray(rotation)), torch.from_numpy(np.ascontiguousarray(translation))
    )


def listed(names: Iterable[object], most: int = 8) -> str:
    """The first few names, for messages."""
    texts = [str(name)[:60] for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "nothing"


def short(value: object) -> str:
    """What arrived, in so much of a line as helps."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # integers of thousands of digits, lists in lists in lists
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 120 else text[:117] + "..."


def _wanted(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return ""
    return " (one)" if shape == () else f" ({'×'.join(map(str, shape))})"
