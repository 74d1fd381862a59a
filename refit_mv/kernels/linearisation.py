"""Where the landmarks are, how they move with every unknown, and what the rays say of them.

Unknowns of a frame: pelvis (3), right perturbation of the root (3), tangent coordinates ``Log(meanᵀ R)`` of the other
joints (3 each), shape.
"""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.forward_kinematics import pose_frame, rest_frame
from refit_mv.kernels.rotation import log, product_into, right_jacobian_into, transposed_product_into

SHORTEST_BONE = np.float32(1e-3)
SHORTEST_DISTANCE = np.float32(1e-6)


@compiled
def motion_frame(skin, joint, world, share, tangent, with_shape, jacobian, lever, axes, moved, inner):
    """Motion of every landmark of one posed frame with the unknowns, three rows each; the last four are scratch."""
    joints, pairs, landmarks = len(skin.parents), len(skin.mass), len(skin.lever_start) - 1
    for r in range(3):
        for c in range(3):
            axes[0, r, c] = world[0, r, c]
    for j in range(1, joints):
        right_jacobian_into(tangent[3 * j - 3], tangent[3 * j - 2], tangent[3 * j - 1], inner)
        product_into(world[j], inner, axes[j])
    jacobian[:] = 0
    lever[:] = 0
    for p in range(pairs):
        k, j = skin.pair_landmark[p], skin.pair_joint[p]
        while j >= 0:
            for c in range(3):
                lever[k, j, c] += share[p, c]
            j = skin.parents[j]
    for k in range(landmarks):
        for c in range(3):
            jacobian[3 * k + c, c] = 1
        for at in range(skin.lever_start[k], skin.lever_start[k + 1]):
            j, mass = skin.lever_joint[at], skin.lever_mass[at]
            lx = lever[k, j, 0] - mass * joint[j, 0]
            ly = lever[k, j, 1] - mass * joint[j, 1]
            lz = lever[k, j, 2] - mass * joint[j, 2]
            for a in range(3):
                ax, ay, az = axes[j, 0, a], axes[j, 1, a], axes[j, 2, a]
                jacobian[3 * k, 3 + 3 * j + a] = ay * lz - az * ly
                jacobian[3 * k + 1, 3 + 3 * j + a] = az * lx - ax * lz
                jacobian[3 * k + 2, 3 + 3 * j + a] = ax * ly - ay * lx
    if with_shape:
        _shape_columns(skin, world, jacobian, moved)


@compiled
def _shape_columns(skin, world, jacobian, moved):
    """How landmarks move with shape, pelvis and rotations held."""
    shapes, last = skin.rest_directions.shape[2], 3 + 3 * len(skin.parents)
    for j in range(len(skin.parents)):
        parent = skin.parents[j]
        for r in range(3):
            for s in range(shapes):
                moved[j, r, s] = moved[parent, r, s] if parent >= 0 else 0
            if parent >= 0:
                for c in range(3):
                    turn = world[parent, r, c]
                    for s in range(shapes):
                        moved[j, r, s] += turn * (skin.rest_directions[j, c, s] - skin.rest_directions[parent, c, s])
    for p in range(len(skin.mass)):
        k, j, mass = skin.pair_landmark[p], skin.pair_joint[p], skin.mass[p]
        for r in range(3):
            row = 3 * k + r
            for s in range(shapes):
                jacobian[row, last + s] += mass * moved[j, r, s]
            for c in range(3):
                turn = world[j, r, c]
                for s in range(shapes):
                    local = skin.anchor_directions[p, c, s] - mass * skin.rest_directions[j, c, s]
                    jacobian[row, last + s] += turn * local


@compiled
def landmark_jacobians(skin, joint, world, share, tangent, with_shape):
    """``motion_frame`` for all frames."""
    frames, joints, landmarks = len(joint), len(skin.parents), len(skin.lever_start) - 1
    kind, shapes = joint.dtype, skin.rest_directions.shape[2]
    unknowns = 3 + 3 * joints + (shapes if with_shape else 0)
    jacobian = np.empty((frames, 3 * landmarks, unknowns), kind)
    lever, axes = np.empty((landmarks, joints, 3), kind), np.empty((joints, 3, 3), kind)
    moved, inner = np.empty((joints, 3, shapes), kind), np.empty((3, 3), kind)
    for f in range(frames):
        motion_frame(
            skin, joint[f], world[f], share[f], tangent[f], with_shape, jacobian[f], lever, axes, moved, inner
        )  # fmt: skip
    return jacobian


@compiled
def _tangent_frame(mean, rotations, tangent, once):
    """``Log(meanᵀ R)`` of one frame's joints but the root."""
    for j in range(1, len(rotations)):
        transposed_product_into(mean[j - 1], rotations[j], once)
        x, y, z = log(once)
        tangent[3 * j - 3], tangent[3 * j - 2], tangent[3 * j - 1] = x, y, z


@compiled
def _rays_frame(center, bearing, distance, landmark, residual, toward, gain):
    """Residuals, viewing directions and gains of one frame's rays."""
    views, landmarks = bearing.shape[:2]
    for v in range(views):
        scale = distance[v]
        for k in range(landmarks):
            x, y, z = landmark[k, 0] - center[v, 0], landmark[k, 1] - center[v, 1], landmark[k, 2] - center[v, 2]
            far = max(math.sqrt(x * x + y * y + z * z), SHORTEST_DISTANCE)
            x, y, z = x / far, y / far, z / far
            toward[v, k, 0], toward[v, k, 1], toward[v, k, 2] = x, y, z
            residual[v, k, 0] = scale * (x - bearing[v, k, 0])
            residual[v, k, 1] = scale * (y - bearing[v, k, 1])
            residual[v, k, 2] = scale * (z - bearing[v, k, 2])
            gain[v, k] = scale / far


@compiled
def bone_lengths(skin, child, parent, present, shape):
    """Logarithms of the lengths of bones from ``parent`` to ``child`` joints, and their slopes by shape; 0 where a bone
    is not ``present``.
    """
    frames, bones, shapes = len(shape), len(child), shape.shape[1]
    joints, kind = len(skin.parents), shape.dtype
    log_length, slope = np.empty((frames, bones), kind), np.empty((frames, bones, shapes), kind)
    rest = np.empty((joints, 3), kind)
    for f in range(frames):
        rest_frame(skin, f if len(skin.anchor) > 1 else 0, shape[f], rest)
        for b in range(bones):
            i, j, there = child[b], parent[b], present[b]
            x, y, z = rest[i, 0] - rest[j, 0], rest[i, 1] - rest[j, 1], rest[i, 2] - rest[j, 2]
            length = max(math.sqrt(x * x + y * y + z * z), SHORTEST_BONE)
            log_length[f, b] = math.log(length) * there
            scale = there / (length * length)
            for s in range(shapes):
                along = x * (skin.rest_directions[i, 0, s] - skin.rest_directions[j, 0, s])
                along += y * (skin.rest_directions[i, 1, s] - skin.rest_directions[j, 1, s])
                along += z * (skin.rest_directions[i, 2, s] - skin.rest_directions[j, 2, s])
                slope[f, b, s] = along * scale
    return log_length, slope


@compiled
def linearise_frames(skin, mean, with_shape, center, bearing, distance, pelvis, rotations, shape):
    """Landmarks, joints, world_from_joint rotations, shares; residuals, viewing directions, gains; tangent,
    Jacobian.
    """
    frames, views, landmarks = bearing.shape[:3]
    joints, pairs, shapes = len(skin.parents), len(skin.mass), shape.shape[1]
    kind = pelvis.dtype
    unknowns = 3 + 3 * joints + (shapes if with_shape else 0)
    landmark, joint = np.empty((frames, landmarks, 3), kind), np.empty((frames, joints, 3), kind)
    world, share = np.empty((frames, joints, 3, 3), kind), np.empty((frames, pairs, 3), kind)
    residual, toward = np.empty(bearing.shape, kind), np.empty(bearing.shape, kind)
    gain, tangent = np.empty((frames, views, landmarks), kind), np.empty((frames, 3 * joints - 3), kind)
    jacobian = np.empty((frames, 3 * landmarks, unknowns), kind)
    rest, lever = np.empty((joints, 3), kind), np.empty((landmarks, joints, 3), kind)
    axes, moved, once = np.empty((joints, 3, 3), kind), np.empty((joints, 3, shapes), kind), np.empty((3, 3), kind)
    for f in range(frames):
        body = f if len(skin.anchor) > 1 else 0
        pose_frame(skin, body, pelvis[f], rotations[f], shape[f], rest, joint[f], world[f], share[f], landmark[f])
        _rays_frame(center[f], bearing[f], distance[f], landmark[f], residual[f], toward[f], gain[f])
        _tangent_frame(mean, rotations[f], tangent[f], once)
        motion_frame(
            skin, joint[f], world[f], share[f], tangent[f], with_shape, jacobian[f], lever, axes, moved, once
        )  # fmt: skip
    return landmark, joint, world, share, residual, toward, gain, tangent, jacobian
