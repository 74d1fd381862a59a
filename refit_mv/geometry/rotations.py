"""Rotations as 3×3 matrices, and their tangent space.

Matrices act on column vectors. Perturbations are applied on the right, ``R Exp(w)``, so ``w`` lives in the rotated
(local) frame. Formulas and names follow Solà, Deray, Atchuthan, "A micro Lie theory for state estimation in robotics"
(2018).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.kernels.compiling import compiled_by
from refit_mv.kernels.rotation import exps, logs, nearest_rotations

# Below this angle Taylor series replace the closed forms: their error is angle^4/120, under 1e-18 at 1e-4.
SMALL_ANGLE = 1e-4


def hat(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Skew-symmetric matrix with ``hat(a) @ b == cross(a, b)``."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vector.shape[:-1], 3, 3)


def _sinc_terms(angle2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin(a)/a, (1-cos a)/a², (a-sin a)/a³ from a², by series near zero (and differentiable there)."""
    small = angle2 < SMALL_ANGLE**2
    safe2 = torch.where(small, torch.ones_like(angle2), angle2)
    safe = safe2.sqrt()
    sine, half_sine = safe.sin(), (0.5 * safe).sin()
    first = torch.where(small, 1 - angle2 / 6, sine / safe)
    # 1 - cos a = 2 sin²(a/2): the difference itself loses every digit in float32 below 1e-3 rad.
    second = torch.where(small, 0.5 - angle2 / 24, 2 * half_sine * half_sine / safe2)
    third = torch.where(small, 1 / 6 - angle2 / 120, (safe - sine) / (safe2 * safe))
    return first, second, third


@compiled_by(exps, flatten=1)
def exp(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of an axis-angle vector in radians (Rodrigues' formula)."""
    angle2 = (vector * vector).sum(-1)[..., None, None]
    first, second, _ = _sinc_terms(angle2)
    outer = vector[..., :, None] * vector[..., None, :]
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye + first * hat(vector) + second * (outer - angle2 * eye)


def quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion (w, x, y, z) with w >= 0; accurate for every angle, π included (Shepperd's method)."""
    m = rotation
    trace_terms = torch.stack(
        [
            1 + m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2],
            1 + m[..., 0, 0] - m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] + m[..., 1, 1] - m[..., 2, 2],
            1 - m[..., 0, 0] - m[..., 1, 1] + m[..., 2, 2],
        ],
        dim=-1,
    )
    w_x, w_y, w_z = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    x_y, x_z, y_z = (
        m[..., 1, 0] + m[..., 0, 1],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 2, 1] + m[..., 1, 2],
    )
    t0, t1, t2, t3 = trace_terms.unbind(-1)
    candidates = torch.stack(
        [
            torch.stack([t0, w_x, w_y, w_z], -1),
            torch.stack([w_x, t1, x_y, x_z], -1),
            torch.stack([w_y, x_y, t2, y_z], -1),
            torch.stack([w_z, x_z, y_z, t3], -1),
        ],
        dim=-2,
    )
    best = trace_terms.argmax(-1)[..., None, None].expand(*rotation.shape[:-2], 1, 4)
    chosen = candidates.gather(-2, best).squeeze(-2)
    chosen = chosen / chosen.norm(dim=-1, keepdim=True)
    return torch.where(chosen[..., :1] < 0, -chosen, chosen)


@compiled_by(logs, flatten=2)
def log(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis-angle vector (radians, norm at most π) of a rotation matrix; the inverse of :func:`exp`."""
    q = quaternion(rotation)
    w, v = q[..., :1], q[..., 1:]
    sine2 = (v * v).sum(-1, keepdim=True)
    small = sine2 < SMALL_ANGLE**2
    sine = torch.where(small, torch.ones_like(sine2), sine2).sqrt()
    factor = torch.where(
        small, 2 / w.clamp_min(0.5) * (1 - sine2 / (3 * w.clamp_min(0.5) ** 2)), 2 * torch.atan2(sine, w) / sine
    )
    return factor * v


def right_jacobian(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """``Exp(v + dv) = Exp(v) Exp(right_jacobian(v) dv)`` to first order."""
    angle2 = (vector * vector).sum(-1)[..., None, None]
    _, second, third = _sinc_terms(angle2)
    skew = hat(vector)
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye - second * skew + third * (skew @ skew)


def right_jacobian_inverse(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """``Log(R Exp(dw)) = Log(R) + right_jacobian_inverse(Log(R)) dw`` to first order; singular at 2π."""
    angle2 = (vector * vector).sum(-1)[..., None, None]
    small = angle2 < SMALL_ANGLE**2
    safe2 = torch.where(small, torch.ones_like(angle2), angle2)
    half = 0.5 * safe2.sqrt()
    factor = torch.where(small, 1 / 12 + angle2 / 720, (1 - half / half.tan()) / safe2)
    skew = hat(vector)
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye + 0.5 * skew + factor * (skew @ skew)


@compiled_by(nearest_rotations, flatten=2)
def _nearest(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The nearest rotation, without a gradient."""
    u, _, vh = torch.linalg.svd(matrix)
    sign = torch.linalg.det(u @ vh).sign()
    ones = torch.ones_like(sign)
    return u @ torch.diag_embed(torch.stack([ones, ones, sign], -1)) @ vh


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation closest in Frobenius norm; its determinant is always +1 (Kabsch 1978, Umeyama 1991).

    First derivatives are exact wherever the answer is unique. Those of the singular value decomposition itself are not
    finite where singular values coincide, as for a mean of equal rotations, so the gradient goes through the tangent
    space instead.
    """
    with torch.no_grad():
        nearest = _nearest(matrix)
    if not (matrix.requires_grad and torch.is_grad_enabled()):
        return nearest
    # The nearest rotation R makes S = Rᵀ M symmetric; Rᵀ dM - dMᵀ R = hat((tr(S) I - S) w) is how R Exp(w) follows a
    # change of M.
    symmetric = nearest.transpose(-1, -2) @ matrix
    skew = symmetric - symmetric.transpose(-1, -2)
    twist = torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)
    fixed = symmetric.detach()
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    trace = fixed.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    stiffness = trace * eye - fixed + torch.finfo(matrix.dtype).tiny ** 0.5 * eye
    # The twist is zero but for rounding: taking its own value away keeps the rotation as it was found.
    step = torch.linalg.solve(stiffness, twist[..., None])[..., 0]
    return nearest @ exp(step - step.detach())


def weighted_mean(
    rotations: Float[Tensor, "*batch count 3 3"], weights: Float[Tensor, "*batch count"]
) -> Float[Tensor, "*batch 3 3"]:
    """Chordal L2 mean over ``count`` (Hartley et al., "Rotation averaging", IJCV 2013), never a reflection."""
    return nearest_rotation((weights[..., None, None] * rotations).sum(-3))


def between(first: Float[Tensor, "*#batch 3 3"], second: Float[Tensor, "*#batch 3 3"]) -> Float[Tensor, "... 3"]:
    """The turn in ``first``'s own frame that leads to ``second``: ``first Exp(turn) = second``, radians."""
    return log(first.transpose(-1, -2) @ second)


def geodesic(
    first: Float[Tensor, "*batch 3 3"], second: Float[Tensor, "*batch 3 3"], share: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch 3 3"]:
    """The rotation so far (0 to 1, or beyond) on the shortest way from ``first`` to ``second``."""
    return first @ exp(share[..., None] * between(first, second))


def angle_between(first: Float[Tensor, "*batch 3 3"], second: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Geodesic distance in radians, in [0, π]."""
    return between(first, second).norm(dim=-1)


def align(source: Float[Tensor, "*batch 3"], target: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The smallest rotation that carries direction ``source`` onto direction ``target`` (any lengths but zero)."""
    a = torch.nn.functional.normalize(source, dim=-1)
    b = torch.nn.functional.normalize(target, dim=-1)
    axis = torch.linalg.cross(a, b)
    cosine = (a * b).sum(-1, keepdim=True)
    # Opposite directions have no smallest rotation: any axis across will do, so one is made from the least aligned unit
    # vector.
    least = torch.nn.functional.one_hot(a.abs().argmin(-1), 3).to(a.dtype)
    across = torch.nn.functional.normalize(torch.linalg.cross(a, least), dim=-1)
    angle = torch.atan2(axis.norm(dim=-1, keepdim=True), cosine)
    opposite = axis.norm(dim=-1, keepdim=True) < 1e-12
    # Near opposite directions the cross product is mostly rounding; only its part across the source counts.
    axis = axis - (axis * a).sum(-1, keepdim=True) * a
    unit = torch.where(opposite, across, torch.nn.functional.normalize(axis, dim=-1, eps=1e-30))
    return exp(unit * angle)


def from_6d(columns: Float[Tensor, "*batch 3 2"]) -> Float[Tensor, "*batch 3 3"]:
    """Gram–Schmidt of two columns (Zhou et al., "On the continuity of rotation representations", CVPR 2019)."""
    first = torch.nn.functional.normalize(columns[..., 0], dim=-1)
    rest = columns[..., 1] - (first * columns[..., 1]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(rest, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)


def to_6d(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 2"]:
    """The first two columns."""
    return rotation[..., :2]
