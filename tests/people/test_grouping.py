"""Which detections of a frame show the same people, when nothing is known of the past."""

from collections.abc import Iterator

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.people.grouping import clustered, group
from refit_mv.people.sightings import sights
from tests.people.test_several import circling, crossing, floor


def partitions(count: int) -> Iterator[list[int]]:
    """Labels of all ways to divide ``count`` things into groups."""

    def extend(labels: list[int]) -> Iterator[list[int]]:
        if len(labels) == count:
            yield labels
            return
        for label in range(max(labels, default=-1) + 2):
            yield from extend([*labels, label])

    yield from extend([])


def gained(told: np.ndarray, labels: np.ndarray) -> float:
    return float(told[labels[:, None] == labels[None, :]].sum()) / 2


def allowed(view: np.ndarray, labels: np.ndarray) -> bool:
    return len(set(zip(view.tolist(), labels.tolist(), strict=True))) == len(view)


def test_groups_gain_as_much_as_any() -> None:
    """Against all ways to divide seven detections of three views; a local search may miss the best now and then."""
    rng = np.random.default_rng(0)
    view = np.array([0, 0, 0, 1, 1, 2, 2])
    ways = [labels for each in partitions(len(view)) if allowed(view, labels := np.array(each))]
    shares = []
    for _ in range(60):
        told = rng.normal(size=(len(view), len(view)))
        told = np.where(view[:, None] == view[None, :], 0, told + told.T)
        found = clustered(told, view)
        assert allowed(view, found)
        shares.append(gained(told, found) / max(gained(told, labels) for labels in ways))
    assert np.mean(shares) > 0.98
    assert np.mean(np.array(shares) > 1 - 1e-9) > 0.85


def test_all_of_a_group_must_agree() -> None:
    """0 and 1 agree, 1 and 2 agree a little, 0 and 2 are strangers: 2 stays out."""
    told = np.array([[0.0, 5.0, -4.0], [5.0, 0.0, 3.0], [-4.0, 3.0, 0.0]])
    zero, one, two = clustered(told, np.arange(3))
    assert zero == one != two


def test_a_better_partner_takes_the_place() -> None:
    """The strongest pair is no part of the best grouping: two detections of one view exchange places."""
    view = np.array([0, 0, 1, 1])
    told = np.zeros((4, 4))
    told[0, 2], told[0, 3], told[1, 2], told[1, 3] = 5.0, 4.0, 4.0, -9.0
    told += told.T
    labels = clustered(told, view)
    assert labels[0] == labels[3] != labels[1] == labels[2]


@pytest.mark.parametrize(("ways", "views"), [(circling(), 3), (circling(3, 1.0), 4), (crossing(), 5)])
def test_frames_alone_are_grouped(body: BodyModel, ways: list[np.ndarray], views: int) -> None:
    crowd = floor(body, ways, views, 11)
    pure = wrong = 0
    for who, sight in zip(crowd.who, sights(crowd.observations, crowd.rig), strict=True):
        for detection in group(sight, sight.seen):
            seen = np.flatnonzero(detection >= 0)
            same = len(set(who[seen, detection[seen]].tolist())) == 1
            pure, wrong = pure + same, wrong + (not same)
    assert wrong < 0.03 * pure
    assert pure > 0.97 * len(ways) * len(crowd.who)
