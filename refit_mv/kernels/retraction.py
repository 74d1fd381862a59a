"""Steps in the unknowns: how far one may go, and where it leads."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.rotation import exp_into, product_into


@compiled
def shorten(step, joints, limits, out):
    """Shorten pelvis, each joint and shape where they are longer than ``limits`` (metres, radians, shape)."""
    for part in range(joints + 1):
        at = 3 * part
        x, y, z = step[at], step[at + 1], step[at + 2]
        size = math.sqrt(x * x + y * y + z * z) + 1e-9
        factor = min((limits[0] if part == 0 else limits[1]) / size, 1.0)
        out[at], out[at + 1], out[at + 2] = x * factor, y * factor, z * factor
    for at in range(3 + 3 * joints, len(step)):
        out[at] = min(max(step[at], -limits[2]), limits[2])


@compiled
def shortened_frames(step, joints, limits):
    """``shorten`` for all frames."""
    out = np.empty_like(step)
    for f in range(len(step)):
        shorten(step[f], joints, limits, out[f])
    return out


@compiled
def moved_frames(mean, pelvis, rotations, shape, tangent, step):
    """Parameters after a step: pelvis and shape add, the root turns on the right, other joints in the tangent space of
    their ``mean``.
    """
    frames, joints = rotations.shape[:2]
    last, kind = 3 + 3 * joints, pelvis.dtype
    new_pelvis, new_rotations, new_shape = np.empty_like(pelvis), np.empty_like(rotations), shape.copy()
    turn = np.empty((3, 3), kind)
    for f in range(frames):
        short = step[f]
        for c in range(3):
            new_pelvis[f, c] = pelvis[f, c] + short[c]
        exp_into(short[3], short[4], short[5], turn)
        product_into(rotations[f, 0], turn, new_rotations[f, 0])
        for j in range(1, joints):
            at = 3 * j
            x, y, z = (
                tangent[f, at - 3] + short[3 + at],
                tangent[f, at - 2] + short[4 + at],
                tangent[f, at - 1] + short[5 + at],
            )
            exp_into(x, y, z, turn)
            product_into(mean[j - 1], turn, new_rotations[f, j])
        for s in range(step.shape[1] - last):
            new_shape[f, s] += short[last + s]
    return new_pelvis, new_rotations, new_shape
