"""Who hides what: lines of sight through capsules against steps along them, and people in each other's way."""

import numpy as np
import pytest
import torch

from refit_mv.body.capsules import CAPSULES
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.workshop.synthetic.capsules import DEEP, RADIUS, body_capsules, hidden_by, sight_through

STEP = 0.001


def distance_to_axis(points: np.ndarray, ends: np.ndarray) -> np.ndarray:
    axis = ends[1] - ends[0]
    along = ((points - ends[0]) @ axis / max(float(axis @ axis), 1e-12)).clip(0, 1)
    return np.linalg.norm(points - ends[0] - along[:, None] * axis, axis=-1)


def walked(origin: np.ndarray, point: np.ndarray, ends: np.ndarray, radius: float) -> tuple[float, float]:
    """Where the line enters, and on what length it is inside, in millimetre steps."""
    length = float(np.linalg.norm(point - origin))
    place = np.arange(0, length, STEP)
    inside = distance_to_axis(origin + place[:, None] * (point - origin) / length, ends) < radius
    return (float(place[inside][0]) if inside.any() else np.inf), STEP * float(inside.sum())


@pytest.mark.parametrize("seed", range(3))
def test_sights_are_those_that_small_steps_find(seed: int) -> None:
    rng = np.random.default_rng(seed)
    origin = rng.normal(size=3)
    capsules = rng.normal(size=(2, 12, 2, 3))
    capsules[:, 0, 1] = capsules[:, 0, 0]  # a ball
    capsules[:, 1] = origin + np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.6]])  # seen along its axis
    radius = rng.uniform(0.05, 0.6, 12)
    points = rng.normal(size=(2, 15, 3)) * 2
    points[:, 0] = origin + np.array([0.0, 0.0, 3.0])
    points[:, 1] = capsules[:, 2].mean(1)  # inside
    enter, before = sight_through(origin, points, capsules, radius)
    hit = 0
    for row, point, capsule in np.ndindex(enter.shape):
        true = walked(origin, points[row, point], capsules[row, capsule], radius[capsule])
        assert before[row, point, capsule] == pytest.approx(true[1], abs=3 * STEP)
        if true[1] > 3 * STEP:
            assert enter[row, point, capsule] == pytest.approx(true[0], abs=3 * STEP)
            hit += 1
    assert 30 < hit < enter.size - 30


def test_hiding_is_the_nearest_deep_capsule_of_anybody() -> None:
    """Against every capsule of everybody, without the shortcut of who can be in whose way at all."""
    rng = np.random.default_rng(4)
    frames, people = 2, 4
    middle = rng.uniform(-1.2, 1.2, (frames, people, 1, 3))
    capsules = middle[:, :, None] + rng.normal(0, 0.3, (frames, people, len(CAPSULES), 2, 3))
    points = middle + rng.normal(0, 0.3, (frames, people, 9, 3))
    centers = np.array([[0.0, 0.5, -4.0], [3.0, 0.0, 1.0]])
    present = np.ones((people, 2), dtype=bool)
    present[3, 1] = False
    hider = hidden_by(centers, points, capsules, present)
    for frame, view, person, point in np.ndindex(hider.shape):
        found, nearest = -1, np.inf
        for other in np.flatnonzero(present[:, view] & present[person, view]):
            enter, before = sight_through(
                centers[view], points[frame, person, point][None, None], capsules[frame, other][None], RADIUS
            )
            entry = np.where(before > DEEP * RADIUS, enter, np.inf).min()
            if entry < nearest:
                found, nearest = other, entry
        assert hider[frame, view, person, point] == found
    assert {-1, 0, 1, 2, 3} == set(np.unique(hider))


def standing(body: BodyModel, *places: tuple[float, float]) -> np.ndarray:
    pelvis = torch.tensor([[x, 0.95, z] for x, z in places], dtype=torch.float64)
    rest = body.rest(len(places))
    return body_capsules(body, BodyParams(pelvis, rest.rotations, rest.shape))[None]


def test_who_stands_in_front_hides_who_stands_behind(body: BodyModel) -> None:
    """Two in line and one aside, seen along the line from both ends."""
    capsules = standing(body, (0.0, 0.0), (0.0, 0.6), (2.5, 0.3))
    middles = capsules.mean(3)
    centers = np.array([[0.0, 1.0, -4.0], [0.0, 1.0, 4.6]])
    hider = hidden_by(centers, middles, capsules, np.ones((3, 2), dtype=bool))[0]
    trunk = [place for place, (one, other, *_) in enumerate(CAPSULES) if (one, other) == ("mid_hip", "neck")]
    assert hider[0, 1, trunk] == [0] and hider[1, 0, trunk] == [1]
    assert hider[0, 0, trunk] == [-1] and hider[1, 1, trunk] == [-1]
    assert not ((hider[:, 2] == 0) | (hider[:, 2] == 1)).any() and not (hider[:, :2] == 2).any()
    # Whom a view does not show at all hides nobody in it.
    alone = hidden_by(centers, middles, capsules, np.array([[False, True], [True, True], [True, True]]))[0]
    assert alone[0, 1, trunk] == [-1] and alone[1, 0, trunk] == [1]


def test_a_body_hides_its_own_far_side(body: BodyModel) -> None:
    """Seen from the left, the right elbow lies behind head and trunk; seen from the front, no joint is hidden."""
    capsules = standing(body, (0.0, 0.0))
    ends = capsules[:, :, :, 1]
    elbow = [place for place, (one, *_) in enumerate(CAPSULES) if one == "right_elbow"]
    place = int(elbow[0])
    centers = np.array([[4.0, float(ends[0, 0, place, 1]), 0.0], [0.0, 1.0, 4.0]])
    hider = hidden_by(centers, ends, capsules, np.ones((1, 2), dtype=bool))[0]
    assert hider[0, 0, place] == 0
    upper = [i for i, (one, *_) in enumerate(CAPSULES) if "knee" not in one and "hip" not in one and "heel" not in one]
    assert (hider[1, 0, upper] == -1).all()
