"""Rotations as nine numbers, one at a time: ``geometry.rotations`` without tensors."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled

# Series below this angle (radians), as in ``geometry.rotations``.
SMALL_ANGLE = 1e-4
JACOBI_SWEEPS = 12


@compiled
def exp_into(x, y, z, out):
    """``rotations.exp``."""
    angle2 = x * x + y * y + z * z
    one = angle2 * 0 + 1
    if angle2 < SMALL_ANGLE * SMALL_ANGLE:
        first, second = one - angle2 / 6, one / 2 - angle2 / 24
    else:
        angle = math.sqrt(angle2)
        half = math.sin(angle / 2)
        first, second = math.sin(angle) / angle, 2 * half * half / angle2
    out[0, 0] = one - second * (y * y + z * z)
    out[0, 1] = second * x * y - first * z
    out[0, 2] = second * x * z + first * y
    out[1, 0] = second * x * y + first * z
    out[1, 1] = one - second * (x * x + z * z)
    out[1, 2] = second * y * z - first * x
    out[2, 0] = second * x * z - first * y
    out[2, 1] = second * y * z + first * x
    out[2, 2] = one - second * (x * x + y * y)


@compiled
def log(m):
    """``rotations.log``: Shepperd's quaternion, then twice its half angle."""
    one = m[0, 0] * 0 + 1
    t0 = one + m[0, 0] + m[1, 1] + m[2, 2]
    t1 = one + m[0, 0] - m[1, 1] - m[2, 2]
    t2 = one - m[0, 0] + m[1, 1] - m[2, 2]
    t3 = one - m[0, 0] - m[1, 1] + m[2, 2]
    w_x, w_y, w_z = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    x_y, x_z, y_z = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    if t0 >= t1 and t0 >= t2 and t0 >= t3:
        w, x, y, z = t0, w_x, w_y, w_z
    elif t1 >= t2 and t1 >= t3:
        w, x, y, z = w_x, t1, x_y, x_z
    elif t2 >= t3:
        w, x, y, z = w_y, x_y, t2, y_z
    else:
        w, x, y, z = w_z, x_z, y_z, t3
    size = one / math.sqrt(w * w + x * x + y * y + z * z)
    if w < 0:
        size = -size
    w, x, y, z = w * size, x * size, y * size, z * size
    sine2 = x * x + y * y + z * z
    if sine2 < SMALL_ANGLE * SMALL_ANGLE:
        factor = 2 / w * (one - sine2 / (3 * w * w))
    else:
        sine = math.sqrt(sine2)
        factor = 2 * math.atan2(sine, w) / sine
    return factor * x, factor * y, factor * z


@compiled
def right_jacobian_into(x, y, z, out):
    """``rotations.right_jacobian``."""
    angle2 = x * x + y * y + z * z
    one = angle2 * 0 + 1
    if angle2 < SMALL_ANGLE * SMALL_ANGLE:
        second, third = one / 2 - angle2 / 24, one / 6 - angle2 / 120
    else:
        angle = math.sqrt(angle2)
        half = math.sin(angle / 2)
        second, third = 2 * half * half / angle2, (angle - math.sin(angle)) / (angle2 * angle)
    out[0, 0] = one - third * (y * y + z * z)
    out[0, 1] = third * x * y + second * z
    out[0, 2] = third * x * z - second * y
    out[1, 0] = third * x * y - second * z
    out[1, 1] = one - third * (x * x + z * z)
    out[1, 2] = third * y * z + second * x
    out[2, 0] = third * x * z + second * y
    out[2, 1] = third * y * z - second * x
    out[2, 2] = one - third * (x * x + y * y)


@compiled
def product_into(a, b, out):
    """``a @ b``."""
    for row in range(3):
        for column in range(3):
            out[row, column] = a[row, 0] * b[0, column] + a[row, 1] * b[1, column] + a[row, 2] * b[2, column]


@compiled
def transposed_product_into(a, b, out):
    """``a.T @ b``."""
    for row in range(3):
        for column in range(3):
            out[row, column] = a[0, row] * b[0, column] + a[1, row] * b[1, column] + a[2, row] * b[2, column]


@compiled
def nearest_into(m, out, form, axes):
    """``rotations.nearest_rotation``: the quaternion that maximises ``tr(Rᵀ M)`` (Horn 1987), by Jacobi's method on its
    4×4 form. ``form`` and ``axes`` are scratch.
    """
    form[0, 0] = m[0, 0] + m[1, 1] + m[2, 2]
    form[1, 1] = m[0, 0] - m[1, 1] - m[2, 2]
    form[2, 2] = -m[0, 0] + m[1, 1] - m[2, 2]
    form[3, 3] = -m[0, 0] - m[1, 1] + m[2, 2]
    form[0, 1], form[0, 2], form[0, 3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    form[1, 2], form[1, 3], form[2, 3] = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    for row in range(4):
        for column in range(4):
            axes[row, column] = row == column
            if column < row:
                form[row, column] = form[column, row]
    size = 0.0
    for row in range(4):
        for column in range(4):
            size += form[row, column] * form[row, column]
    for _ in range(JACOBI_SWEEPS):
        off = 0.0
        for p in range(3):
            for q in range(p + 1, 4):
                off += form[p, q] * form[p, q]
        if not off > 1e-32 * size:
            break
        for p in range(3):
            for q in range(p + 1, 4):
                _turn(form, axes, p, q)
    best = 0
    for p in range(1, 4):
        if form[p, p] > form[best, best]:
            best = p
    w, x, y, z = axes[0, best], axes[1, best], axes[2, best], axes[3, best]
    norm = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    w, x, y, z = w * norm, x * norm, y * norm, z * norm
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@compiled
def _turn(form, axes, p, q):
    """One Jacobi rotation, which makes ``form[p, q]`` zero (Golub & Van Loan, "Matrix Computations", §8.5)."""
    if form[p, q] == 0.0:
        return
    tau = (form[q, q] - form[p, p]) / (2 * form[p, q])
    tangent = 1.0 / (abs(tau) + math.sqrt(1.0 + tau * tau))
    if tau < 0:
        tangent = -tangent
    cosine = 1.0 / math.sqrt(1.0 + tangent * tangent)
    sine = tangent * cosine
    for row in range(4):
        a, b = form[row, p], form[row, q]
        form[row, p], form[row, q] = cosine * a - sine * b, sine * a + cosine * b
    for column in range(4):
        a, b = form[p, column], form[q, column]
        form[p, column], form[q, column] = cosine * a - sine * b, sine * a + cosine * b
    for row in range(4):
        a, b = axes[row, p], axes[row, q]
        axes[row, p], axes[row, q] = cosine * a - sine * b, sine * a + cosine * b


@compiled
def nearest_rotations(matrices):
    """``nearest_into`` for many, in double precision inside."""
    out = np.empty_like(matrices)
    form, axes = np.empty((4, 4)), np.empty((4, 4))
    for at in range(len(matrices)):
        nearest_into(matrices[at], out[at], form, axes)
    return out


@compiled
def exps(vectors):
    """``exp_into`` for many."""
    out = np.empty((len(vectors), 3, 3), vectors.dtype)
    for at in range(len(vectors)):
        exp_into(vectors[at, 0], vectors[at, 1], vectors[at, 2], out[at])
    return out


@compiled
def logs(matrices):
    """``log`` for many."""
    out = np.empty((len(matrices), 3), matrices.dtype)
    for at in range(len(matrices)):
        out[at, 0], out[at, 1], out[at, 2] = log(matrices[at])
    return out
