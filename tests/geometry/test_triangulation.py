"""Triangulation: exact without noise, unmoved by one bad view or the views' order, finite with next to nothing."""

import numpy as np
import pytest
import torch
from torch import Tensor

from refit_mv.geometry import rotations
from refit_mv.geometry.triangulation import intersect, triangulate


def ring(count: int, radius: float = 4.0, height: float = 1.5) -> Tensor:
    angle = torch.arange(count, dtype=torch.float64) * (2 * torch.pi / count) + 0.3
    wave = 0.4 * torch.sin(3 * angle)  # keeps opposite cameras from lying in one line with the middle
    return torch.stack([radius * angle.cos(), radius * angle.sin(), height + wave], -1)


def scene(count: int = 30, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64) * 0.5 + torch.tensor(
        [0.0, 0.0, 1.0], dtype=torch.float64
    )


def rays(center: Tensor, points: Tensor) -> Tensor:
    return torch.nn.functional.normalize(points[None] - center[:, None], dim=-1)


def tilted(direction: Tensor, radians: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(direction.shape, generator=generator, dtype=direction.dtype)
    across = torch.nn.functional.normalize(torch.linalg.cross(direction, random), dim=-1)
    return direction * np.cos(radians) + across * np.sin(radians)


@pytest.mark.parametrize("views", [2, 3, 4, 8])
def test_exact_without_noise(views: int) -> None:
    center, points = ring(views), scene()
    result = triangulate(center, rays(center, points), torch.ones(views, len(points), dtype=torch.float64))
    torch.testing.assert_close(
        result.points, points, atol=1e-7, rtol=0
    )  # metres: the floor of the linear system moves points by less
    assert (result.support == views).all()
    assert result.residual.max() < 1e-7


def test_batches_are_independent() -> None:
    center = ring(4)
    first, second = scene(seed=1), scene(seed=2)
    direction = torch.stack([rays(center, first), rays(center, second)])
    weight = torch.ones(2, 4, len(first), dtype=torch.float64)
    together = triangulate(center, direction, weight).points
    torch.testing.assert_close(together[0], first, atol=1e-7, rtol=0)
    torch.testing.assert_close(together[1], second, atol=1e-7, rtol=0)


@pytest.mark.parametrize("bad", range(4))
@pytest.mark.parametrize("radians", [0.15, 0.5, 2.0])
def test_one_gross_outlier_among_four_views_does_not_count(bad: int, radians: float) -> None:
    center, points = ring(4), scene()
    direction = rays(center, points)
    direction[bad] = tilted(direction[bad], radians, seed=bad)
    weight = torch.ones(4, len(points), dtype=torch.float64)
    result = triangulate(center, direction, weight)
    error = (result.points - points).norm(dim=-1)
    plain = (intersect(center, direction, weight) - points).norm(dim=-1)
    # Geman-McClure leaves the outlier (0.02 / 0.15)⁴ = 3e-4 of its weight, times its 0.6 m at most.
    assert error.max() < 1e-3
    assert plain.median() > 0.1, "the outlier must hurt where nothing guards against it"
    assert (result.support == 3).float().mean() > 0.9


@pytest.mark.parametrize("bad", range(3))
def test_one_gross_outlier_among_three_views_loses_the_vote(bad: int) -> None:
    """Reweighting from the mean of three rays may settle on a wrong pair; starting from the pair that agrees best does
    not.
    """
    center, points = ring(3), scene(100)
    direction = rays(center, points)
    direction[bad] = tilted(direction[bad], 0.15, seed=bad)
    result = triangulate(center, direction, torch.ones(3, len(points), dtype=torch.float64))
    error = (result.points - points).norm(dim=-1)
    # A wrong ray that happens to pass near one of the good ones makes a pair that looks as good: rare at 0.15 rad.
    assert (error < 2e-3).float().mean() > 0.95


def test_noise_averages_out() -> None:
    center, points = ring(8), scene(200)
    sigma = 0.003
    direction = tilted(rays(center, points), sigma, seed=4)
    error = (triangulate(center, direction, torch.ones(8, 200, dtype=torch.float64)).points - points).norm(dim=-1)
    # 3 mrad at 4 m is 12 mm a ray, in 2 of 3 directions; eight rays leave about 12 / sqrt(8) · sqrt(3/2) = 5 mm.
    assert 0.002 < error.mean() < 0.008


def test_order_of_views_does_not_matter() -> None:
    center, points = ring(5), scene()
    direction = tilted(rays(center, points), 0.01, seed=1)
    direction[2] = tilted(direction[2], 0.6, seed=2)
    weight = torch.rand(5, len(points), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.tensor([3, 0, 4, 2, 1])
    straight = triangulate(center, direction, weight)
    shuffled = triangulate(center[order], direction[order], weight[order])
    torch.testing.assert_close(shuffled.points, straight.points, atol=1e-9, rtol=0)
    torch.testing.assert_close(shuffled.residual, straight.residual[order], atol=1e-9, rtol=0)


def test_moving_the_world_moves_the_answer_with_it() -> None:
    center, points = ring(4), scene()
    direction = tilted(rays(center, points), 0.01, seed=1)
    weight = torch.ones(4, len(points), dtype=torch.float64)
    turn = rotations.exp(torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64))
    shift = torch.tensor([2.0, -5.0, 1.0], dtype=torch.float64)
    moved = triangulate(center @ turn.T + shift, direction @ turn.T, weight).points
    torch.testing.assert_close(moved, triangulate(center, direction, weight).points @ turn.T + shift, atol=1e-8, rtol=0)


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_ray_gives_a_finite_point_on_it(views: int, dtype: torch.dtype) -> None:
    center, points = ring(views).to(dtype), scene().to(dtype)
    weight = torch.zeros(views, len(points), dtype=dtype)
    weight[0] = 1.0
    result = triangulate(center, rays(center, points), weight)
    assert result.points.isfinite().all()
    assert (result.parallax < 1e-6).all()
    assert (result.support <= 1).all()
    offset = torch.nn.functional.normalize(result.points - center[0], dim=-1)
    if views > 1:  # the only camera of a rig gets its own centre, which has no direction
        along = (offset * rays(center, points)[0]).sum(-1).abs()
        torch.testing.assert_close(along, torch.ones_like(along), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_ray_at_all_is_finite_and_unsupported(dtype: torch.dtype) -> None:
    center, points = ring(4).to(dtype), scene().to(dtype)
    result = triangulate(center, rays(center, points), torch.zeros(4, len(points), dtype=dtype))
    assert result.points.isfinite().all()
    assert (result.support == 0).all()
    assert (result.parallax == 0).all()


def test_opposite_cameras_say_nothing_along_their_line() -> None:
    center = torch.tensor([[-3.0, 0.0, 1.0], [3.0, 0.0, 1.0]], dtype=torch.float64)
    points = torch.tensor([[0.4, 0.0, 1.0], [0.4, 0.5, 1.0]], dtype=torch.float64)
    result = triangulate(center, rays(center, points), torch.ones(2, 2, dtype=torch.float64))
    assert result.points.isfinite().all()
    torch.testing.assert_close(result.points[0, 1:], points[0, 1:], atol=1e-9, rtol=0)  # on the line, somewhere
    torch.testing.assert_close(result.points[1], points[1], atol=1e-6, rtol=0)  # beside it: known
    assert result.parallax[0] < 1e-9 < 0.1 < result.parallax[1]


def test_a_prior_fills_in_what_one_ray_cannot_tell() -> None:
    center = torch.tensor([[0.0, 0.0, 0.0]], dtype=torch.float64)
    direction = torch.tensor([[[0.0, 0.0, 1.0]]], dtype=torch.float64)
    guess = torch.tensor([[0.5, 0.0, 3.0]], dtype=torch.float64)
    point = intersect(center, direction, torch.ones(1, 1, dtype=torch.float64), prior_point=guess, prior_weight=1e-3)
    torch.testing.assert_close(point, torch.tensor([[0.0, 0.0, 3.0]], dtype=torch.float64), atol=1e-3, rtol=0)
