"""What one camera sees: its picture's size, its rays, its field of view, its tilt and roll against up."""

import numpy as np
import torch
from jaxtyping import Bool, Float

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import bearings


def picture_size(camera: Camera) -> tuple[float, float]:
    """Width and height in pixels; where the calibration does not say, twice the principal point."""
    if camera.size is not None:
        return float(camera.size[0]), float(camera.size[1])
    return max(2 * float(camera.matrix[0, 2]), 2.0), max(2 * float(camera.matrix[1, 2]), 2.0)


def rays(
    camera: Camera, pixels: Float[np.ndarray, "point 2"]
) -> tuple[Float[np.ndarray, "point 3"], Bool[np.ndarray, " point"]]:
    """Unit directions in the world, and where the lens model could be inverted."""
    direction, valid = bearings(CameraRig((camera,)).stacked(), torch.from_numpy(pixels)[None])
    return direction[0].numpy(), valid[0].numpy()


def pixel_grid(camera: Camera, columns: int, rows: int) -> Float[np.ndarray, "point 2"]:
    """Pixels from corner to corner of the picture, row by row."""
    width, height = picture_size(camera)
    u, v = np.meshgrid(np.linspace(0, width - 1, columns), np.linspace(0, height - 1, rows))
    return np.stack([u.ravel(), v.ravel()], axis=1)


def field_of_view(camera: Camera) -> tuple[float, float]:
    """Horizontal and vertical angle of view in degrees through the middle of the picture, without lens distortion.

    A pinhole sees 2 atan(w / 2f), split at the principal point; an equidistant fisheye w / f radians.
    """
    width, height = picture_size(camera)
    spans = []
    for length, focal, center in (
        (width, camera.matrix[0, 0], camera.matrix[0, 2]),
        (height, camera.matrix[1, 1], camera.matrix[1, 2]),
    ):
        low, high = -center / focal, (length - 1 - center) / focal
        spans.append(high - low if camera.lens == "fisheye" else np.arctan(high) - np.arctan(low))
    return float(np.degrees(spans[0])), float(np.degrees(spans[1]))


def axes(camera: Camera) -> Float[np.ndarray, "axis 3"]:
    """The camera's x (right), y (down) and z (forward) axes in the world, as rows."""
    return camera.cam_from_world.rotation.double().numpy()


def roll_degrees(camera: Camera, up: Float[np.ndarray, " 3"]) -> float:
    """Where the world's up points in the picture: 0 the top edge, 90 the right edge, ±180 the bottom, -90 the left."""
    right, down, _ = axes(camera) @ up
    return float(np.degrees(np.arctan2(right, -down)))


def tilt_degrees(camera: Camera, up: Float[np.ndarray, " 3"]) -> float:
    """How far the camera looks above the horizon; negative looks down."""
    return float(np.degrees(np.arcsin(np.clip(axes(camera)[2] @ up, -1, 1))))
