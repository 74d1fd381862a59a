"""How far a step may go: ``learned.system.limited`` without tensors."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled


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
