"""A second look where the body is: better points replace worse ones; other people's and doubtful ones do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.detect.crop import Crop
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.closer_look import Looking, look_closer
from refit_mv.people.tracks import Track, follow
from refit_mv.session.observations import Observations
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import scene_of
from tests.knowing_detector import FRAMES, Knowing, pictures


@pytest.fixture(scope="module")
def scene() -> CrowdSession:
    return made_up_scene(scene_of("circling"), seconds=FRAMES / 30, fps=30.0, keypoints="blazepose33", seed=3)


@pytest.fixture(scope="module")
def tracks(scene: CrowdSession) -> tuple[Track, ...]:
    found = follow(scene.observations, scene.rig)
    assert len(found) == 2
    return found


def blurred(scene: CrowdSession) -> Observations:
    """What a detector says at first: every point off by some pixels more, and claimed for half of what it is."""
    seen = scene.observations
    off = np.random.default_rng(0).normal(0, 8.0, seen.pixels.shape).astype(seen.pixels.dtype)
    return replace(seen, pixels=seen.pixels + off, confidence=0.5 * seen.confidence)


def looking(scene: CrowdSession, detector: Knowing, folder: Path | None = None) -> Looking:
    return Looking(pictures(scene.rig), detector, GaussNewton(), CostOptions(), 24, folder=folder)  # type: ignore[arg-type]


def replaced(before: Observations, after: Observations, track: Track) -> float:
    """Share of a person's detections that are others now."""
    there = track.detection >= 0
    frame, view = np.nonzero(there)
    slot = track.detection[there]
    return float((before.pixels[frame, view, slot] != after.pixels[frame, view, slot]).any((-1, -2)).mean())


def test_better_points_take_the_place_of_worse(scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...]) -> None:
    given = blurred(scene)
    found = look_closer(given, scene.rig, body, tracks, looking(scene, Knowing(scene.observations)))
    for track in tracks:
        # Where both stand in one line of sight the wrong one answers, and is not believed.
        assert replaced(given, found, track) > 0.75
    changed = (found.pixels != given.pixels).any((-1, -2))
    same_person = (found.pixels == scene.observations.pixels).all((-1, -2)) | ~changed
    assert same_person.all()
    assert np.array_equal(found.frame_numbers, given.frame_numbers)


def test_less_sure_points_do_not(scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...]) -> None:
    doubtful = Knowing(replace(scene.observations, confidence=0.5 * scene.observations.confidence))
    found = look_closer(scene.observations, scene.rig, body, tracks, looking(scene, doubtful))
    assert np.array_equal(found.pixels, scene.observations.pixels)


def test_somebody_else_does_not(scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...]) -> None:
    class Mistaken(Knowing):
        """Finds the other of two people, the one whose middle is farther off."""

        def detect_crops(self, frame: np.ndarray, crops: list[Crop]) -> tuple[np.ndarray, np.ndarray]:
            view, row, _ = frame[0, 0].tolist()
            answers = np.zeros((len(crops), len(self.keypoints), 3))
            pixels, confidence = self.everybody.pixels[row, view], self.everybody.confidence[row, view]
            there = np.flatnonzero(confidence.sum(-1) > 3)
            middle = np.array([pixels[slot][confidence[slot] > 0].mean(0) for slot in there]).reshape(-1, 2)
            for answer, crop in zip(answers, crops, strict=True):
                if len(there) > 1:
                    slot = there[np.linalg.norm(middle - [crop.x, crop.y], axis=-1).argmax()]
                    answer[:, :2], answer[:, 2] = pixels[slot], confidence[slot]
            return answers, answers[:, :, 2].mean(-1)

    given = blurred(scene)
    found = look_closer(given, scene.rig, body, tracks, looking(scene, Mistaken(scene.observations)))
    # Where the two hide each other the detector's "other" may be the right one, and is then believed.
    changed = (found.pixels != given.pixels).any((-1, -2))
    own = (found.pixels == scene.observations.pixels).all((-1, -2))
    assert changed.mean() < 0.15 and own[changed].all()


def test_a_detection_that_two_people_have_parts_of_stays(
    scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...]
) -> None:
    one, other = tracks
    mine = other.detection.copy()
    mine[:, 0] = one.detection[:, 0]
    given, shared = blurred(scene), (one, replace(other, detection=mine))
    found = look_closer(given, scene.rig, body, shared, looking(scene, Knowing(scene.observations)))
    assert np.array_equal(found.pixels[:, 0], given.pixels[:, 0])
    assert replaced(given, found, one) > 0.5


def test_answers_are_not_asked_for_twice(
    scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...], tmp_path: Path
) -> None:
    knowing = Knowing(scene.observations)
    once = look_closer(blurred(scene), scene.rig, body, tracks, looking(scene, knowing, tmp_path))
    asked = len(knowing.looked)
    again = look_closer(blurred(scene), scene.rig, body, tracks, looking(scene, knowing, tmp_path))
    assert len(knowing.looked) == asked > 0
    assert np.array_equal(once.pixels, again.pixels)
