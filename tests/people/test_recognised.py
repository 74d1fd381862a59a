"""Whom one view alone shows, in frames that are no neighbours."""

from dataclasses import replace

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.people.hard_moments import Why
from refit_mv.people.options import PeopleOptions
from refit_mv.people.tracks import Track, about_tracks, follow
from refit_mv.workshop.bench.identities import detections_on, grouping, persons_of_tracks
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import scene_of
from tests.people.test_several import FRAMES, Floor, circling, floor

APART, LEFT_OUT = PeopleOptions(separate=True), PeopleOptions(separate=True, recognise=False)
LONELY, SHOWN = slice(20, 32), 1
PERSON = 2


@pytest.fixture(scope="module")
def table() -> CrowdSession:
    """Four around a table that hides their legs; every detector overlooks a quarter of them."""
    return made_up_scene(scene_of("table"), seed=4)


def people_on(session: CrowdSession, tracks: tuple[Track, ...]) -> np.ndarray:
    """On whom each track is in each view."""
    detection, claimed = (np.stack([getattr(track, name) for track in tracks]) for name in ("detection", "claimed"))
    return detections_on(detection, claimed, session.joint_owner)


def test_around_a_table_most_of_those_whom_one_view_shows_are_found(table: CrowdSession) -> None:
    views = (table.known >= 0).sum(-1)
    on = {}
    for options in (PeopleOptions(recognise=False), PeopleOptions()):
        on[options.recognise] = people_on(table, follow(table.observations, table.rig, options=options))
    whom = {recognised: persons_of_tracks(each) for recognised, each in on.items()}
    people = np.arange(len(table.known))[:, None, None]
    once = {recognised: ((each == people).any(1) & (views == 1)).sum() for recognised, each in whom.items()}
    asked = int((views == 1).sum())
    assert asked > 40
    assert once[False] < 0.1 * asked
    assert once[True] > 0.5 * asked
    # Nobody who is nobody, and nobody twice.
    before, after = (grouping(on[recognised], table.known, views >= 1) for recognised in (False, True))
    assert after.ghosts <= before.ghosts
    assert after.precision >= before.precision
    assert after.recall > before.recall + 0.04


@pytest.fixture(scope="module")
def lonely(body: BodyModel) -> Floor:
    """Three who hardly move, of whom one view alone shows one for a while."""
    crowd = floor(body, [0.1 * path + 9 * path[:1] for path in circling(3, 0.1)], 3, 4)
    return crowd.without(PERSON, LONELY, slice(0, SHOWN)).without(PERSON, LONELY, slice(SHOWN + 1, None))


def rows_of(crowd: Floor, tracks: tuple[Track, ...]) -> np.ndarray:
    """In which of the lonely frames the one whom one view shows is found, by the track that is theirs otherwise."""
    place = np.maximum(np.stack([track.detection for track in tracks]), 0)[..., None]
    theirs = (np.take_along_axis(crowd.who[None], place, axis=-1)[..., 0] == PERSON) & (
        np.stack([track.detection for track in tracks]) >= 0
    )
    mine = theirs.any(-1)
    return mine[mine.sum(-1).argmax(), LONELY]


def test_whom_one_view_shows_where_they_are_found_otherwise_is_them(lonely: Floor) -> None:
    tracks = follow(lonely.observations, lonely.rig, options=APART)
    assert len(tracks) == 3
    assert rows_of(lonely, tracks).mean() > 0.9
    assert any("one view alone shows somebody" in note for note in about_tracks(lonely.observations, tracks))
    without = follow(lonely.observations, lonely.rig, options=LEFT_OUT)
    assert not rows_of(lonely, without).any()
    assert not any("one view alone" in note for note in about_tracks(lonely.observations, without))


def test_isolated_frames_in_which_one_view_alone_shows_somebody_are_told(lonely: Floor) -> None:
    """Five seconds apart, the duration of each is nothing."""
    numbers = 150 * np.arange(FRAMES)
    observations = replace(lonely.observations, frame_numbers=numbers, fps=0.2)
    told = [each for track in follow(observations, lonely.rig) for each in track.hard if each.why == Why.ALONE]
    rows = {row for each in told for row in range(each.first, each.last + 1)}
    assert len(rows & set(range(FRAMES)[LONELY])) > 9


def with_a_stand(crowd: Floor) -> Floor:
    """The one view shows a stand in the person's place throughout, and of the person nothing while they are alone."""
    observations = crowd.observations
    pixels, confidence = observations.pixels[:, :, :1].copy() * 0, observations.confidence[:, :, :1].copy() * 0
    pattern = np.flatnonzero(crowd.who[0, SHOWN] == PERSON)[0]
    pixels[:, SHOWN, 0] = observations.pixels[0, SHOWN, pattern] + 25.0
    confidence[:, SHOWN, 0] = observations.confidence[0, SHOWN, pattern]
    more = replace(
        observations,
        pixels=np.concatenate([observations.pixels, pixels], axis=2),
        confidence=np.concatenate([observations.confidence, confidence], axis=2),
    )
    stand = np.full((*crowd.who.shape[:2], 1), PERSON + 1)
    return replace(crowd, observations=more, who=np.concatenate([crowd.who, stand], axis=2))


def test_a_stand_in_somebodys_place_is_not_them_while_they_are_away(lonely: Floor) -> None:
    """It is as plausible, but there while others show the person, too. Where it is there only while they are not, it
    is believed: nothing tells them apart.
    """
    crowd = with_a_stand(lonely.without(PERSON, LONELY))
    stand = crowd.who.max()
    tracks = follow(crowd.observations, crowd.rig, options=APART)
    place = np.stack([track.detection for track in tracks])
    on = np.where(place >= 0, np.take_along_axis(crowd.who[None], np.maximum(place, 0)[..., None], -1)[..., 0], -1)
    assert (on == PERSON).any() and not (on[:, LONELY] == stand).any()
    shown = crowd.without(int(stand), slice(0, LONELY.start)).without(int(stand), slice(LONELY.stop, None))
    taken = np.stack([track.detection for track in follow(shown.observations, shown.rig, options=APART)])
    assert (taken[:, LONELY, SHOWN] == shown.who.shape[2] - 1).any(0).mean() > 0.9
