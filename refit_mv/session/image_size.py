"""Whether a view's pixels can belong to its camera: sizes that differ, points outside the picture, coordinates that are
no pixels."""

import numpy as np
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.geometry.picture_size import PADDING_PIXELS
from refit_mv.session.observations import CONFIDENT

# A scaled picture keeps its aspect ratio within rounding.
ASPECT_TOLERANCE = 0.02
# Detectors guess points outside the picture when a person is cut off, but not many, and not far.
MARGIN = 0.2
OUTSIDE_SHARE = 0.2
# Largest coordinate at which all of a view's points look normalised to 0…1.
NORMALISED = 2.0


def compare_sizes(camera: Camera, size: tuple[int, int], source: str) -> str | None:
    """A warning when a video's size (width, height) is a little off the calibrated one, None when it is not.

    Raises:
        InputError: scaled, turned by a quarter, or cropped against the calibration.
    """
    if camera.size is None or camera.size == size:
        return None
    (width, height), (calibrated_width, calibrated_height) = size, camera.size
    told = (
        f"camera '{camera.name}' is calibrated for {calibrated_width}×{calibrated_height} pixels, {source} has "
        f"{width}×{height}"
    )
    if abs(width - calibrated_width) <= PADDING_PIXELS and abs(height - calibrated_height) <= PADDING_PIXELS:
        return f"{told}: taken as padding at the right and bottom edge"
    across, down = width / calibrated_width, height / calibrated_height
    if abs(across / down - 1) < ASPECT_TOLERANCE:
        raise InputError(
            f"{told}: scaled by {across:.3g}; use the original videos, or scale the calibration to theirs: "
            f"refit-mv calib scale CALIB --size {width}x{height} -o OUT.toml"
        )
    if abs(width / calibrated_height / (height / calibrated_width) - 1) < ASPECT_TOLERANCE:
        raise InputError(
            f"{told}: turned by a quarter (portrait and landscape); calibrate and film in the same orientation"
        )
    raise InputError(f"{told}: cropped, or another camera's; check that views and cameras belong together")


def check_pixels(
    view: str,
    camera: Camera,
    pixels: Float[np.ndarray, "frame person joint 2"],
    confidence: Float[np.ndarray, "frame person joint"],
) -> None:
    """Refuse a view whose points cannot lie in its camera's picture.

    Raises:
        InputError: coordinates normalised to 0…1, mostly negative, or mostly far outside the calibrated size.
    """
    # Scores of some detectors never reach the usual threshold; then all detected points count.
    confident = confidence > (CONFIDENT if (confidence > CONFIDENT).any() else 0)
    points = pixels[confident]
    if len(points) == 0:
        return
    if np.abs(points).max() <= NORMALISED:
        raise InputError(
            f"view {view}: all coordinates lie within {points.min():.2g} and {points.max():.2g}: normalised, but "
            "pixels are expected"
        )
    size = np.array(camera.size if camera.size is not None else (np.inf, np.inf))
    margin = np.where(np.isfinite(size), MARGIN * size, 0.0)
    outside = ((points < -margin) | (points > size + margin)).any(-1)
    share = float(outside.mean())
    if share > OUTSIDE_SHARE:
        low, high = points.min(0), points.max(0)
        picture = (
            f"{camera.size[0]}×{camera.size[1]} picture"
            if camera.size is not None
            else "picture (negative coordinates)"
        )
        raise InputError(
            f"view {view}: {share:.0%} of its points lie far outside the {picture} of camera '{camera.name}' (x "
            f"{low[0]:.0f} to {high[0]:.0f},"
            f" y {low[1]:.0f} to {high[1]:.0f}); are videos swapped between cameras, turned, or scaled since the "
            "calibration?"
        )
