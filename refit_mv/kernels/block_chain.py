"""Block-pentadiagonal matrices, factored and solved block by block.

Of every block row is kept: the inverse of its lower triangle, the block towards the next row, and the block towards the
one after. With inverses everything else is products of whole
matrices, which BLAS does three times faster than loops can.
"""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.normal_equations import PANEL, factor_frame

# OpenBLAS wakes threads of its own, which would fight with ours, for products of more multiplications than this.
ALONE = 1 << 18


@compiled
def _product(left, right, out):
    """``out = left @ right``, in stripes of rows."""
    rows, inner = left.shape
    stripe = max(1, ALONE // (inner * right.shape[1]))
    for begin in range(0, rows, stripe):
        np.dot(left[begin : begin + stripe], right, out[begin : begin + stripe])


@compiled
def _invert(upper, inverse):
    """``L⁻¹`` of ``L = upperᵀ``: forward substitution of the identity, four rows at a time."""
    size = len(upper)
    inverse[:] = 0
    for begin in range(0, size, PANEL):
        end = min(begin + PANEL, size)
        for k in range(begin, end):
            row = inverse[k, : k + 1]
            row[k] = 1
            for p in range(begin, k):
                factor, above = upper[p, k], inverse[p, : p + 1]
                for c in range(len(above)):
                    row[c] -= factor * above[c]
            scale = 1 / upper[k, k]
            for c in range(len(row)):
                row[c] *= scale
        if end - begin == PANEL:
            r0, r1, r2, r3 = inverse[begin], inverse[begin + 1], inverse[begin + 2], inverse[begin + 3]
            for i in range(end, size):
                f0, f1, f2, f3 = upper[begin, i], upper[begin + 1, i], upper[begin + 2, i], upper[begin + 3, i]
                row = inverse[i, :end]
                for c in range(len(row)):
                    row[c] -= f0 * r0[c] + f1 * r1[c] + f2 * r2[c] + f3 * r3[c]


@compiled
def _transpose(source, out):
    for m in range(len(source)):
        row = source[m]
        for c in range(len(row)):
            out[c, m] = row[c]


@compiled
def factor_chains(blocks, beside, beyond):
    """Inverse triangles, blocks towards the next row and towards the one after. ``blocks`` lie on the diagonal,
    ``beside`` and ``beyond`` are the 3×3 blocks of row t and column t + 1, t + 2. Of a chain that cannot be factored
    everything from there on is not a number.
    """
    chains, frames, size, _ = blocks.shape
    parts = beside.shape[2]
    inverse, first, second = np.empty_like(blocks), np.empty_like(blocks), np.zeros_like(blocks)
    matrix, product = np.empty((size, size), blocks.dtype), np.empty((size, size), blocks.dtype)
    # Transposes of the last blocks: BLAS is twice as fast where nothing is read across its rows.
    first_turned, second_turned = np.zeros((size, size), blocks.dtype), np.zeros((3, size, size), blocks.dtype)
    for w in range(chains):
        for t in range(frames):
            matrix[:] = blocks[w, t]
            if t > 0:
                _transpose(first[w, t - 1], first_turned)
                _product(first_turned, first[w, t - 1], product)
                matrix -= product
            if t > 1:
                _product(second_turned[(t - 2) % 3], second[w, t - 2], product)
                matrix -= product
            own = inverse[w, t]
            if factor_frame(matrix):
                _invert(matrix, own)
            else:
                own[:] = math.nan
            if t + 1 < frames:
                # The blocks towards the next frame, less what the frame before has settled between the two.
                matrix[:] = 0
                if t > 0:
                    _product(first_turned, second[w, t - 1], product)
                    matrix -= product
                for p in range(parts):
                    for r in range(3):
                        for c in range(3):
                            matrix[3 * p + r, 3 * p + c] += beside[w, t, p, r, c]
                _product(own, matrix, first[w, t])
            else:
                first[w, t] = 0
            if t + 2 < frames:
                turned = second_turned[t % 3]
                turned[:] = 0
                for m in range(size):
                    # The triangle's rows end at their own part.
                    for p in range(min(parts, m // 3 + 1)):
                        x, y, z = own[m, 3 * p], own[m, 3 * p + 1], own[m, 3 * p + 2]
                        for c in range(3):
                            value = x * beyond[w, t, p, 0, c] + y * beyond[w, t, p, 1, c] + z * beyond[w, t, p, 2, c]
                            second[w, t, m, 3 * p + c] = turned[3 * p + c, m] = value
    return inverse, first, second


@compiled
def _add_product(block, transposed, source, sign, target):
    """``target += sign · block source``, or ``blockᵀ source``, for several columns; of one column by loops, which are
    faster there.
    """
    size, columns = source.shape
    if columns > 1:
        target += sign * (np.dot(block.T, source) if transposed else np.dot(block, source))
    elif transposed:
        for m in range(size):
            factor, row = sign * source[m, 0], block[m]
            for i in range(size):
                target[i, 0] += factor * row[i]
    else:
        for m in range(size):
            row, total = block[m], target[m, 0]
            for i in range(size):
                total += sign * row[i] * source[i, 0]
            target[m, 0] = total


@compiled
def forward_chains(inverse, first, second, right):
    """``L⁻¹ b`` for right sides of several columns, (chain, frame, unknown, column)."""
    chains, frames, size, columns = right.shape
    found, rest = np.zeros_like(right), np.empty((size, columns), right.dtype)
    plus, minus = right.dtype.type(1), right.dtype.type(-1)
    for w in range(chains):
        for t in range(frames):
            rest[:] = right[w, t]
            if t > 0:
                _add_product(first[w, t - 1], True, found[w, t - 1], minus, rest)
            if t > 1:
                _add_product(second[w, t - 2], True, found[w, t - 2], minus, rest)
            _add_product(inverse[w, t], False, rest, plus, found[w, t])
    return found


@compiled
def backward_chains(inverse, first, second, right):
    """``L⁻ᵀ b`` likewise."""
    chains, frames, size, columns = right.shape
    found, rest = np.zeros_like(right), np.empty((size, columns), right.dtype)
    plus, minus = right.dtype.type(1), right.dtype.type(-1)
    for w in range(chains):
        for t in range(frames - 1, -1, -1):
            rest[:] = right[w, t]
            if t + 1 < frames:
                _add_product(first[w, t], False, found[w, t + 1], minus, rest)
            if t + 2 < frames:
                _add_product(second[w, t], False, found[w, t + 2], minus, rest)
            _add_product(inverse[w, t], True, rest, plus, found[w, t])
    return found
