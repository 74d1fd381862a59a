"""SE(3) axioms, and the naming convention: neighbouring frame names cancel."""

import pytest
import torch

from refit_mv.geometry import rotations
from refit_mv.geometry.transforms import RigidTransform

BATCHES = ((), (4,), (2, 3))


def random_transform(seed: int, batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float64) -> RigidTransform:
    generator = torch.Generator().manual_seed(seed)
    vector, translation = torch.randn(2, *batch, 3, generator=generator, dtype=torch.float64).to(dtype)
    return RigidTransform(rotations.exp(vector), translation)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", BATCHES)
def test_group_axioms(batch: tuple[int, ...], dtype: torch.dtype) -> None:
    a, b, c = (random_transform(seed, batch, dtype) for seed in range(3))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13  # a few units in the last place of numbers near 3
    torch.testing.assert_close(((a @ b) @ c).matrix(), (a @ (b @ c)).matrix(), atol=tolerance, rtol=0)
    eye = torch.eye(4, dtype=dtype).expand(*batch, 4, 4)
    torch.testing.assert_close((a @ a.inverse()).matrix(), eye, atol=tolerance, rtol=0)
    torch.testing.assert_close((a.inverse() @ a).matrix(), eye, atol=tolerance, rtol=0)
    torch.testing.assert_close((a @ RigidTransform.identity(dtype)).matrix(), a.matrix(), atol=0, rtol=0)
    torch.testing.assert_close((a @ b).matrix(), a.matrix() @ b.matrix(), atol=tolerance, rtol=0)


def test_names_cancel() -> None:
    """``p_b = b_from_a.apply(p_a)`` and ``c_from_a = c_from_b @ b_from_a``: the convention that all names in the
    project rest on.
    """
    b_from_a, c_from_b = random_transform(1), random_transform(2)
    p_a = torch.randn(10, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    p_b = b_from_a.apply(p_a)
    p_c = c_from_b.apply(p_b)
    c_from_a = c_from_b @ b_from_a
    torch.testing.assert_close(c_from_a.apply(p_a), p_c)
    a_from_c = c_from_a.inverse()
    torch.testing.assert_close(a_from_c.apply(p_c), p_a)
    # The other order is another transform: the test would notice a swap.
    assert not torch.allclose((b_from_a @ c_from_b).apply(p_a), p_c)


def test_rotation_comes_before_translation() -> None:
    quarter = rotations.exp(torch.tensor([0.0, 0.0, torch.pi / 2], dtype=torch.float64))
    moved = RigidTransform(quarter, torch.tensor([10.0, 0.0, 0.0], dtype=torch.float64))
    at = moved.apply(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(at, torch.tensor([10.0, 1.0, 0.0], dtype=torch.float64))


def test_batches_broadcast_against_points() -> None:
    transform = random_transform(5, (4, 1))
    points = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = transform.apply(points)
    assert moved.shape == (4, 7, 3)
    alone = RigidTransform(transform.rotation[2, 0], transform.translation[2, 0]).apply(points)
    torch.testing.assert_close(moved[2], alone)
