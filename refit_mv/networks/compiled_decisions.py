"""What the network's words mean, one frame at a time: the steps and the weights of ``networks.decisions`` as loops."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.retraction import shorten
from refit_mv.kernels.rotation import exp_into, product_into


@compiled
def assembled_frames(maps, limits, ridge, rotations, slope, proposal, update):
    """``decisions.assembled_step``."""
    frames, joints = rotations.shape[:2]
    last, bones, shapes = 3 + 3 * joints, slope.shape[1], slope.shape[2]
    out = np.empty_like(proposal)
    raw = np.empty(proposal.shape[1], np.float64)
    gram, right = np.empty((shapes, shapes)), np.empty(shapes)
    for f in range(frames):
        for r in range(3):
            raw[r] = update.move_gate[f] * proposal[f, r]
            for c in range(3):
                raw[r] += rotations[f, 0, r, c] * update.move[f, c]
        for at in range(3, last):
            raw[at] = proposal[f, at]
        for i in range(len(maps.joint)):
            present = maps.present[i]
            for c in range(3):
                at = 3 + 3 * maps.joint[i] + c
                change = (update.turn_gate[f, i] - 1) * proposal[f, at] + update.turn[f, i, c]
                raw[at] += present * change
        if proposal.shape[1] > last:
            for s in range(shapes):
                right[s] = 0.0
                for b in range(bones):
                    right[s] += slope[f, b, s] * update.bone[f, b]
                for t in range(s + 1):
                    gram[s, t] = ridge if s == t else 0.0
                    for b in range(bones):
                        gram[s, t] += slope[f, b, s] * slope[f, b, t]
            _solve_small(gram, right)
            for s in range(shapes):
                raw[last + s] = update.shape_gate[f] * proposal[f, last + s] + right[s]
        shorten(raw, joints, limits, out[f])
    return out


@compiled
def _solve_small(matrix, right):
    """A positive definite system by Cholesky's lower factor, in place."""
    size = len(right)
    for j in range(size):
        for k in range(j):
            matrix[j, j] -= matrix[j, k] * matrix[j, k]
        matrix[j, j] = math.sqrt(matrix[j, j])
        for i in range(j + 1, size):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    for i in range(size):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]


@compiled
def _stiffness(word, least, most):
    return math.exp(min(max(word, least), most))


@compiled
def held_frames(maps, units, pelvis, rotations, tangent, bone, held):
    """``decisions.layer_weights``: stiffnesses of pelvis, root, joints and bones, of both priors; targets of pelvis,
    root, tangent and bones. ``units`` are the stiffnesses of an untrained network in this order.
    """
    frames, size, bones = len(pelvis), tangent.shape[1], bone.shape[1]
    kind = pelvis.dtype
    move, root, joint = np.empty((frames, 3), kind), np.zeros((frames, 3), kind), np.zeros((frames, size), kind)
    bone_stiffness, bone_target = np.empty((frames, bones), kind), np.empty((frames, bones), kind)
    pose_prior, shape_prior = np.empty(frames, kind), np.empty(frames, kind)
    target_pelvis, target_root = np.empty((frames, 3), kind), np.empty((frames, 3, 3), kind)
    target_tangent, turn, small = tangent.copy(), np.empty((3, 3), kind), np.empty(3, kind)
    for f in range(frames):
        small[:] = 0
        for i in range(len(maps.joint)):
            if maps.present[i] == 0:
                continue
            at = 3 * maps.joint[i] - 3
            for c in range(3):
                stiff = _stiffness(held.turn_stiffness[f, i, c], -8.0, 12.0)
                if at < 0:
                    root[f, c] += units[1] * stiff
                    small[c] += held.turn[f, i, c]
                else:
                    joint[f, at + c] += units[2] * stiff
                    target_tangent[f, at + c] += held.turn[f, i, c]
        exp_into(small[0], small[1], small[2], turn)
        product_into(rotations[f, 0], turn, target_root[f])
        for r in range(3):
            move[f, r] = units[0] * _stiffness(held.move_stiffness[f, r], -8.0, 16.0)
            place = pelvis[f, r]
            for c in range(3):
                place += rotations[f, 0, r, c] * held.move[f, c]
            target_pelvis[f, r] = place
        for b in range(bones):
            stiff = _stiffness(held.bone_stiffness[f, b], -8.0, 12.0)
            bone_stiffness[f, b] = units[3] * stiff * maps.present[b + 1]
            bone_target[f, b] = bone[f, b] + held.bone[f, b]
        pose_prior[f] = units[4] * _stiffness(held.pose_prior[f], -5.0, 4.0)
        shape_prior[f] = _stiffness(held.shape_prior[f], -5.0, 4.0)
    return (
        move, root, joint, bone_stiffness, pose_prior, shape_prior, target_pelvis, target_root, target_tangent,
        bone_target
    )  # fmt: skip
