"""Clocks that were planted are found, with deviations that are true, and nothing is guessed."""

from dataclasses import replace

import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.rigs.sync import Event, measured_clocks
from refit_mv.session.clocks import Clocks
from refit_mv.session.own_frames import Unpaired, as_paired, read_own_frames
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.workshop.bench.clocks import (
    OutOfStep,
    clocks_table,
    made_up_take,
    measure_clocks,
    repeating,
    standing_still,
)

SECONDS = 12.0


@pytest.fixture(scope="module")
def take() -> OutOfStep:
    return made_up_take(3, 3, SECONDS)


def off(found: Clocks, true: Clocks, own: float = SECONDS / 2) -> dict[str, float]:
    """Frames of 60 a second by which clocks are off, in the middle."""
    at = np.array([own])
    return {
        clock.view: 60 * float(clock.reference_time(at)[0] - true[clock.view].reference_time(at)[0])
        for clock in found.views
    }


def test_motion_alone_finds_clocks_within_a_frame(take):
    found = measured_clocks(take.seen, None)
    assert found.problems == ()
    assert max(map(abs, off(found.clocks, take.clocks).values())) < 0.8
    assert {clock.by for clock in found.clocks.views} == {"reference", "motion"}


def test_the_rig_finds_them_within_a_tenth(take):
    found = measured_clocks(take.seen, take.rig)
    assert (found.problems, found.notes) == ((), ())
    errors = off(found.clocks, take.clocks)
    assert max(map(abs, errors.values())) < 0.1
    for clock in found.clocks.views[1:]:
        true = take.clocks[clock.view]
        assert abs(clock.drift - true.drift) < min(0.001, 4 * clock.drift_sigma)
        assert abs(clock.offset - true.offset) < 4 * clock.offset_sigma


def test_another_reference_is_the_same_time_seen_from_there(take):
    first, second = (measured_clocks(take.seen, None, name).clocks for name in ("cam01", "cam03"))
    assert second["cam03"].offset == 0
    at = np.array([SECONDS / 2])
    apart = [
        float((clocks["cam01"].own_time(clocks["cam03"].reference_time(at)) - at)[0]) for clocks in (first, second)
    ]
    assert apart[0] == pytest.approx(apart[1], abs=0.01)


def test_turned_cameras_change_nothing_for_motion(take):
    """What two affine pictures share is found whichever way they are turned."""
    turned = list(take.seen.views)
    pixels = turned[1].pixels
    turned[1] = replace(turned[1], pixels=np.stack([2000 - pixels[..., 1], pixels[..., 0]], -1))
    clocks = [
        measured_clocks(Unpaired(take.seen.keypoints, tuple(views)), None).clocks for views in (take.seen.views, turned)
    ]
    apart = [
        abs(one - two)
        for one, two in zip(off(clocks[0], take.clocks).values(), off(clocks[1], take.clocks).values(), strict=True)
    ]
    assert max(apart) < 0.1


def test_views_of_different_rates_are_compared_on_one_clock():
    take = made_up_take(4, 3, 8.0, rates=[60.0, 25.0, 50.0])
    found = measured_clocks(take.seen, take.rig)
    assert found.problems == ()
    assert found.clocks.reference == "cam01"
    assert [clock.fps for clock in found.clocks.views] == [60.0, 25.0, 50.0]
    assert max(map(abs, off(found.clocks, take.clocks, 4.0).values())) < 0.15


@pytest.mark.parametrize(("how", "said"), [(standing_still, "too little motion"), (repeating, "repeats itself")])
def test_what_says_nothing_is_refused_in_words(how, said):
    take = made_up_take(5, 3, SECONDS, how=how)
    found = measured_clocks(take.seen, take.rig)
    assert found.unsettled(take.seen.names) == ["cam02", "cam03"]
    assert all(said in problem for problem in found.problems)
    assert len(found.problems) == 2


def shown_at(take: OutOfStep, time: float, wrong: int = 0) -> Event:
    """The pictures in which something at a time is seen; the second view's so many frames off."""
    frames = [
        (clock.view, round(float(clock.own_time(np.array([time]))[0]) * clock.fps) + wrong * (place == 1))
        for place, clock in enumerate(take.clocks.views)
    ]
    return Event(tuple(frames))


def test_an_event_tells_which_peak_of_a_repeated_movement_is_meant():
    take = made_up_take(5, 3, SECONDS, how=repeating)
    found = measured_clocks(take.seen, take.rig, events=[shown_at(take, 5.0)])
    assert found.problems == ()
    assert max(map(abs, off(found.clocks, take.clocks).values())) < 0.2


def test_an_event_that_motion_contradicts_is_said(take):
    assert measured_clocks(take.seen, None, events=[shown_at(take, 5.0)]).problems == ()
    found = measured_clocks(take.seen, None, events=[shown_at(take, 5.0, wrong=8)])
    assert any("event cam01@" in problem and "cam02" in problem for problem in found.problems)


def test_another_recording_among_the_views_is_not_settled(take):
    stranger = made_up_take(8, 3, SECONDS).seen.views[2]
    views = (*take.seen.views[:2], replace(stranger, view="cam03"))
    found = measured_clocks(replace(take.seen, views=views), None)
    assert found.unsettled(take.seen.names) == ["cam03"]
    assert found.problems[0].startswith("cam03: ")


@pytest.mark.parametrize(
    ("events", "reference", "said"),
    [
        ([Event((("cam01", 3),))], None, "two views"),
        ([Event((("cam01", 3), ("cam09", 3)))], None, "no such view"),
        ([Event((("cam01", 3), ("cam02", 99999)))], None, "frames are 0 to"),
        ([], "cam09", "--reference"),
    ],
)
def test_wishes_that_cannot_be_obeyed_are_refused(take, events, reference, said):
    with pytest.raises(InputError, match=said):
        measured_clocks(take.seen, None, reference, events)


def test_a_recording_in_step_is_found_so(session_folder):
    recording = read_recording(open_session(session_folder), fps=30)
    found = measured_clocks(as_paired(recording.observations), recording.rig)
    assert found.problems == ()
    assert max(abs(clock.offset) * 30 for clock in found.clocks.views) < 0.2


@pytest.mark.real
def test_a_shift_planted_in_the_real_recording_is_found(demo_recording):
    session = open_session(demo_recording.session, demo_recording.calib)
    seen = read_own_frames(session, demo_recording.keypoints)
    shifted = replace(seen.views[1], times=seen.views[1].times - 7 / 60)
    planted = replace(seen, views=(seen.views[0], shifted, *seen.views[2:]))
    found = measured_clocks(planted, session.rig)
    assert found.problems == ()
    frames = [60 * clock.offset for clock in found.clocks.views]
    assert frames == pytest.approx([0, 7, 0, 0], abs=0.3)


def test_the_table_has_a_line_for_everything_measured():
    rows = measure_clocks(1, 2, "clean", 3, seconds=15.0)
    assert [row["refused"] for row in rows] == [0, 0, 1, 1]
    assert rows[1]["offset_most"] < 0.3
    assert clocks_table(rows).count("\n") == 5
