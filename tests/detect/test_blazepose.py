"""BlazePose on rendered people, whose points are known: it finds everybody once, where they are, and moves, turns and
is mirrored with the picture.
"""

import os

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import vertices
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.detect import litert
from refit_mv.detect.blazepose import BlazePose, Sighting, _one_each
from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropDetector, Detector, MapDetector
from refit_mv.detect.heatmaps import mirrored_back
from refit_mv.workshop.pictures.appearance import draw_appearance, tailor
from refit_mv.workshop.pictures.backdrop import draw_background
from refit_mv.workshop.pictures.render import Light, render
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.session import motion_params

KEYPOINTS = keypoint_set("blazepose33")
# Shoulders to feet: the points of the face are finer than made-up faces.
BODY = slice(11, 33)
WIDTH, HEIGHT = 640, 480
FOCAL = 480.0
# Errors are told in shares of a person's extent; rendered people's points are defined a little differently.
MOST_ERROR = 0.05
MIRRORED = [
    KEYPOINTS.index(
        name.replace("left", "?").replace("right", "left").replace("?", "right")
        if "left" in name or "right" in name
        else name
    )
    for name in KEYPOINTS.keypoint_names
]


@pytest.fixture(scope="module")
def scene(body):
    """A picture with people of different looks beside each other, each 4 m away, and their points."""
    skin = landmark_skin(body, KEYPOINTS.keypoint_names)
    matrix = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    lamp = Light(*(np.array(part, dtype=np.float32) for part in ([0.0, -0.8, -0.6], [0.8, 0.8, 0.8], [0.5, 0.5, 0.5])))

    def made(places, seed=3):
        rng = np.random.default_rng(seed)
        picture, points = draw_background((WIDTH, HEIGHT), rng), []
        for number, across in enumerate(places):
            motion = sampled_motion(load_pose_prior(), seed=seed + number, frames=1, fps=30.0)
            params = motion_params(body, motion, torch.zeros(1, body.shape_count, dtype=torch.float64))
            # From y up and z towards the camera, the pelvis before its middle.
            turn = np.diag([1.0, -1.0, -1.0])
            shift = np.array([across, 0.1, 4.0]) - turn @ params.pelvis.numpy()[0]
            marks = pose_landmarks(skin, params).positions.numpy()[0] @ turn + shift
            surface = vertices(body, params).numpy()[0] @ turn + shift
            looks = draw_appearance(tailor(body), rng)
            picture = (render(body, surface, matrix, looks, lamp, picture).pixels / np.float32(255)) ** np.float32(2.2)
            flat = marks @ matrix.T
            points.append(flat[:, :2] / flat[:, 2:])
        return (255 * picture ** np.float32(1 / 2.2)).round().astype(np.uint8), np.array(points)

    return made


def errors(person, truth):
    """Distances of the body's points in shares of the person's extent."""
    extent = np.ptp(truth, axis=0).max()
    return np.linalg.norm(person[BODY, :2] - truth[BODY], axis=1) / extent


def matched(people, truth):
    """For each true person the found ones near it."""
    return [[person for person in people if np.median(errors(person, each)) < MOST_ERROR] for each in truth]


def test_the_adapter_is_a_detector_of_pictures_and_crops(blazepose):
    assert isinstance(blazepose, Detector) and isinstance(blazepose, CropDetector)
    assert blazepose.keypoints.name == "blazepose33"
    assert "mediapipe==0.10.21" in blazepose.name and "ai-edge-litert" in blazepose.name


@pytest.mark.parametrize("seed", [3, 11, 20])
def test_one_person_is_found_once_where_they_are(blazepose, scene, seed):
    picture, truth = scene([0.0], seed)
    (people,) = blazepose.detect([picture])
    assert people.shape == (1, 33, 3)
    assert np.isfinite(people).all() and people[..., 2].min() >= 0 and people[..., 2].max() <= 1
    error = errors(people[0], truth[0])
    sure = people[0, BODY, 2] > 0.5
    assert sure.sum() > 10
    assert np.median(error[sure]) < 0.03
    assert np.percentile(error[sure], 90) < 0.08


def test_several_people_are_all_found_and_nobody_twice(blazepose, scene):
    picture, truth = scene([-1.6, 0.0, 1.6])
    (people,) = blazepose.detect([picture])
    assert [len(found) for found in matched(people, truth)] == [1, 1, 1]
    assert len(people) == 3


def test_nobody_is_found_where_nobody_is(blazepose, scene):
    empty, _ = scene([])
    for picture in (empty, np.full((120, 160, 3), 127, dtype=np.uint8), np.full((3, 2, 3), 90, dtype=np.uint8)):
        (people,) = blazepose.detect([picture])
        assert people.shape == (0, 33, 3)


def test_a_person_is_followed_and_lost_and_newcomers_are_found(blazepose, scene):
    picture, truth = scene([0.0])
    empty, _ = scene([])
    # 4 pixels a frame, as at a brisk walk; then gone; then back, and found at the latest after ten frames.
    walk = [np.roll(picture, 4 * step, axis=1) for step in range(12)]
    frames = [*walk, empty, empty, *([picture] * 10)]
    people = list(blazepose.detect(frames))
    for step in range(12):
        (found,) = matched(people[step], truth + np.array([4.0 * step, 0.0]))
        assert len(found) == len(people[step]) == 1
    assert [len(each) for each in people[12:14]] == [0, 0]
    assert len(people[-1]) == 1
    # The same again gives the very same numbers, also from another call in between.
    again = blazepose.detect(frames)
    next(blazepose.detect([empty]))
    assert all(np.array_equal(one, other) for one, other in zip(people, again, strict=True))


def test_points_move_turn_and_are_mirrored_with_the_picture(blazepose, scene):
    picture, truth = scene([0.0], 11)
    (people,) = blazepose.detect([picture])
    extent = np.ptp(truth[0], axis=0).max()
    wide = np.zeros((HEIGHT + 100, WIDTH + 300, 3), dtype=np.uint8)
    wide[60 : 60 + HEIGHT, 130 : 130 + WIDTH] = picture
    (moved,) = blazepose.detect([wide])
    (mirrored,) = blazepose.detect([np.ascontiguousarray(picture[:, ::-1])])
    (turned,) = blazepose.detect([np.rot90(picture, -1)])
    back = np.stack([WIDTH - 1 - mirrored[0, MIRRORED, 0], mirrored[0, MIRRORED, 1]], axis=1)
    # A quarter clockwise: what was left is up now.
    upright = np.stack([turned[0, :, 1], HEIGHT - 1 - turned[0, :, 0]], axis=1)
    sure = people[0, :, 2] > 0.5
    for name, found in (("moved", moved[0, :, :2] - [130, 60]), ("mirrored", back), ("turned", upright)):
        apart = np.linalg.norm(found - people[0, :, :2], axis=1)[sure] / extent
        assert np.median(apart) < 0.02, name
        # No shift common to all points: half a pixel would be a sign of a wrong pixel centre.
        assert np.abs(np.median((found - people[0, :, :2])[sure], axis=0)).max() < 1.2, name


def test_crops_are_looked_into_where_they_are(blazepose, scene):
    picture, truth = scene([-1.6, 1.6])
    middles = [(each.min(axis=0) + each.max(axis=0)) / 2 for each in truth]
    size = 1.4 * max(np.ptp(each, axis=0).max() for each in truth)
    crops = [Crop(float(x), float(y), float(size)) for x, y in middles]
    nowhere = Crop(5000.0, 5000.0, 300.0)
    points, scores = blazepose.detect_crops(picture, [crops[1], nowhere, crops[0]])
    assert points.shape == (3, 33, 3)
    assert np.median(errors(points[0], truth[1])) < MOST_ERROR and np.median(errors(points[2], truth[0])) < MOST_ERROR
    assert min(scores[0], scores[2]) > 0.5
    assert scores[1] == 0 and (points[1, :, 2] == 0).all() and np.isfinite(points).all()
    # A crop that is turned a little sees the same.
    again, _ = blazepose.detect_crops(picture, [Crop(crops[0].x, crops[0].y, crops[0].size, 0.2)])
    assert np.median(errors(again[0], truth[0])) < MOST_ERROR
    none, no_scores = blazepose.detect_crops(picture, [])
    assert none.shape == (0, 33, 3) and no_scores.shape == (0,)


def test_maps_are_hot_where_the_points_are(blazepose, scene):
    assert isinstance(blazepose, MapDetector)
    picture, truth = scene([0.0], 11)
    middle = (truth[0].min(axis=0) + truth[0].max(axis=0)) / 2
    size = float(1.4 * np.ptp(truth[0], axis=0).max())
    crop = Crop(float(middle[0]), float(middle[1]), size)
    told = blazepose.detect_maps(picture, [crop])
    alone, _ = blazepose.detect_crops(picture, [crop])
    assert np.array_equal(told.points[..., :2], alone[..., :2])
    joints, rows, columns = told.heat.shape[1:]
    flat = told.heat[0].reshape(joints, -1).argmax(axis=1)
    hottest = crop.to_picture(np.stack([flat % columns / columns, flat // columns / rows], axis=1))
    sure = told.points[0, :, 2] > 0.6
    assert sure.sum() > 10
    assert np.median(np.linalg.norm(hottest - told.points[0, :, :2], axis=1)[sure]) / size < 0.02
    # The mirrored picture has the mirrored maps, left and right exchanged.
    other = Crop(WIDTH - 1 - crop.x, crop.y, size)
    mirrored = blazepose.detect_maps(np.ascontiguousarray(picture[:, ::-1]), [other])
    back = mirrored_back(mirrored.heat[0])[MIRRORED]
    apart = [np.abs(np.roll(back, step, axis=2) - told.heat[0])[:, :, 1:].mean() for step in (-1, 0, 1)]
    assert apart[1] < 0.3 * min(apart[0], apart[2])
    assert len(blazepose.detect_maps(picture, []).points) == 0


def test_two_whose_heads_and_hands_meet_are_two():
    rng = np.random.default_rng(0)
    one = np.concatenate([rng.uniform(0, 400, (33, 2)), np.ones((33, 1))], axis=1)
    other = one.copy()
    # Elbows, shoulders, hips and legs lie elsewhere; 19 of 33 points are the very same.
    apart = [11, 12, 13, 14, *range(23, 33)]
    other[apart, :2] += 150
    crop = Crop(200.0, 200.0, 500.0)
    people = [Sighting(one, 0.8, crop), Sighting(other, 0.6, crop), Sighting(one + np.array([3, 3, 0]), 0.7, crop)]
    kept = _one_each(people)
    assert [person.score for person in kept] == [0.8, 0.6]
    assert _one_each([Sighting(one, 0.0, crop)]) == [] == _one_each([])


def test_the_runtime_does_not_greet_and_swallows_nothing_else(network_folder, capfd):
    BlazePose(network_folder)
    assert capfd.readouterr() == ("", "")
    with litert._without_greeting():
        os.write(2, b"INFO: " + litert.GREETING + b" for CPU.\nsomething worth knowing\n")
    assert capfd.readouterr().err == "something worth knowing\n"
