"""Habits are learned back that a made-up detector was given."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior, rotations_from_tangent
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.session.detector_profile import ProfileCard
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.training.detector_habits import learn
from refit_mv.workshop.training.detector_pictures import Sightings

PEOPLE = 200


def sighted(body: BodyModel, offset: torch.Tensor, swapped: float = 0.0) -> Sightings:
    """Pictures by a detector whose points sit at ``offset``, with errors of 30 and 10 mm at confidences 0.3 and 0.9."""
    keypoints, rng = keypoint_set("coco17"), np.random.default_rng(5)
    prior = load_pose_prior()
    factor = torch.linalg.cholesky(prior.covariance)
    coordinates = torch.from_numpy(rng.normal(size=(PEOPLE, len(factor)))) @ factor.T
    turned = rotations_from_tangent(prior, coordinates.clamp(prior.lower, prior.upper))
    root = torch.eye(3, dtype=torch.float64).expand(PEOPLE, 1, 3, 3)
    place = torch.tensor([[0.0, 0.95, 0.0]], dtype=torch.float64).expand(PEOPLE, 3)
    truth = BodyParams(place, torch.cat([root, turned], 1), torch.zeros(PEOPLE, body.shape_count, dtype=torch.float64))
    names = keypoints.keypoint_names
    points = pose_landmarks(landmark_skin(body, names).displaced(offset), truth).positions.numpy()
    cameras = [random_rig([8, person], 1).cameras[0] for person in range(PEOPLE)]
    rotation = np.stack([camera.cam_from_world.rotation.numpy() for camera in cameras])
    translation = np.stack([camera.cam_from_world.translation.numpy() for camera in cameras])
    matrix = np.stack([camera.matrix for camera in cameras])
    seen = points @ rotation.transpose(0, 2, 1) + translation[:, None]
    confidence = np.where(rng.uniform(size=seen.shape[:2]) < 0.4, 0.3, 0.9)
    seen = seen + np.where(confidence < 0.5, 0.030, 0.010)[..., None] * rng.normal(size=seen.shape)
    flat = seen @ matrix.transpose(0, 2, 1)
    pixels = flat[..., :2] / flat[..., 2:]
    crossed = rng.uniform(size=PEOPLE) < swapped
    left, right = names.index("left_wrist"), names.index("right_wrist")
    pixels[crossed, left], pixels[crossed, right] = pixels[crossed, right], pixels[crossed, left]
    found, box = np.ones(PEOPLE, dtype=bool), np.full(PEOPLE, 400.0)
    return Sightings(keypoints, 1, pixels, confidence, found, matrix, rotation, translation, box, truth)


def habit(body: BodyModel) -> torch.Tensor:
    """Hips in front and wrists outwards, each side the other's mirror image."""
    names = keypoint_set("coco17").keypoint_names
    offset = torch.zeros(len(names), 3, dtype=torch.float64)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        offset[names.index(f"{side}_hip")] = torch.tensor([sign * -0.01, 0.0, 0.03])
        offset[names.index(f"{side}_wrist")] = torch.tensor([sign * 0.02, 0.01, 0.0])
    return offset


CARD = ProfileCard("made up", "coco17", "a test", PEOPLE, PEOPLE)


def test_planted_habits_are_learned(body: BodyModel) -> None:
    offset = habit(body)
    profile = learn(body, sighted(body, offset), CARD)
    # 400 sightings of a point and its mirror image with errors of 10 to 30 mm: to a millimetre or two.
    assert float((profile.habits.offset - offset).norm(dim=-1).max()) < 0.004
    knots = profile.habits.knots.tolist()
    low, high = knots.index(pytest.approx(0.3)), knots.index(pytest.approx(0.9))
    assert float(profile.habits.sigma[:, low].median()) == pytest.approx(0.030, rel=0.15)
    assert float(profile.habits.sigma[:, high].median()) == pytest.approx(0.010, rel=0.15)
    assert profile.card.swapped < 0.01
    assert profile.card.found == 1.0


def test_sides_that_were_swapped_are_counted(body: BodyModel) -> None:
    profile = learn(body, sighted(body, 0 * habit(body), swapped=0.4), CARD)
    # One of four pairs of limbs' points in 40 % of pictures, less those where both wrists lie together.
    assert profile.card.swapped == pytest.approx(0.1, abs=0.025)


def test_outliers_do_not_move_an_offset(body: BodyModel) -> None:
    offset, seen = habit(body), sighted(body, habit(body))
    wild = np.random.default_rng(2).uniform(size=seen.confidence.shape) < 0.1
    seen.pixels[wild] += 300
    profile = learn(body, seen, CARD)
    assert float((profile.habits.offset - offset).norm(dim=-1).max()) < 0.006


def test_motions_that_are_not_there_are_named(tmp_path: Path) -> None:
    from refit_mv.workshop.training.detector import bank_of

    with pytest.raises(InputError, match="none of them wanted here"):
        bank_of([tmp_path])
