"""Lens distortion taken out of single pixels: ``geometry.projection.camera_bearings`` without tensors."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled

# A step of Newton's method that moves a point by less than this (focal lengths, radians) is its last: the next one
# would be a rounding error.
SETTLED = 1e-14


@compiled
def _distorted(x, y, k):
    """Brown and Conrady's distorted point with thin prisms, and the Jacobian row by row."""
    r2 = x * x + y * y
    numerator = 1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))
    denominator = 1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7]))
    radial = numerator / denominator
    slope = (k[0] + r2 * (2 * k[1] + r2 * 3 * k[4]) - radial * (k[5] + r2 * (2 * k[6] + r2 * 3 * k[7]))) / denominator
    u = x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x) + r2 * (k[8] + r2 * k[9])
    v = y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y + r2 * (k[10] + r2 * k[11])
    prism_u, prism_v = 2 * (k[8] + 2 * r2 * k[9]), 2 * (k[10] + 2 * r2 * k[11])
    cross = 2 * x * y * slope + 2 * k[2] * x + 2 * k[3] * y
    a = radial + 2 * x * x * slope + 2 * k[2] * y + 6 * k[3] * x + x * prism_u
    d = radial + 2 * y * y * slope + 6 * k[2] * y + 2 * k[3] * x + y * prism_v
    return u, v, a, cross + y * prism_u, cross + x * prism_v, d


@compiled
def _pinhole(x, y, k, steps, tolerance):
    """The undistorted point, and whether it maps back."""
    px, py = x, y
    for _ in range(steps):
        u, v, a, b, c, d = _distorted(px, py, k)
        determinant = a * d - b * c
        if abs(determinant) < 1e-9:
            determinant = 1e-9
        du, dv = u - x, v - y
        # Steps are limited so that Newton does not leap over the fold of a strong barrel lens.
        sx = min(max((d * du - b * dv) / determinant, -0.5), 0.5)
        sy = min(max((a * dv - c * du) / determinant, -0.5), 0.5)
        px -= sx
        py -= sy
        if abs(sx) + abs(sy) < SETTLED:
            break
    u, v, a, b, c, d = _distorted(px, py, k)
    good = max(abs(u - x), abs(v - y)) < tolerance * (1 + max(abs(x), abs(y))) and a * d - b * c > 0
    return px, py, good


@compiled
def _fisheye(radius, k, steps, tolerance):
    """The undistorted angle, and whether it maps back."""
    theta = min(radius, math.pi / 2)
    for _ in range(steps):
        t2 = theta * theta
        value = theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))
        slope = 1 + t2 * (3 * k[0] + t2 * (5 * k[1] + t2 * (7 * k[2] + t2 * 9 * k[3])))
        step = (value - radius) / max(slope, 1e-6)
        theta = min(max(theta - step, 0.0), math.pi)
        if abs(step) < SETTLED:
            break
    t2 = theta * theta
    value = theta * (1 + t2 * (k[0] + t2 * (k[1] + t2 * (k[2] + t2 * k[3]))))
    slope = 1 + t2 * (3 * k[0] + t2 * (5 * k[1] + t2 * (7 * k[2] + t2 * 9 * k[3])))
    return theta, abs(value - radius) < tolerance * (1 + radius) and slope > 0


@compiled
def pixel_bearings(inverse, principal, distortion, is_fisheye, pixels, steps, tolerance):
    """Unit directions (batch, view, point, 3) and where the lens could be inverted; ``inverse`` of each view's
    upper-left 2×2 matrix.
    """
    batch, views, points, _ = pixels.shape
    direction = np.empty((batch, views, points, 3), pixels.dtype)
    valid = np.empty((batch, views, points), np.bool_)
    for f in range(batch):
        for v in range(views):
            k = distortion[v]
            for p in range(points):
                cx, cy = pixels[f, v, p, 0] - principal[v, 0], pixels[f, v, p, 1] - principal[v, 1]
                x = inverse[v, 0, 0] * cx + inverse[v, 0, 1] * cy
                y = inverse[v, 1, 0] * cx + inverse[v, 1, 1] * cy
                if is_fisheye[v] > 0.5:
                    radius = math.sqrt(x * x + y * y)
                    theta, good = _fisheye(radius, k, steps, tolerance)
                    outward = math.sin(theta) / max(radius, 1e-12)
                    x, y, z = x * outward, y * outward, math.cos(theta)
                else:
                    x, y, good = _pinhole(x, y, k, steps, tolerance)
                    z = 1.0
                length = max(math.sqrt(x * x + y * y + z * z), 1e-12)
                direction[f, v, p, 0], direction[f, v, p, 1], direction[f, v, p, 2] = x / length, y / length, z / length
                valid[f, v, p] = good
    return direction, valid
