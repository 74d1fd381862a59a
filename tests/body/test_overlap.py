"""How deep capsules are in each other, against what is known and against a fine search along both axes."""

import pytest
import torch

from refit_mv.body.overlap import overlap


def capsule(*ends: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(ends, dtype=torch.float64)


@pytest.mark.parametrize(
    ("one", "other", "distance", "direction"),
    [
        # Crossing at right angles, one above the other.
        (capsule((-1, 0, 0), (1, 0, 0)), capsule((0, 0.3, -1), (0, 0.3, 1)), 0.3, (0, -1, 0)),
        # Side by side.
        (capsule((0, 0, 0), (0, 1, 0)), capsule((0.2, 0.5, 0), (0.2, 2, 0)), 0.2, (-1, 0, 0)),
        # End against end, in line.
        (capsule((0, 0, 0), (1, 0, 0)), capsule((1.5, 0, 0), (2, 0, 0)), 0.5, (-1, 0, 0)),
        # Balls.
        (capsule((0, 0, 0), (0, 0, 0)), capsule((0, 0, 0.7), (0, 0, 0.7)), 0.7, (0, 0, -1)),
    ],
)
def test_known_distances(one: torch.Tensor, other: torch.Tensor, distance: float, direction: tuple) -> None:
    found = overlap(one, other, torch.tensor(0.25, dtype=torch.float64))
    assert float(found.depth) == pytest.approx(0.25 - distance)
    torch.testing.assert_close(found.direction, torch.tensor(direction, dtype=torch.float64))


def test_nearest_points_are_the_nearest() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 200, 2, 3, generator=generator, dtype=torch.float64)
    found = overlap(one, other, torch.zeros(200, dtype=torch.float64))
    share = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None]
    points = [(1 - share) * each[:, None, 0] + share * each[:, None, 1] for each in (one, other)]
    searched = torch.cdist(*points).flatten(1).amin(1)
    assert bool((-found.depth <= searched + 1e-12).all())
    torch.testing.assert_close(-found.depth, searched, atol=0.01, rtol=0)
    between = [
        (1 - along[:, None]) * each[:, 0] + along[:, None] * each[:, 1]
        for each, along in ((one, found.on_one), (other, found.on_other))
    ]
    torch.testing.assert_close(between[0] - between[1], -found.depth[:, None] * found.direction)
