"""SO(3) as a group: axioms, round trips and derivatives, near the identity, near half a turn, in both precisions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from refit_mv.geometry import rotations as so3

ANGLES = (0.0, 1e-12, 1e-8, 9.9e-5, 1.01e-4, 1e-3, 0.5, 2.0, 3.0, math.pi - 1e-3, math.pi - 1e-8)
BATCHES = ((), (1,), (4,), (2, 3))
# float32 carries 7 digits and a rotation product loses about one of them; float64 likewise of its 16.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14}


def vectors(angle: float, batch: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    axis = torch.nn.functional.normalize(torch.randn(*batch, 3, generator=generator, dtype=torch.float64), dim=-1)
    return (axis * angle).to(dtype)


def rotations(batch: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return so3.nearest_rotation(torch.randn(*batch, 3, 3, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("angle", ANGLES)
def test_exp_gives_rotations_and_log_takes_them_back(angle: float, batch: tuple[int, ...], dtype: torch.dtype) -> None:
    vector = vectors(angle, batch, dtype)
    rotation = so3.exp(vector)
    assert rotation.shape == (*batch, 3, 3)
    assert rotation.dtype == dtype
    eye = torch.eye(3, dtype=dtype)
    torch.testing.assert_close(rotation.mT @ rotation, eye.expand_as(rotation), atol=TOLERANCE[dtype], rtol=0)
    torch.testing.assert_close(
        torch.linalg.det(rotation), torch.ones(batch, dtype=dtype), atol=TOLERANCE[dtype], rtol=0
    )
    back = so3.log(rotation)
    if (
        math.pi - angle < torch.finfo(dtype).eps
    ):  # half a turn in this precision: both signs of the axis are the rotation
        back = back * (back * vector).sum(-1, keepdim=True).sign()
    # Rounding of the matrix entries by eps moves the recovered angle by a few eps, near half a turn too.
    torch.testing.assert_close(back, vector, atol=5 * TOLERANCE[dtype], rtol=0)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_exp_agrees_with_the_matrix_exponential(dtype: torch.dtype) -> None:
    for angle in ANGLES:
        vector = vectors(angle, (5,), dtype, seed=1)
        expected = torch.linalg.matrix_exp(so3.hat(vector.double()))
        torch.testing.assert_close(so3.exp(vector).double(), expected, atol=TOLERANCE[dtype], rtol=0)


def test_half_a_turn_exactly() -> None:
    axes = torch.nn.functional.normalize(
        torch.randn(50, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64), dim=-1
    )
    # Half a turn by definition: 2 a aᵀ - I, with no sine in it.
    half_turns = 2 * axes[:, :, None] * axes[:, None, :] - torch.eye(3, dtype=torch.float64)
    vector = so3.log(half_turns)
    torch.testing.assert_close(vector.norm(dim=-1), torch.full((50,), math.pi, dtype=torch.float64), atol=1e-14, rtol=0)
    # The sign of the axis is free at half a turn; its direction is not.
    torch.testing.assert_close(
        (vector / math.pi * axes).sum(-1).abs(), torch.ones(50, dtype=torch.float64), atol=1e-14, rtol=0
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch", BATCHES)
def test_group_axioms(batch: tuple[int, ...], dtype: torch.dtype) -> None:
    a, b, c = (rotations(batch, dtype, seed) for seed in (1, 2, 3))
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close((a @ b) @ c, a @ (b @ c), atol=tolerance, rtol=0)
    torch.testing.assert_close(so3.exp(so3.log(a @ b)), a @ b, atol=5 * tolerance, rtol=0)
    torch.testing.assert_close(so3.exp(-so3.log(a)), a.mT, atol=5 * tolerance, rtol=0)
    # A conjugated rotation is the rotation about the turned axis.
    v = vectors(0.7, batch, dtype)
    turned = (a @ v[..., None])[..., 0]
    torch.testing.assert_close(so3.exp(turned), a @ so3.exp(v) @ a.mT, atol=5 * tolerance, rtol=0)


def test_hat_is_the_cross_product() -> None:
    a, b = torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close((so3.hat(a) @ b[..., None])[..., 0], torch.linalg.cross(a, b))


@pytest.mark.parametrize("angle", [angle for angle in ANGLES if angle < 3.1])
def test_right_jacobian_against_central_differences(angle: float) -> None:
    vector = vectors(angle, (4,), torch.float64)
    step = 1e-5
    for axis in range(3):
        delta = torch.zeros(3, dtype=torch.float64)
        delta[axis] = step
        there, back = so3.exp(vector + delta), so3.exp(vector - delta)
        numeric = so3.log(back.mT @ there) / (2 * step)
        # Central differences err by step² ~ 1e-10 and by rounding eps/step ~ 1e-11.
        torch.testing.assert_close(numeric, so3.right_jacobian(vector)[..., axis], atol=1e-9, rtol=0)


@pytest.mark.parametrize("angle", ANGLES)
def test_right_jacobian_inverse_inverts(angle: float) -> None:
    vector = vectors(angle, (4,), torch.float64)
    product = so3.right_jacobian_inverse(vector) @ so3.right_jacobian(vector)
    # The closed form's last factor is a difference that loses half the digits just above the series' range.
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=1e-12, rtol=0)


@pytest.mark.parametrize("angle", [1e-4, 2e-4, 1e-3, 1e-2, 0.1, 1.0])
def test_right_jacobian_keeps_float32_precision_at_small_angles(angle: float) -> None:
    vector = vectors(angle, (50,), torch.float32)
    exact = so3.right_jacobian(vector.double())
    # Written with 1 - cos(a) this errs by 3e-4 at 2e-4 rad.
    torch.testing.assert_close(so3.right_jacobian(vector).double(), exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-5, 1e-3, 1.0, 3.0])
def test_gradients_of_exp_and_log_are_exact(angle: float) -> None:
    vector = vectors(angle, (2,), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(so3.exp, (vector,))
    assert torch.autograd.gradcheck(lambda v: so3.log(so3.exp(v)), (vector,))


def test_quaternion_is_unit_and_gives_the_rotation_back() -> None:
    rotation = rotations((200,), torch.float64, 5)
    w, x, y, z = so3.quaternion(rotation).unbind(-1)
    torch.testing.assert_close(w * w + x * x + y * y + z * z, torch.ones(200, dtype=torch.float64))
    assert (w >= 0).all()
    torch.testing.assert_close(rotation[:, 2, 1] - rotation[:, 1, 2], 4 * w * x, atol=1e-14, rtol=0)


def test_nearest_rotation_is_nearest_and_never_a_reflection() -> None:
    generator = torch.Generator().manual_seed(8)
    matrix = torch.randn(300, 3, 3, generator=generator, dtype=torch.float64)
    nearest = so3.nearest_rotation(matrix)
    assert (torch.linalg.det(matrix) < 0).sum() > 100, (
        "half of random matrices are reflections: the case must be in the test"
    )
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(300, dtype=torch.float64))
    best = (nearest - matrix).flatten(1).norm(dim=1)
    for seed in range(20):
        other = nearest @ so3.exp(
            0.1 * torch.randn(300, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        )
        assert ((other - matrix).flatten(1).norm(dim=1) >= best).all()


def test_gradient_of_nearest_rotation() -> None:
    generator = torch.Generator().manual_seed(8)
    matrix = torch.randn(6, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(so3.nearest_rotation, (matrix,))


def test_gradient_of_the_mean_of_equal_rotations_is_finite() -> None:
    # All singular values are equal here, where the derivative of the decomposition itself is infinite.
    equal = rotations((), torch.float64, 2).expand(4, 3, 3).clone().requires_grad_()
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(so3.weighted_mean, (equal, weight))


def test_weighted_mean() -> None:
    center = rotations((), torch.float64, 4)
    offsets = vectors(0.3, (5,), torch.float64)
    symmetric = torch.cat([center @ so3.exp(offsets), center @ so3.exp(-offsets)])
    torch.testing.assert_close(so3.weighted_mean(symmetric, torch.ones(10, dtype=torch.float64)), center)
    heavy = torch.tensor([1.0] + 9 * [0.0], dtype=torch.float64)
    torch.testing.assert_close(so3.weighted_mean(symmetric, heavy), symmetric[0])


def test_angle_between() -> None:
    a = rotations((7,), torch.float64, 1)
    for angle in ANGLES:
        between = so3.angle_between(a, a @ so3.exp(vectors(angle, (7,), torch.float64)))
        torch.testing.assert_close(between, torch.full((7,), angle, dtype=torch.float64), atol=1e-14, rtol=1e-7)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("gap", [0.0, 1e-13, 1e-9, 1e-7, 1e-5, 1e-2, 1.0])
def test_align_carries_source_onto_target(gap: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(100, 3, generator=generator, dtype=dtype)
    unit = torch.nn.functional.normalize(source, dim=-1)
    across = torch.nn.functional.normalize(
        torch.linalg.cross(unit, torch.randn(100, 3, generator=generator, dtype=dtype)), dim=-1
    )
    for sign in (1, -1):  # gap away from the same and from the opposite direction
        target = sign * (unit * math.cos(gap) + across * math.sin(gap))
        rotation = so3.align(source, 2.5 * target)
        carried = (rotation @ unit[..., None])[..., 0]
        # Below 1e-12 rad the two count as parallel: that, or a few units in the last place.
        torch.testing.assert_close(
            carried, torch.nn.functional.normalize(target, dim=-1), atol=max(5 * TOLERANCE[dtype], 1e-12), rtol=0
        )


def test_six_numbers_there_and_back() -> None:
    rotation = rotations((20,), torch.float64, 9)
    torch.testing.assert_close(so3.from_6d(so3.to_6d(rotation)), rotation)
    skewed = so3.from_6d(torch.randn(20, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(skewed), torch.ones(20, dtype=torch.float64))


@settings(max_examples=60)
@given(st.lists(st.floats(-3.0, 3.0, allow_subnormal=False), min_size=3, max_size=3))
def test_any_vector_within_half_a_turn_comes_back(values: list[float]) -> None:
    vector = torch.tensor(values, dtype=torch.float64)
    length = float(vector.norm())
    if length >= math.pi - 1e-3:
        vector = vector * (3.0 / length)
    torch.testing.assert_close(so3.log(so3.exp(vector)), vector, atol=1e-13, rtol=0)
