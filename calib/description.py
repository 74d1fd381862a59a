"""A rig as a table that a person can check."""

from itertools import combinations

import numpy as np

from calib.up import estimate_up
from calib.view import field_of_view, roll_degrees, tilt_degrees
from refit_mv.geometry.camera import Camera, CameraRig

_HEADERS = ("camera", "size", "focal px", "view °", "position m", "tilt °", "roll °", "lens", "distortion")


def describe(rig: CameraRig, up: tuple[float, float, float] | None = None) -> str:
    """One line a camera: size and focal length in pixels, field of view, position in metres, tilt above the horizon,
    roll (0 upright, 90 with up at the right edge), lens; then the distances between the cameras and which way is
    up: ``up`` where that is defined, else as estimated."""
    estimate = estimate_up(rig)
    upward = estimate.up.numpy() if up is None else np.array(up)
    rows = [_HEADERS, *(_row(camera, upward) for camera in rig)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADERS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    centers = [camera.center.numpy() for camera in rig]
    apart = [float(np.linalg.norm(a - b)) for a, b in combinations(centers, 2)]
    if apart:
        lines.append(f"{len(rig)} cameras, {min(apart):.2f} to {max(apart):.2f} m apart")
    how = "a world axis" if estimate.snapped else f"estimated to about {estimate.uncertainty_degrees:.0f}°"
    told = f"{how}; confidence {estimate.confidence:.2f}" if up is None else "by definition"
    lines.append(f"up: {_triple(upward)} ({told})")
    return "\n".join(lines)


def _row(camera: Camera, up: np.ndarray) -> tuple[str, ...]:
    size = "unknown" if camera.size is None else f"{camera.size[0]}×{camera.size[1]}"
    horizontal, vertical = field_of_view(camera)
    return (
        camera.name,
        size,
        f"{camera.matrix[0, 0]:.0f}"
        if abs(camera.matrix[0, 0] / camera.matrix[1, 1] - 1) < 0.005
        else f"{camera.matrix[0, 0]:.0f}, {camera.matrix[1, 1]:.0f}",
        f"{horizontal:.0f}×{vertical:.0f}",
        _triple(camera.center.numpy()),
        f"{tilt_degrees(camera, up):+.0f}",
        f"{roll_degrees(camera, up):+.0f}",
        "fisheye" if camera.lens == "fisheye" else "pinhole",
        " ".join(f"{value:.3g}" for value in camera.distortion) if camera.distortion.any() else "none",
    )


def _triple(vector: np.ndarray) -> str:
    return "(" + ", ".join(f"{value + 0.0:.2f}" for value in np.where(np.abs(vector) < 0.005, 0.0, vector)) + ")"
