"""What following does without NumPy's help is what NumPy would have done, to the bit."""

import numpy as np
import pytest
import torch

from refit_mv.geometry.triangulation import triangulate, triangulate_arrays
from refit_mv.people.following import _lengths, _middlemost, assigned


@pytest.mark.parametrize("count", [1, 2, 3, 8, 25, 26])
def test_lengths_and_medians(count: int) -> None:
    vectors = np.random.default_rng(count).normal(size=(count, 3))
    assert np.array_equal(_lengths(vectors), np.linalg.norm(vectors, axis=-1, keepdims=True))
    assert np.array_equal(_middlemost(vectors), np.median(vectors, axis=0))


def test_one_person_and_one_detection_of_a_view_are_assigned_as_among_several() -> None:
    support = np.random.default_rng(0).normal(size=(1, 40, 1))
    support[0, :3, 0] = -np.inf, 0.0, 1e-12
    free = np.random.default_rng(1).random((40, 1)) < 0.7
    beside_an_idle_one = np.concatenate([support, np.full_like(support, -np.inf)], axis=2)
    free_beside = np.concatenate([free, np.zeros_like(free)], axis=1)
    found = assigned(support, free)
    assert {-1, 0} == set(found.ravel().tolist())
    assert np.array_equal(found, assigned(beside_an_idle_one, free_beside))


def test_arrays_meet_where_tensors_meet() -> None:
    random = np.random.default_rng(2)
    center = random.normal(size=(4, 3)) * 3
    direction = random.normal(size=(5, 4, 9, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    weight = random.random((5, 4, 9)) * (random.random((5, 4, 9)) < 0.7)
    expected = triangulate(torch.from_numpy(center), torch.from_numpy(direction), torch.from_numpy(weight))
    # Arrays as indexing leaves them: in any order of memory.
    points, support, parallax = triangulate_arrays(center, np.asfortranarray(direction), np.asfortranarray(weight))
    assert np.array_equal(points, expected.points.numpy())
    assert np.array_equal(support, expected.support.numpy())
    assert np.array_equal(parallax, expected.parallax.numpy())
