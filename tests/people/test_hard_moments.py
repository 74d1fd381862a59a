"""When it was hard to tell who is who: planted moments are told with their reason and the other's id, quiet scenes have
none.
"""

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.people.hard_moments import HardMoment, Why
from refit_mv.people.tracks import follow, with_hard_moments
from tests.people.test_several import FPS, FRAMES, SECONDS, Floor, floor

MIDDLE = FRAMES // 2


@pytest.fixture(scope="module")
def quiet(body: BodyModel) -> Floor:
    """Two who stay three metres from each other."""
    still = np.zeros_like(SECONDS)
    return floor(body, [np.stack([side + 0.2 * SECONDS, still], axis=-1) for side in (-1.5, 1.5)], 4, 3)


def test_a_quiet_scene_has_no_hard_moments(quiet: Floor) -> None:
    tracks = follow(quiet.observations, quiet.rig)
    assert [track.hard for track in tracks] == [(), ()]


def test_a_crossing_is_told_with_the_others_id(body: BodyModel) -> None:
    """Two pass each other at 4 m/s, a third of a metre apart, in the middle of the take."""
    way = 2.0 * (SECONDS - SECONDS[MIDDLE])
    paths = [np.stack([side * way, np.full_like(way, 0.17 * side)], axis=-1) for side in (-1, 1)]
    seen = floor(body, paths, 4, 2)
    first, second = follow(seen.observations, seen.rig)
    assert {each.others for each in first.hard} == {(1,)}
    assert {each.others for each in second.hard} == {(0,)}
    (moment,) = first.hard
    assert moment.why in (Why.CLOSE, Why.SHARED)
    assert moment.first <= MIDDLE <= moment.last
    # They are within a metre of each other for half a second.
    assert moment.last - moment.first <= 0.5 * FPS + 2
    assert [(each.first, each.last) for each in second.hard] == [(moment.first, moment.last)]


def test_those_who_are_not_wanted_are_still_there_to_be_mistaken_for(body: BodyModel) -> None:
    way = 2.0 * (SECONDS - SECONDS[MIDDLE])
    seen = floor(body, [np.stack([side * way, np.full_like(way, 0.17 * side)], axis=-1) for side in (-1, 1)], 4, 2)
    (main,) = follow(seen.observations, seen.rig, "main")
    assert {each.others for each in main.hard} == {(1,)}


def test_whoever_comes_back_and_whom_one_view_alone_shows(quiet: Floor) -> None:
    gone = quiet.without(0, slice(10, 30)).without(0, slice(40, 55), slice(1, 4))
    track = min(follow(gone.observations, gone.rig), key=lambda each: (each.detection >= 0).sum())
    told = {(each.why, each.others): (each.first, each.last) for each in track.hard}
    assert set(told) <= {(Why.RETURNED, ()), (Why.ALONE, ()), (Why.JUMPED, ())}
    assert told[Why.RETURNED, ()] == (30, 30)
    assert told[Why.ALONE, ()][0] >= 40
    assert told[Why.ALONE, ()][1] <= 54


def test_a_track_that_goes_over_to_somebody_else_has_jumped(quiet: Floor) -> None:
    one, other = follow(quiet.observations, quiet.rig)
    late = np.arange(FRAMES)[:, None] >= MIDDLE
    wrong = [np.where(late, b.detection, a.detection) for a, b in ((one, other), (other, one))]
    tracks = with_hard_moments([type(one)(each) for each in wrong], quiet.observations, quiet.rig)
    for track in tracks:
        assert track.hard == (HardMoment(MIDDLE, MIDDLE, Why.JUMPED),)


def test_one_that_is_read_is_the_one_that_was_told() -> None:
    told = {"first": 3, "last": 8, "why": "shared", "others": [2]}
    assert HardMoment.read(told) == HardMoment(3, 8, Why.SHARED, (2,))
