"""Posing landmarks, one frame at a time: forward kinematics and linear blend skinning."""

from typing import NamedTuple

import numpy as np

from refit_mv.kernels.compiling import compiled


class SkinArrays(NamedTuple):
    """``body.skin.LandmarkSkin`` for kernels. ``rest_mean`` and ``anchor`` (landmark offsets included) carry a leading
    axis: one body, or one for every frame. ``lever_joint[lever_start[k]:lever_start[k + 1]]`` are the joints that move
    landmark k, and ``lever_mass`` how much of it each carries.
    """

    parents: np.ndarray
    rest_mean: np.ndarray
    rest_directions: np.ndarray
    pair_landmark: np.ndarray
    pair_joint: np.ndarray
    mass: np.ndarray
    anchor: np.ndarray
    anchor_directions: np.ndarray
    anchor_pose: np.ndarray
    lever_start: np.ndarray
    lever_joint: np.ndarray
    lever_mass: np.ndarray


@compiled
def rest_frame(skin, body, shape, rest):
    """Joints of the shaped rest pose; ``body`` is the row of the skin's bodies."""
    for j in range(len(skin.parents)):
        for c in range(3):
            total = skin.rest_mean[body, j, c]
            for s in range(len(shape)):
                total += skin.rest_directions[j, c, s] * shape[s]
            rest[j, c] = total


@compiled
def pose_frame(skin, body, pelvis, rotations, shape, rest, joint, world, share, landmark):
    """Fill rest joints, joint positions, world_from_joint rotations, shares of pairs and landmark positions of one
    frame; ``body`` is the row of the skin's bodies.
    """
    joints, pairs, shapes = len(skin.parents), len(skin.mass), len(shape)
    rest_frame(skin, body, shape, rest)
    for j in range(joints):
        parent = skin.parents[j]
        if parent < 0:
            for r in range(3):
                joint[j, r] = pelvis[r]
                for c in range(3):
                    world[j, r, c] = rotations[j, r, c]
        else:
            x, y, z = rest[j, 0] - rest[parent, 0], rest[j, 1] - rest[parent, 1], rest[j, 2] - rest[parent, 2]
            for r in range(3):
                a, b, d = world[parent, r, 0], world[parent, r, 1], world[parent, r, 2]
                joint[j, r] = joint[parent, r] + a * x + b * y + d * z
                for c in range(3):
                    world[j, r, c] = a * rotations[j, 0, c] + b * rotations[j, 1, c] + d * rotations[j, 2, c]
    landmark[:] = 0
    corrected = skin.anchor_pose.shape[2] > 0
    for p in range(pairs):
        j, k, mass = skin.pair_joint[p], skin.pair_landmark[p], skin.mass[p]
        for c in range(3):
            total = skin.anchor[body, p, c] - mass * rest[j, c]
            for s in range(shapes):
                total += skin.anchor_directions[p, c, s] * shape[s]
            if corrected:
                for i in range(1, joints):
                    for r in range(3):
                        for q in range(3):
                            feature = rotations[i, r, q] - 1 if r == q else rotations[i, r, q]
                            total += skin.anchor_pose[p, c, 9 * (i - 1) + 3 * r + q] * feature
            share[p, c] = total
        x, y, z = share[p, 0], share[p, 1], share[p, 2]
        for r in range(3):
            value = world[j, r, 0] * x + world[j, r, 1] * y + world[j, r, 2] * z + mass * joint[j, r]
            share[p, r] = value
            landmark[k, r] += value


@compiled
def pose_frames(skin, pelvis, rotations, shape):
    """Landmark positions, joint positions, world_from_joint rotations and shares of all frames."""
    frames, joints, pairs = len(pelvis), len(skin.parents), len(skin.mass)
    kind = pelvis.dtype
    landmark = np.empty((frames, len(skin.lever_start) - 1, 3), kind)
    joint = np.empty((frames, joints, 3), kind)
    world = np.empty((frames, joints, 3, 3), kind)
    share = np.empty((frames, pairs, 3), kind)
    rest = np.empty((joints, 3), kind)
    for f in range(frames):
        body = f if len(skin.anchor) > 1 else 0
        pose_frame(
            skin, body, pelvis[f], rotations[f], shape[f], rest, joint[f], world[f], share[f], landmark[f]
        )  # fmt: skip
    return landmark, joint, world, share
