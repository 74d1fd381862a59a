"""Lens models with their derivatives.

The models are OpenCV's: Brown–Conrady (k1 k2 p1 p2 k3) and ``cv2.fisheye`` (Kannala & Brandt, PAMI 2006). A lens is
nine numbers: fx fy cx cy and five coefficients (a fisheye's fifth is unused and stays zero).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from refit_mv.geometry.camera import LensModel

NUMBERS = 9
FX, FY, CX, CY, FIRST_COEFFICIENT = 0, 1, 2, 3, 4
# Nearer to the camera's plane than this (as z over the distance), a pinhole shows nothing.
STEEPEST = 1e-3
# Of undistortion, and pixels by which it may miss.
_NEWTON_STEPS, _MISSED = 4, 0.5


@dataclass(frozen=True, eq=False)
class Lens:
    """``numbers`` are fx fy cx cy (pixels) and the model's coefficients; ``size`` is (width, height) in pixels."""

    model: LensModel
    numbers: Float[np.ndarray, "9"]
    size: tuple[int, int]

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """The intrinsic matrix."""
        fx, fy, cx, cy = self.numbers[:4].tolist()
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    @property
    def coefficients(self) -> Float[np.ndarray, " coefficient"]:
        """In OpenCV's order: five numbers, of a fisheye four."""
        return self.numbers[FIRST_COEFFICIENT:] if self.model == "brown_conrady" else self.numbers[4:8]

    @property
    def focal(self) -> float:
        """Mean focal length in pixels."""
        return float(np.sqrt(self.numbers[FX] * self.numbers[FY]))


def undistorted(lens: Lens, pixels: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, "point 2"]:
    """Where the rays through pixels meet the plane z = 1. NaN where a fisheye looks sideways or backwards, or the
    model cannot be inverted."""
    flat = np.ascontiguousarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
    undistort = cv2.fisheye.undistortPoints if lens.model == "fisheye" else cv2.undistortPoints
    plane = undistort(flat, lens.matrix, lens.coefficients).reshape(-1, 2)
    plane = np.where(np.abs(plane) < 1 / STEEPEST, plane, np.nan)
    # OpenCV stops after a few steps; Newton's method ends it.
    for _ in range(_NEWTON_STEPS):
        shown, by_point, _ = linearised(
            lens.model, lens.numbers, np.concatenate([plane, np.ones_like(plane[:, :1])], 1)
        )
        miss = pixels - shown
        by_plane = by_point[..., :2]
        determinant = by_plane[..., 0, 0] * by_plane[..., 1, 1] - by_plane[..., 0, 1] * by_plane[..., 1, 0]
        usable = np.abs(determinant) > 1e-6
        by_plane = np.where(usable[:, None, None], by_plane, np.eye(2))
        plane = plane + np.where(usable[:, None], np.linalg.solve(by_plane, miss[..., None])[..., 0], 0)
    shown = linearised(lens.model, lens.numbers, np.concatenate([plane, np.ones_like(plane[:, :1])], 1))[0]
    return np.where(np.abs(shown - pixels).max(-1, keepdims=True) < _MISSED, plane, np.nan)


def project(
    model: LensModel, numbers: Float[np.ndarray, "*batch 9"], p_cam: Float[np.ndarray, "*batch point 3"]
) -> Float[np.ndarray, "*batch point 2"]:
    """Pixels of points in the camera's axes; NaN where there is none."""
    return linearised(model, numbers, p_cam)[0]


def linearised(
    model: LensModel, numbers: Float[np.ndarray, "*batch 9"], p_cam: Float[np.ndarray, "*batch point 3"]
) -> tuple[
    Float[np.ndarray, "*batch point 2"], Float[np.ndarray, "*batch point 2 3"], Float[np.ndarray, "*batch point 2 9"]
]:
    """Pixels (NaN where there are none), and their derivatives by the point and by the lens's numbers."""
    each = numbers[..., None, :]
    plane, by_point, by_coefficient = (_fisheye if model == "fisheye" else _brown_conrady)(each[..., 4:], p_cam)
    focal = each[..., :2]
    by_number = np.zeros((*p_cam.shape[:-1], 2, NUMBERS))
    by_number[..., 0, FX], by_number[..., 1, FY] = plane[..., 0], plane[..., 1]
    by_number[..., 0, CX] = by_number[..., 1, CY] = 1
    by_number[..., FIRST_COEFFICIENT:] = focal[..., None] * by_coefficient
    return plane * focal + each[..., 2:4], focal[..., None] * by_point, by_number


def _brown_conrady(k: np.ndarray, p_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    before = p_cam[..., 2] > STEEPEST * np.linalg.norm(p_cam, axis=-1)
    z = np.where(before, p_cam[..., 2], np.nan)
    x, y = p_cam[..., 0] / z, p_cam[..., 1] / z
    k1, k2, p1, p2, k3 = (k[..., index] for index in range(5))
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = k1 + r2 * (2 * k2 + r2 * 3 * k3)
    plane = np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    by_plane = np.stack(
        [
            radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x,
            cross,
            cross,
            radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x,
        ],
        -1,
    ).reshape(*x.shape, 2, 2)
    zero, one = np.zeros_like(x), 1 / z
    plane_by_point = np.stack([one, zero, -x * one, zero, one, -y * one], -1).reshape(*x.shape, 2, 3)
    r4, r6, xy = r2 * r2, r2**3, 2 * x * y
    by_coefficient = np.stack(
        [x * r2, x * r4, xy, r2 + 2 * x * x, x * r6, y * r2, y * r4, r2 + 2 * y * y, xy, y * r6], -1
    ).reshape(*x.shape, 2, 5)
    return plane, by_plane @ plane_by_point, by_coefficient


def _fisheye(k: np.ndarray, p_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = (p_cam[..., index] for index in range(3))
    radius = np.maximum(np.hypot(x, y), 1e-12)
    theta = np.arctan2(radius, z)
    t2 = theta * theta
    k1, k2, k3, k4 = (k[..., index] for index in range(4))
    bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
    ux, uy = x / radius, y / radius
    plane = np.stack([ux * bent, uy * bent], -1)
    squared = radius * radius + z * z
    # theta changes with the radius by z / d² and with z by -radius / d²; across, the point turns about the axis.
    along, across, depth = slope * z / squared, bent / radius, -slope * radius / squared
    by_point = np.stack(
        [
            along * ux * ux + across * uy * uy,
            (along - across) * ux * uy,
            depth * ux,
            (along - across) * ux * uy,
            along * uy * uy + across * ux * ux,
            depth * uy,
        ],
        -1,
    ).reshape(*x.shape, 2, 3)
    powers = np.stack([theta**3, theta**5, theta**7, theta**9, np.zeros_like(theta)], -1)
    return plane, by_point, np.stack([ux, uy], -1)[..., None] * powers[..., None, :]
