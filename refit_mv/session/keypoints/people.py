"""The people of one picture as numbers, whatever tool wrote them: rows of x, y (pixels) and confidence, checked."""

import numpy as np
from jaxtyping import Float, Shaped

from refit_mv.errors import InputError

# No camera has as many pixels in a row, and no detector guesses as far outside a picture.
LARGEST_PIXEL = 1e6


def numbers(values: object, where: str, what: str) -> Shaped[np.ndarray, "..."]:
    """Lists of numbers as an array; null, which is how JSON without NaN writes it, is NaN.

    Raises:
        InputError: anything but numbers, lists of unequal length, numbers too large for arithmetic.
    """
    try:
        array = np.array(values)
        if array.dtype.kind == "O" and all(
            entry is None or (isinstance(entry, int | float) and not isinstance(entry, bool)) for entry in array.flat
        ):
            array = array.astype(np.float64)
    except (ValueError, OverflowError):
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        raise InputError(f"keypoint file {where}: {what} must hold numbers only (x, y, confidence for every point)")
    return array


def person(rows: Shaped[np.ndarray, "joint 3"], where: str) -> Shaped[np.ndarray, "joint 3"] | None:
    """The person whom checked rows show, None where no point was found: rows with a NaN are points that are missing,
    written 0, 0, 0.

    Raises:
        InputError: infinite numbers, or coordinates that no picture has.
    """
    if len(rows) == 0:
        return None
    # One comparison settles the usual case, for NaN is below nothing; read for every person of every picture.
    if np.maximum.reduce(np.abs(rows), axis=None) < LARGEST_PIXEL:
        return rows
    missing = np.asarray(np.isnan(rows).any(axis=1))
    rows = np.where(missing[:, None], 0.0, rows)
    if not np.abs(rows).max() < LARGEST_PIXEL:
        raise InputError(
            f"keypoint file {where} holds infinite numbers or pixels beyond {LARGEST_PIXEL:.0e}; write missing points "
            "as 0, 0, 0"
        )
    return None if missing.all() else rows


def person_in_triples(values: object, where: str, what: str) -> Shaped[np.ndarray, "joint 3"] | None:
    """A person as tools write one in JSON: x, y, confidence after one another, or a list for every point.

    Raises:
        InputError: as :func:`numbers` and :func:`person`, or no three numbers for every point.
    """
    array = numbers(values, where, what)
    if array.size % 3 or (array.ndim == 2 and array.shape[1] != 3) or array.ndim not in (1, 2):
        raise InputError(
            f"keypoint file {where}: {what} has {array.size} numbers, expected x, y, confidence for every point"
        )
    return person(array.reshape(-1, 3), where)


def person_with_scores(points: object, scores: object, where: str) -> Shaped[np.ndarray, "joint 3"] | None:
    """A person whose coordinates and confidences are lists of their own; without confidences (None) every point that
    is there counts fully.

    Raises:
        InputError: as :func:`numbers` and :func:`person`, or lists that do not fit together.
    """
    pixels = numbers(points, where, "keypoints")
    if pixels.ndim != 2 or pixels.shape[1] not in (2, 3):
        raise InputError(f"keypoint file {where}: keypoints are an array of {pixels.shape}, expected points of x, y")
    if scores is None and pixels.shape[1] == 3:
        return person(pixels, where)
    found = np.ones(len(pixels)) if scores is None else numbers(scores, where, "keypoint scores").reshape(-1)
    if len(found) != len(pixels):
        raise InputError(f"keypoint file {where} has {len(pixels)} points, but {len(found)} scores")
    return person(np.column_stack([pixels[:, :2], found]), where)


def people_in(rows: Float[np.ndarray, "person joint 3"], where: str) -> list[np.ndarray]:
    """Those of a fixed number of people whom a picture shows.

    Raises:
        InputError: as :func:`person`.
    """
    return [found for points in rows if (found := person(points, where)) is not None]
