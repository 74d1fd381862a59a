"""Normal equations of single frames: what rays and quadratic terms sum to, Cholesky's factor of it, and the solution.

A landmark moves with the joints above it alone, a quarter of the unknowns, and only their rows are touched. Matrices
lie in their upper triangle, row by row: H = Uᵀ U. Inner loops run from 0 over slices of rows: only then does the
compiler know that no index is negative, and makes four times faster vector code.
"""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.rotation import log, transposed_product_into

PANEL = 4
# What a frame that cannot be factored gets as its factor's diagonal: it stays where it is.
STAY = 1e6
# The least that every diagonal is damped by.
LEAST_DAMPING = 1e-2
# Sums in the inner loops stay in single precision.
ZERO, ONE = np.float32(0), np.float32(1)


# Records of tensors for callers, of arrays inside loops.


class PriorArrays(NamedTuple):
    """A Gaussian's precision over the tangent coordinates of a pose, and their limits."""

    precision: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class RayRows(NamedTuple):
    """Rays and how they move with the unknowns: Jacobian of the landmarks (three rows each), viewing directions,
    residuals, gains.
    """

    jacobian: Tensor
    toward: Tensor
    residual: Tensor
    gain: Tensor


class PriorScales(NamedTuple):
    """How much the priors on pose and shape count in each frame."""

    pose: Tensor
    shape: Tensor


class Estimate(NamedTuple):
    """Where frames are linearised, with their tangent coordinates, log bone lengths and slopes of these by shape."""

    pelvis: Tensor
    rotations: Tensor
    shape: Tensor
    tangent: Tensor
    bone: Tensor
    slope: Tensor


class HoldArrays(NamedTuple):
    """Stiffnesses that hold an estimate, and where: pelvis (in the root's frame), root, tangent coordinates, and log
    bone lengths.
    """

    pelvis: Tensor
    root: Tensor
    joint: Tensor
    bone: Tensor
    target_pelvis: Tensor
    target_root: Tensor
    target_tangent: Tensor
    bone_target: Tensor


@compiled
def _evidence_frame(skin, jacobian, toward, residual, gain, weight, hessian, gradient, information, pull, rows):
    """What the rays of one frame sum to; ``rows`` is scratch for the unknowns that move a landmark."""
    views, landmarks = weight.shape
    unknowns = len(gradient)
    shape_begin = 3 + 3 * len(skin.parents)
    hessian[:] = 0
    gradient[:] = 0
    for k in range(landmarks):
        a00 = a01 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = ZERO
        for v in range(views):
            w = weight[v, k]
            if w == 0:
                continue
            x, y, z = toward[v, k, 0], toward[v, k, 1], toward[v, k, 2]
            r0, r1, r2 = residual[v, k, 0], residual[v, k, 1], residual[v, k, 2]
            pulled = w * gain[v, k]
            scale = pulled * gain[v, k]
            along = x * r0 + y * r1 + z * r2
            a00 += scale - scale * x * x
            a11 += scale - scale * y * y
            a22 += scale - scale * z * z
            a01 -= scale * x * y
            a02 -= scale * x * z
            a12 -= scale * y * z
            b0 += pulled * (r0 - along * x)
            b1 += pulled * (r1 - along * y)
            b2 += pulled * (r2 - along * z)
        information[k, 0, 0], information[k, 1, 1], information[k, 2, 2] = a00, a11, a22
        information[k, 0, 1] = information[k, 1, 0] = a01
        information[k, 0, 2] = information[k, 2, 0] = a02
        information[k, 1, 2] = information[k, 2, 1] = a12
        pull[k, 0], pull[k, 1], pull[k, 2] = b0, b1, b2
        if a00 + a11 + a22 == 0:
            continue
        count = 3
        rows[0], rows[1], rows[2] = 0, 1, 2
        for at in range(skin.lever_start[k], skin.lever_start[k + 1]):
            for c in range(3):
                rows[count] = 3 + 3 * skin.lever_joint[at] + c
                count += 1
        for s in range(shape_begin, unknowns):
            rows[count] = s
            count += 1
        for at in range(count):
            i = rows[at]
            j0, j1, j2 = jacobian[3 * k, i:], jacobian[3 * k + 1, i:], jacobian[3 * k + 2, i:]
            x, y, z = j0[0], j1[0], j2[0]
            gradient[i] += x * b0 + y * b1 + z * b2
            w0 = a00 * x + a01 * y + a02 * z
            w1 = a01 * x + a11 * y + a12 * z
            w2 = a02 * x + a12 * y + a22 * z
            row = hessian[i, i:]
            for c in range(len(row)):
                row[c] += w0 * j0[c] + w1 * j1[c] + w2 * j2[c]


@compiled
def _priors_frame(prior, tangent, shape, pose_prior, shape_prior, limit_weight, hessian, gradient):
    """Pose prior, joint limits and shape prior of one frame."""
    size, unknowns = len(tangent), len(gradient)
    for i in range(size):
        row, precision = hessian[6 + i, 6 + i :], prior.precision[i, i:]
        for c in range(size - i):
            row[c] += pose_prior * precision[c]
        precision = prior.precision[i]
        total = ZERO
        for c in range(size):
            total += precision[c] * tangent[c]
        excess = max(tangent[i] - prior.upper[i], ZERO) + min(tangent[i] - prior.lower[i], ZERO)
        gradient[6 + i] += pose_prior * total + limit_weight * excess
        if excess != 0:
            row[0] += limit_weight
    for s in range(unknowns - 6 - size):
        at = 6 + size + s
        hessian[at, at] += shape_prior
        gradient[at] += shape_prior * shape[s]


@compiled
def factor_frame(matrix):
    """Upper Cholesky factor in place, four rows at a time; False where there is none."""
    size = len(matrix)
    for begin in range(0, size, PANEL):
        end = min(begin + PANEL, size)
        for k in range(begin, end):
            row = matrix[k, k:]
            for p in range(begin, k):
                above = matrix[p, k:]
                factor = above[0]
                for c in range(len(row)):
                    row[c] -= factor * above[c]
            if not row[0] > 0:
                return False
            scale = ONE / math.sqrt(row[0])
            for c in range(len(row)):
                row[c] *= scale
        if end - begin == PANEL:
            for i in range(end, size):
                row = matrix[i, i:]
                u0, u1 = matrix[begin, i:], matrix[begin + 1, i:]
                u2, u3 = matrix[begin + 2, i:], matrix[begin + 3, i:]
                f0, f1, f2, f3 = u0[0], u1[0], u2[0], u3[0]
                for c in range(len(row)):
                    row[c] -= f0 * u0[c] + f1 * u1[c] + f2 * u2[c] + f3 * u3[c]
    return True


@compiled
def _solve_frame(hessian, gradient, damping, step):
    """One damped step of one frame: the factor takes the matrix's place, and what lies below the diagonal is
    cleared.
    """
    size = len(gradient)
    mean = (hessian[0, 0] + hessian[1, 1] + hessian[2, 2]) / 3
    for i in range(size):
        # The pelvis is damped alike in all directions: anything else would depend on how the world's axes lie.
        hessian[i, i] += damping * (mean if i < 3 else hessian[i, i]) + LEAST_DAMPING
        step[i] = -gradient[i]
    good = factor_frame(hessian)
    for i in range(size):
        row = hessian[i]
        for c in range(size if not good else i):
            row[c] = 0
        if not good:
            row[i] = STAY
    for k in range(size):
        value = step[k] / hessian[k, k]
        step[k] = value
        row, rest = hessian[k, k + 1 :], step[k + 1 :]
        for c in range(len(row)):
            rest[c] -= value * row[c]
    for k in range(size - 1, -1, -1):
        row, rest = hessian[k, k + 1 :], step[k + 1 :]
        value = ZERO
        for c in range(len(row)):
            value += row[c] * rest[c]
        step[k] = (step[k] - value) / hessian[k, k]
    for i in range(size):
        if not math.isfinite(step[i]):
            step[i] = 0


@compiled
def _limit_weight(sigma, like):
    return like.dtype.type(1 / (sigma * sigma))


@compiled
def normal_matrices(skin, prior, rows, weight, tangent, shape, scales, limit):
    """Matrices and gradients of rays with these weights (1/m²), pose prior, joint limits and shape prior."""
    frames, _, landmarks = rows.gain.shape
    unknowns, kind = rows.jacobian.shape[2], rows.jacobian.dtype
    hessian, gradient = np.empty((frames, unknowns, unknowns), kind), np.empty((frames, unknowns), kind)
    information, pull = np.empty((landmarks, 3, 3), kind), np.empty((landmarks, 3), kind)
    moving = np.empty(unknowns, np.int64)
    for f in range(frames):
        _evidence_frame(
            skin, rows.jacobian[f], rows.toward[f], rows.residual[f], rows.gain[f], weight[f], hessian[f], gradient[f],
            information, pull, moving,
        )  # fmt: skip
        _priors_frame(
            prior, tangent[f], shape[f], scales.pose[f], scales.shape[f], _limit_weight(limit, gradient), hessian[f],
            gradient[f],
        )  # fmt: skip
        _mirror_upper(hessian[f])
    return hessian, gradient


@compiled
def _mirror_upper(matrix):
    for i in range(len(matrix)):
        for c in range(i):
            matrix[i, c] = matrix[c, i]


@compiled
def robust_steps(skin, prior, rows, base, tangent, shape, settings, keep_factor):
    """Damped Gauss–Newton steps with Geman–McClure weights: steps, the evidence's diagonals, gradients, weights,
    information and pulls of landmarks, and factors (upper) where they are to be kept. One matrix in the cache is twice
    as fast as all in memory. ``base`` are weights before the kernel, 1/m²; ``settings`` are the kernel (metres), the
    weights of pose and shape prior, the limits' sigma, and the damping.
    """
    kernel, pose_prior, shape_prior, limit, damping = settings
    frames, views, landmarks = rows.gain.shape
    unknowns, kind = rows.jacobian.shape[2], rows.jacobian.dtype
    step, diagonal = np.empty((frames, unknowns), kind), np.empty((frames, unknowns), kind)
    gradient, weight = np.empty((frames, unknowns), kind), np.empty(rows.gain.shape, kind)
    factor = np.empty((frames if keep_factor else 1, unknowns, unknowns), kind)
    information, pull = np.empty((frames, landmarks, 3, 3), kind), np.empty((frames, landmarks, 3), kind)
    moving = np.empty(unknowns, np.int64)
    for f in range(frames):
        matrix = factor[f if keep_factor else 0]
        for v in range(views):
            for k in range(landmarks):
                x, y, z = rows.residual[f, v, k, 0], rows.residual[f, v, k, 1], rows.residual[f, v, k, 2]
                keeps = 1 + (x * x + y * y + z * z) / (kernel * kernel)
                weight[f, v, k] = base[f, v, k] / (keeps * keeps)
        _evidence_frame(
            skin, rows.jacobian[f], rows.toward[f], rows.residual[f], rows.gain[f], weight[f], matrix, gradient[f],
            information[f], pull[f], moving,
        )  # fmt: skip
        for i in range(unknowns):
            diagonal[f, i] = matrix[i, i]
        _priors_frame(
            prior, tangent[f], shape[f], gradient.dtype.type(pose_prior), gradient.dtype.type(shape_prior),
            _limit_weight(limit, gradient), matrix, gradient[f],
        )  # fmt: skip
        _solve_frame(matrix, gradient[f], damping, step[f])
    return step, diagonal, gradient, weight, information, pull, factor


@compiled
def _holds_frame(f, held, root, pelvis, tangent, bone, slope, hessian, gradient, pair):
    """What holds the estimate of frame ``f``: pelvis (in the root's frame), root, joints and bones."""
    size, unknowns = len(tangent), len(gradient)
    for r in range(3):
        for c in range(3):
            hold = ZERO
            for a in range(3):
                hold += root[r, a] * held.pelvis[f, a] * root[c, a]
            if c >= r:
                hessian[r, c] += hold
            gradient[r] += hold * (pelvis[c] - held.target_pelvis[f, c])
    transposed_product_into(held.target_root[f], root, pair)
    gap = log(pair)
    for c in range(3):
        hessian[3 + c, 3 + c] += held.root[f, c]
        gradient[3 + c] += held.root[f, c] * gap[c]
    for i in range(size):
        hessian[6 + i, 6 + i] += held.joint[f, i]
        gradient[6 + i] += held.joint[f, i] * (tangent[i] - held.target_tangent[f, i])
    begin = 6 + size
    for b in range(len(bone)):
        stiffness = held.bone[f, b]
        pulled = stiffness * (bone[b] - held.bone_target[f, b])
        for s in range(unknowns - begin):
            gradient[begin + s] += pulled * slope[b, s]
            stiff = stiffness * slope[b, s]
            row = hessian[begin + s]
            for t in range(s, unknowns - begin):
                row[begin + t] += stiff * slope[b, t]


@compiled
def weighted_steps(skin, prior, held, rows, weight, at, scales, settings):
    """Systems of rays, priors and holds with exactly these weights, and their solutions where the damping is not
    negative: matrices (or upper factors), gradients, steps. ``settings`` are the limits' sigma and the damping.
    """
    limit, damping = settings
    frames, _, landmarks = rows.gain.shape
    unknowns, kind = rows.jacobian.shape[2], rows.jacobian.dtype
    step, gradient = np.zeros((frames, unknowns), kind), np.empty((frames, unknowns), kind)
    hessian = np.empty((frames, unknowns, unknowns), kind)
    information, pull = np.empty((landmarks, 3, 3), kind), np.empty((landmarks, 3), kind)
    moving, pair = np.empty(unknowns, np.int64), np.empty((3, 3), kind)
    for f in range(frames):
        _evidence_frame(
            skin, rows.jacobian[f], rows.toward[f], rows.residual[f], rows.gain[f], weight[f], hessian[f], gradient[f],
            information, pull, moving,
        )  # fmt: skip
        _priors_frame(
            prior, at.tangent[f], at.shape[f], scales.pose[f], scales.shape[f], _limit_weight(limit, gradient),
            hessian[f], gradient[f],
        )  # fmt: skip
        _holds_frame(
            f, held, at.rotations[f, 0], at.pelvis[f], at.tangent[f], at.bone[f], at.slope[f], hessian[f], gradient[f],
            pair,
        )  # fmt: skip
        if damping >= 0:
            _solve_frame(hessian[f], gradient[f], damping, step[f])
        else:
            _mirror_upper(hessian[f])
    return hessian, gradient, step
