"""A second look where the body is: better points replace worse ones; other people's and doubtful ones do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.sides import mirrored_order
from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropMaps
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.transforms import RigidTransform
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


class Drawing(Knowing):
    """Points as bad as at first, but maps that are hot at the right places, and hotter where the other side is."""

    def __init__(self, everybody: Observations, points: Observations) -> None:
        super().__init__(everybody)
        self.wrong = Knowing(points)

    def detect_maps(self, frame: np.ndarray, crops: list[Crop]) -> CropMaps:
        right, _ = self.detect_crops(frame, crops)
        row, column = np.mgrid[:64, :64] / 64
        heat = np.zeros((len(crops), len(self.keypoints), 64, 64))
        for maps, crop, points in zip(heat, crops, right, strict=True):
            own = crop.from_picture(points[:, :2])
            for place, share in ((own, 0.6), (own[list(mirrored_order(self.keypoints.keypoint_names))], 0.9)):
                x, y = place[:, 0, None, None], place[:, 1, None, None]
                bump = share * np.exp(-0.5 * ((column - x) ** 2 + (row - y) ** 2) / 0.015**2)
                np.maximum(maps, bump * (points[:, 2, None, None] > 0), out=maps)
        return CropMaps(self.wrong.detect_crops(frame, crops)[0], heat)


def off(found: Observations, scene: CrowdSession, track: Track) -> np.ndarray:
    frame, view = np.nonzero(track.detection >= 0)
    slot = track.detection[frame, view]
    truth, seen = scene.observations, scene.observations.confidence[frame, view, slot] > 0
    return np.linalg.norm(found.pixels[frame, view, slot] - truth.pixels[frame, view, slot], axis=-1)[seen]


def test_maps_are_read_where_the_body_is(
    scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...], tmp_path: Path
) -> None:
    given = blurred(scene)
    drawing = Drawing(scene.observations, given)
    found = look_closer(given, scene.rig, body, tracks, looking(scene, drawing, tmp_path))
    for track in tracks:
        before, after = np.median(off(given, scene, track)), np.median(off(found, scene, track))
        assert after < 0.6 * before, (before, after)
    # The maps were kept: read again, nobody is asked.
    asked = len(drawing.looked)
    again = look_closer(given, scene.rig, body, tracks, looking(scene, drawing, tmp_path))
    assert asked > 0 and len(drawing.looked) == asked and np.array_equal(found.pixels, again.pixels)
    # An archive of answers without maps does not answer what maps would.
    for path in tmp_path.glob("*.npz"):
        with np.load(path) as kept:
            arrays = {name: kept[name] for name in kept if not name.startswith("map_")}
        np.savez(path, **arrays)
    look_closer(given, scene.rig, body, tracks, looking(scene, drawing, tmp_path))
    assert len(drawing.looked) > asked


def test_feet_beside_a_near_camera_do_not_blow_up_the_crop(
    scene: CrowdSession, body: BodyModel, tracks: tuple[Track, ...]
) -> None:
    # A fan of cameras half a metre before the person's chest that look upwards, some of them just past the feet.
    row, person, rig = 4, tracks[0], scene.rig
    mine = int(scene.known[:, row, 1].tolist().index(int(person.detection[row, 1])))
    center = scene.truth[mine].pelvis[row].numpy() + np.array([0.0, -0.55, 0.35])
    fan = []
    for turn in np.deg2rad(np.arange(16.0, 40.0, 1.0)):
        forward, up = np.array([0.0, np.cos(turn), np.sin(turn)]), np.array([0.0, -np.sin(turn), np.cos(turn)])
        rotation = np.stack([np.cross(forward, up), -up, forward])
        place = RigidTransform(torch.from_numpy(rotation), torch.from_numpy(-rotation @ center))
        fan.append(replace(rig.cameras[0], name=f"fan{len(fan)}", cam_from_world=place))
    wide = CameraRig((*rig.cameras, *fan))
    blank = lambda values: np.pad(values, [(0, 0), (0, len(fan)), *[(0, 0)] * (values.ndim - 2)])  # noqa: E731
    seen = scene.observations.frames(slice(row, row + 1))
    everybody = replace(
        seen, pixels=blank(seen.pixels), confidence=blank(seen.confidence), view_names=tuple(wide.names)
    )
    there = np.concatenate([person.detection[row : row + 1], np.zeros((1, len(fan)), dtype=np.int64)], axis=1)
    knowing = Knowing(everybody)
    asked = Looking(pictures(wide), knowing, GaussNewton(), CostOptions(), 1)  # type: ignore[arg-type]
    look_closer(everybody, wide, body, [Track(there)], asked)
    sizes = [crop.size for _, view, crop in knowing.looked if view >= len(rig)]
    assert len(sizes) == len(fan) and max(sizes) < 10 * rig.cameras[0].matrix[0, 0]
