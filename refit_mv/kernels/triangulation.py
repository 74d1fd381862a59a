"""Where rays meet, one point at a time: ``geometry.triangulation`` without tensors."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled


@compiled
def meeting_point(center, direction, weight, point, anchor, prior_weight, floor_share):
    """``triangulation.intersect`` for column ``point`` of one frame's rays; ``anchor`` pulls."""
    a00 = a01 = a02 = a11 = a12 = a22 = 0.0
    b0 = b1 = b2 = 0.0
    largest = 0.0
    for view in range(len(center)):
        w = weight[view]
        if w == 0:
            continue
        largest = max(largest, w)
        x, y, z = direction[view, point, 0], direction[view, point, 1], direction[view, point, 2]
        c0, c1, c2 = center[view, 0], center[view, 1], center[view, 2]
        a00 += w * (1 - x * x)
        a11 += w * (1 - y * y)
        a22 += w * (1 - z * z)
        a01 -= w * x * y
        a02 -= w * x * z
        a12 -= w * y * z
        along = x * c0 + y * c1 + z * c2
        b0 += w * (c0 - along * x)
        b1 += w * (c1 - along * y)
        b2 += w * (c2 - along * z)
    floor = floor_share * max(largest, 1e-12) + prior_weight
    a00, a11, a22 = a00 + floor, a11 + floor, a22 + floor
    # Around the anchor: what is solved for is small where rays say little, and rounding with it.
    x, y, z = anchor[0], anchor[1], anchor[2]
    b0 += floor * x - (a00 * x + a01 * y + a02 * z)
    b1 += floor * y - (a01 * x + a11 * y + a12 * z)
    b2 += floor * z - (a02 * x + a12 * y + a22 * z)
    # By Cholesky's factors, which bear a condition of 1e9 in double precision.
    l00 = math.sqrt(a00)
    l10, l20 = a01 / l00, a02 / l00
    l11 = math.sqrt(max(a11 - l10 * l10, 0.1 * floor))
    l21 = (a12 - l20 * l10) / l11
    l22 = math.sqrt(max(a22 - l20 * l20 - l21 * l21, 0.1 * floor))
    d0 = b0 / l00
    d1 = (b1 - l10 * d0) / l11
    d2 = (b2 - l20 * d0 - l21 * d1) / l22
    d2 = d2 / l22
    d1 = (d1 - l21 * d2) / l11
    d0 = (d0 - l10 * d1 - l20 * d2) / l00
    return x + d0, y + d1, z + d2


@compiled
def meeting_points(center, direction, weight, anchor, prior_weight, floor_share):
    """``triangulation.intersect`` over all frames; ``anchor`` (frame, point, 3)."""
    frames, points = len(weight), weight.shape[2]
    out = np.empty((frames, points, 3), direction.dtype)
    for frame in range(frames):
        for point in range(points):
            found = meeting_point(
                center, direction[frame], weight[frame, :, point], point, anchor[frame, point], prior_weight,
                floor_share
            )  # fmt: skip
            for c in range(3):
                out[frame, point, c] = found[c]
    return out


@compiled
def _angle(center, direction, view, point, x, y, z):
    """Angle between a ray and the direction to (x, y, z), and the distance."""
    x, y, z = x - center[view, 0], y - center[view, 1], z - center[view, 2]
    distance = max(math.sqrt(x * x + y * y + z * z), 1e-9)
    a, b, c = direction[view, point, 0], direction[view, point, 1], direction[view, point, 2]
    s0, s1, s2 = y * c - z * b, z * a - x * c, x * b - y * a
    sine = math.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
    cosine = x * a + y * b + z * c
    # The series of the arc tangent is exact to 1e-9 below 0.05 rad, and most angles are.
    if sine < 0.05 * cosine:
        t = sine / cosine
        t2 = t * t
        return t * (1 - t2 * (1 / 3 - t2 * (1 / 5 - t2 / 7))), distance
    return math.atan2(sine, cosine), distance


@compiled
def robust_points(center, direction, weight, robust_scale, iterations, floor_share):
    """``triangulation.triangulate`` over all frames: points, residual angles, support and parallax."""
    frames, views, points = weight.shape
    found = np.empty((frames, points, 3), direction.dtype)
    residual = np.empty((frames, views, points), direction.dtype)
    support = np.zeros((frames, points), np.int64)
    parallax = np.zeros((frames, points), direction.dtype)
    chosen = np.zeros(views, np.float64)
    middle, best = np.zeros(3), np.zeros(3)
    for view in range(views):
        for c in range(3):
            middle[c] += center[view, c] / views
    for frame in range(frames):
        rays = direction[frame]
        for point in range(points):
            trust = weight[frame, :, point]
            for view in range(views):
                chosen[view] = trust[view]
            x, y, z = meeting_point(center, rays, chosen, point, middle, 0.0, floor_share)
            best[0], best[1], best[2] = x, y, z
            if views > 2:
                least = _disagreement(center, rays, trust, point, x, y, z, robust_scale)
                for first in range(views - 1):
                    for second in range(first + 1, views):
                        if trust[first] == 0 and trust[second] == 0:
                            continue
                        chosen[:] = 0
                        chosen[first], chosen[second] = trust[first], trust[second]
                        x, y, z = meeting_point(center, rays, chosen, point, middle, 0.0, floor_share)
                        cost = _disagreement(center, rays, trust, point, x, y, z, robust_scale)
                        if cost < least:
                            least = cost
                            best[0], best[1], best[2] = x, y, z
            for _ in range(iterations):
                for view in range(views):
                    chosen[view] = 0
                    if trust[view] != 0:
                        angle, distance = _angle(center, rays, view, point, best[0], best[1], best[2])
                        robust = 1 / (1 + (angle / robust_scale) * (angle / robust_scale))
                        chosen[view] = trust[view] * robust * robust / (distance * distance)
                x, y, z = meeting_point(center, rays, chosen, point, best, 1e-9, floor_share)
                best[0], best[1], best[2] = x, y, z
            for c in range(3):
                found[frame, point, c] = best[c]
            for view in range(views):
                angle, _ = _angle(center, rays, view, point, best[0], best[1], best[2])
                residual[frame, view, point] = angle
                chosen[view] = angle < 2 * robust_scale and trust[view] > 0
            widest = 0.0
            for first in range(views):
                if chosen[first] == 0:
                    continue
                support[frame, point] += 1
                for second in range(first + 1, views):
                    if chosen[second] != 0:
                        widest = max(widest, _sine(rays[first, point], rays[second, point]))
            parallax[frame, point] = widest
    return found, residual, support, parallax


@compiled
def _disagreement(center, rays, trust, point, x, y, z, robust_scale):
    """Robust cost of a candidate over all rays of the point."""
    cost = 0.0
    for view in range(len(center)):
        if trust[view] != 0:
            angle, _ = _angle(center, rays, view, point, x, y, z)
            scaled = (angle / robust_scale) * (angle / robust_scale)
            cost += trust[view] * scaled / (1 + scaled)
    return cost


@compiled
def _sine(a, b):
    x, y, z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    return math.sqrt(x * x + y * y + z * z)
