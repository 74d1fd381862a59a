"""Who is who in frames that are no neighbours."""

from dataclasses import replace

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.people.following import seconds_of, unconnected
from refit_mv.people.options import PeopleOptions
from refit_mv.people.tracks import about_tracks, follow
from refit_mv.people.unconnected import same_people
from refit_mv.session.observations import Observations
from tests.people.test_several import FPS, FRAMES, Floor, circling, floor

PEOPLE, JOINTS, LIMBS = 4, 12, 10


def bodies(
    frames: int, place: np.ndarray, build: np.ndarray, seed: int, missing: float = 0.2
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames, points, limbs and true names of people at ``place`` (frame, person, 3) of ``build`` (person, limb), in
    random order, some of them and of their points missing.
    """
    rng = np.random.default_rng(seed)
    posture = rng.normal(0, 0.3, (frames, PEOPLE, JOINTS, 3))
    points = place[:, :, None] + posture + rng.normal(0, 0.02, posture.shape)
    points[rng.uniform(size=points.shape[:3]) < 0.1] = np.nan
    limbs = build + rng.normal(0, 0.06, (frames, PEOPLE, LIMBS))
    limbs[rng.uniform(size=limbs.shape) < 0.1] = np.nan
    row, person = np.nonzero(rng.uniform(size=(frames, PEOPLE)) >= missing)
    order = np.lexsort([rng.uniform(size=len(row)), row])
    return row[order], points[row[order], person[order]], limbs[row[order], person[order]], person[order]


def share_right(found: list[list[int]], truth: np.ndarray) -> float:
    """Share of the bodies that belong to the most frequent person of what they were put into."""
    return sum(int(np.bincount(truth[each]).max()) for each in found if each) / len(truth)


ROUND_A_TABLE = 0.4 * np.array([[-1.0, 0, -1], [1, 0, -1], [-1, 0, 1], [1, 0, 1]])


def test_people_who_keep_their_places_are_told_apart_by_them() -> None:
    """0.8 m from one another, all of one build."""
    rng = np.random.default_rng(0)
    place = ROUND_A_TABLE + rng.normal(0, 0.12, (50, PEOPLE, 3))
    frame, points, limbs, truth = bodies(50, place, np.zeros((PEOPLE, LIMBS)), 1)
    found = same_people(frame, points, limbs)
    assert sorted(place for each in found for place in each) == list(range(len(truth))) and len(found) == PEOPLE
    assert all((np.diff(frame[each]) > 0).all() for each in found)
    assert share_right(found, truth) > 0.97


def test_people_who_wander_are_told_apart_by_their_build() -> None:
    """Anywhere in a room of five metres; limbs of 8 % more or less, measured to 6 %."""
    rng = np.random.default_rng(0)
    place, build = rng.uniform(-2.5, 2.5, (60, PEOPLE, 3)), rng.normal(0, 0.08, (PEOPLE, LIMBS))
    frame, points, limbs, truth = bodies(60, place, build, 2)
    assert share_right(same_people(frame, points, limbs), truth) > 0.9


def test_people_who_move_on_slowly_keep_their_names() -> None:
    """Once around the table in the course of the take."""
    rng = np.random.default_rng(0)
    turn = 2 * np.pi * np.linspace(0, 1, 80)[:, None] + np.arctan2(ROUND_A_TABLE[:, 2], ROUND_A_TABLE[:, 0])
    place = 0.6 * np.stack([np.cos(turn), np.zeros_like(turn), np.sin(turn)], axis=-1)
    frame, points, limbs, truth = bodies(80, place + rng.normal(0, 0.08, (80, PEOPLE, 3)), np.zeros((PEOPLE, LIMBS)), 3)
    assert share_right(same_people(frame, points, limbs), truth) > 0.95


def test_of_which_nothing_is_known_are_somebody_all_the_same() -> None:
    nothing = np.full((3, JOINTS, 3), np.nan), np.full((3, LIMBS), np.nan)
    found = same_people(np.array([0, 0, 5]), *nothing)
    assert sorted(place for each in found for place in each) == [0, 1, 2] and len(found) == 2


def thinned(crowd: Floor, numbers: np.ndarray) -> Observations:
    """The frames as if they had been recorded at these numbers, 30 a second, with nothing between: as a folder is read
    whose files are numbered so.
    """
    step = int(np.gcd.reduce(np.diff(numbers)))
    place = (numbers - numbers[0]) // step
    shape = crowd.observations.confidence.shape
    confidence = np.zeros((int(place[-1]) + 1, *shape[1:]), dtype=crowd.observations.confidence.dtype)
    pixels = np.zeros((*confidence.shape, 2), dtype=crowd.observations.pixels.dtype)
    confidence[place], pixels[place] = crowd.observations.confidence, crowd.observations.pixels
    return replace(
        crowd.observations,
        pixels=pixels,
        confidence=confidence,
        frame_numbers=np.arange(len(confidence)) * step,
        fps=FPS / step,
    )


@pytest.mark.parametrize("way", ["minutes", "seconds", "told"])
def test_nobody_is_thrown_away_in_frames_that_are_not_neighbours(body: BodyModel, way: str) -> None:
    """Who is seen in a third of the frames was held for one who never moves, or could not be judged at all; in frames
    without a common step nobody but one was left, because nobody is there for a quarter of a second.
    """
    crowd = floor(body, circling(3, 1.2), 4, 4).without(2, slice(20, None))
    numbers = 1800 * np.arange(FRAMES) if way == "minutes" else 40 * np.arange(FRAMES) + np.arange(FRAMES) % 7
    observations = crowd.observations if way == "told" else thinned(crowd, numbers)
    tracks = follow(observations, crowd.rig, options=PeopleOptions(separate=way == "told"))
    assert [int((track.agreeing_views >= 2).sum()) > 15 for track in tracks] == [True, True, True]
    assert any("no neighbours" in note for note in about_tracks(observations, tracks))


def test_frames_of_every_tenth_number_are_neighbours(body: BodyModel) -> None:
    """Six a second of sixty: numbers ten apart are no seconds apart."""
    crowd = floor(body, circling(2, 1.0), 4, 4)
    sparse = replace(crowd.observations.frames(slice(0, None, 5)), fps=FPS / 5)
    assert not unconnected(sparse, PeopleOptions())
    np.testing.assert_allclose(np.diff(seconds_of(sparse)), 5 / FPS)
    assert unconnected(sparse, PeopleOptions(separate=True))
    assert unconnected(replace(sparse, fps=FPS / 50), PeopleOptions())
