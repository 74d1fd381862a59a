"""Turning every joint onto the points of its landmarks: ``fitting.initialise``'s sweeps without tensors.

A turn of a joint turns everything below it about the joint, so the body is posed once a sweep, not once a joint.
"""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.forward_kinematics import pose_frame
from refit_mv.kernels.rotation import nearest_into, product_into, transposed_product_into


@compiled
def turn_limbs(skin, below, pelvis, rotations, shape, points, weight, stiffness, sweeps):
    """Rotations after ``sweeps`` from the root outwards. ``below[i, j]`` is 1 where joint j is i or hangs on it."""
    frames, joints, pairs = len(pelvis), len(skin.parents), len(skin.mass)
    kind = pelvis.dtype
    out = rotations.copy()
    landmark = np.empty((len(skin.lever_start) - 1, 3), kind)
    joint, rest = np.empty((joints, 3), kind), np.empty((joints, 3), kind)
    world, share = np.empty((joints, 3, 3), kind), np.empty((pairs, 3), kind)
    evidence, turn = np.empty((3, 3), kind), np.empty((3, 3), kind)
    once, local = np.empty((3, 3), kind), np.empty((3, 3), kind)
    form, axes = np.empty((4, 4)), np.empty((4, 4))
    for f in range(frames):
        body = f if len(skin.anchor) > 1 else 0
        for _ in range(sweeps):
            pose_frame(skin, body, pelvis[f], out[f], shape[f], rest, joint, world, share, landmark)
            for j in range(1, joints):
                if _pull(skin, j, joint[j], landmark, points[f], weight[f], stiffness, evidence):
                    nearest_into(evidence, turn, form, axes)
                    # R ← parentᵀ T parent R, which is parentᵀ T world.
                    product_into(turn, world[j], once)
                    transposed_product_into(world[skin.parents[j]], once, local)
                    for r in range(3):
                        for c in range(3):
                            out[f, j, r, c] = local[r, c]
                    _carry(skin, below, j, turn, joint, world, share, landmark)
    return out


@compiled
def _pull(skin, j, pivot, landmark, points, weight, stiffness, evidence):
    """Where the joint's landmarks want to turn (Wahba's problem about the joint); False where nothing was seen of
    them.
    """
    evidence[:] = 0
    for c in range(3):
        evidence[c, c] = stiffness * stiffness
    pulled = False
    for p in range(len(skin.mass)):
        if skin.pair_joint[p] != j:
            continue
        k = skin.pair_landmark[p]
        share = weight[k] * skin.mass[p]
        if not share > 0:
            continue
        reach = length = 0.0
        for c in range(3):
            source, target = landmark[k, c] - pivot[c], points[k, c] - pivot[c]
            reach += source * source
            length += target * target
        # A point much further from the joint than its landmark is an outlier of triangulation, not a long limb.
        if not math.sqrt(length) < 1.7 * math.sqrt(reach) + 0.05:
            continue
        pulled = True
        for r in range(3):
            for c in range(3):
                evidence[r, c] += share * (points[k, r] - pivot[r]) * (landmark[k, c] - pivot[c])
    return pulled


@compiled
def _carry(skin, below, j, turn, joint, world, share, landmark):
    """Turn everything below joint ``j`` about it."""
    px, py, pz = joint[j, 0], joint[j, 1], joint[j, 2]
    for i in range(j, len(skin.parents)):
        if below[j, i] > 0:
            for c in range(3):
                x, y, z = world[i, 0, c], world[i, 1, c], world[i, 2, c]
                for r in range(3):
                    world[i, r, c] = turn[r, 0] * x + turn[r, 1] * y + turn[r, 2] * z
            x, y, z = joint[i, 0] - px, joint[i, 1] - py, joint[i, 2] - pz
            joint[i, 0] = px + turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
            joint[i, 1] = py + turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z
            joint[i, 2] = pz + turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z
    for p in range(len(skin.mass)):
        if below[j, skin.pair_joint[p]] > 0:
            k, mass = skin.pair_landmark[p], skin.mass[p]
            x, y, z = share[p, 0] - mass * px, share[p, 1] - mass * py, share[p, 2] - mass * pz
            for r in range(3):
                pivot = px if r == 0 else (py if r == 1 else pz)
                value = mass * pivot + turn[r, 0] * x + turn[r, 1] * y + turn[r, 2] * z
                landmark[k, r] += value - share[p, r]
                share[p, r] = value
