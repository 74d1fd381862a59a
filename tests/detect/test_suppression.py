"""One where several found the same: never two that coincide, never a loss of somebody else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit_mv.detect.suppression import distinct, overlap, weighted_suppression


def test_overlap_of_known_boxes():
    boxes = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 3, 3], [0, 0, 1, 1], [5, 5, 5, 5]], dtype=float)
    assert overlap(boxes[0], boxes).tolist() == pytest.approx([1, 1 / 3, 0, 1 / 4, 0])


@given(st.integers(0, 30), st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_what_is_kept_is_apart_ordered_and_independent_of_order(count, seed, least):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 1, (count, 2)), rng.uniform(0.05, 0.5, (count, 2))
    boxes, scores = np.concatenate([corner, corner + size], axis=1), rng.uniform(0.1, 1, count)
    kept, best = weighted_suppression(boxes, scores, boxes, least)
    assert len(kept) == len(best) <= count and (count == 0 or len(kept) >= 1)
    assert (np.diff(best) <= 0).all()
    # Every box is near enough to the best of some group, so no group is lost.
    winners = boxes[[scores.tolist().index(score) for score in best]]
    assert all(overlap(box, winners).max() >= least for box in boxes)
    for place, winner in enumerate(winners):
        assert (overlap(winner, winners[:place]) < least).all()
    order = rng.permutation(count)
    again, _ = weighted_suppression(boxes[order], scores[order], boxes[order], least)
    assert np.allclose(again, kept)


def test_boxes_of_one_person_are_averaged_by_score():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10]], dtype=float)
    kept, best = weighted_suppression(boxes, np.array([0.9, 0.3, 0.5]), boxes[:, :1] * 1.0, 0.3)
    assert kept[:, 0].tolist() == pytest.approx([0.25, 30])
    assert best.tolist() == [0.9, 0.5]


def person(x, y, seed=0, confidence=1.0):
    points = np.random.default_rng(seed).uniform(-50, 50, (33, 2)) + np.array([x, y])
    return np.concatenate([points, np.full((33, 1), confidence)], axis=1)


def test_doubles_go_and_neighbours_stay():
    people = np.stack([person(100, 100), person(102, 99), person(160, 100), person(100, 100, seed=1)])
    scores, sizes = np.array([0.6, 0.9, 0.5, 0.4]), np.full(4, 100.0)
    # The better of two that coincide; the same pose elsewhere, and another pose in the same place, are other people.
    assert distinct(people, scores, sizes, 0.06, 0.5).tolist() == [1, 2, 3]
    assert distinct(people[:0], scores[:0], sizes[:0], 0.06, 0.5).tolist() == []


def test_one_made_up_of_two_others_is_nobody():
    one, two = person(100, 100), person(200, 100, seed=1)
    mixed = np.concatenate([one[:16], two[16:]])
    assert distinct(np.stack([mixed, one, two]), np.array([0.5, 0.9, 0.8]), np.full(3, 100.0), 0.06, 0.5).tolist() == [
        1,
        2,
    ]
