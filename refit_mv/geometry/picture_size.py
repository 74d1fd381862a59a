"""The same camera on larger or smaller pictures."""

from dataclasses import replace

import numpy as np

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera

# Encoders pad to whole blocks of 16 pixels at the right and bottom edge, before the picture is scaled or after.
PADDING_PIXELS = 16
MOST_SCALED = 100.0


def resized_by(camera: Camera, factor: float, size: tuple[int, int] | None = None) -> Camera:
    """``camera`` as it sees pictures scaled by ``factor``, of ``size`` (width, height) or of its own size scaled and
    rounded.

    Pixel centres are integers, so the picture's corner lies at (-0.5, -0.5) and stays there. Distortion and pose do
    not depend on the size.

    Raises:
        InputError: a factor of a hundred and more either way.
    """
    if not 1 / MOST_SCALED <= factor <= MOST_SCALED:
        raise InputError(f"a picture's size can be scaled by {1 / MOST_SCALED:g} to {MOST_SCALED:g}, not by {factor:g}")
    if factor == 1 and size in (None, camera.size):
        return camera
    matrix = camera.matrix.copy()
    matrix[:2, :2] *= factor
    matrix[:2, 2] = (matrix[:2, 2] + 0.5) * factor - 0.5
    if size is None and camera.size is not None:
        size = (max(round(camera.size[0] * factor), 1), max(round(camera.size[1] * factor), 1))
    return replace(camera, matrix=matrix, size=size)


def resized_to(camera: Camera, size: tuple[int, int]) -> Camera:
    """``camera`` as it sees pictures scaled to ``size`` (width, height), with or without rows or columns of padding at
    the right or bottom edge (1920×1088 to 960×540).

    Raises:
        InputError: the camera's own size is unknown, or no scaling makes one of the other: turned or cropped pictures.
    """
    if camera.size is None:
        raise InputError(
            f"camera '{camera.name}': the calibration does not say its picture's size; scale by a factor instead"
        )
    ratios = (size[0] / camera.size[0], size[1] / camera.size[1])
    # The longer side decides: it is a whole number of blocks in all usual sizes, the shorter (1080, 540) is not.
    longer = int(camera.size[1] > camera.size[0])
    factor = ratios[longer]
    off = abs(size[1 - longer] - factor * camera.size[1 - longer])
    if off > PADDING_PIXELS * min(factor, 1):
        raise InputError(
            f"camera '{camera.name}': {camera.size[0]}×{camera.size[1]} pixels cannot be scaled to {size[0]}×{size[1]}:"
            f" its width by {ratios[0]:.4g}, its height by {ratios[1]:.4g}; was it turned or cropped?"
        )
    # A pixel that rounding took or gave is no padding.
    return resized_by(camera, float(np.sqrt(ratios[0] * ratios[1])) if off <= 1 else factor, size)
