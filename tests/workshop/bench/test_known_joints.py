"""Truth files: read, refused, and compared with people whose joints are where they are put."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.workshop.bench.known_joints import read_known_joints, share_correct
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.session import motion_params, random_shape

NAMES = tuple(
    f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle", "shoulder", "elbow")
)


@pytest.fixture(scope="module")
def person(body: BodyModel) -> BodyParams:
    motion = sampled_motion(load_pose_prior(), 3, 12, 5.0)
    return motion_params(body, motion, random_shape(body, 12, np.random.default_rng(0)))


def _away(person: BodyParams, metres: float) -> BodyParams:
    return BodyParams(person.pelvis + torch.tensor([metres, 0.0, 0.0]), person.rotations, person.shape)


def _truth(path: Path, body: BodyModel, *people: BodyParams, **more: np.ndarray) -> Path:
    skin = landmark_skin(body, NAMES)
    places = np.stack([pose_landmarks(skin, person).positions.numpy() for person in people], axis=1)
    np.savez(path, **{name: places[:, :, at] for at, name in enumerate(NAMES)}, **more)
    return path


def test_people_are_found_whatever_their_order(body: BodyModel, person: BodyParams, tmp_path: Path) -> None:
    other = _away(person, 2.0)
    truth = read_known_joints(_truth(tmp_path / "truth.npz", body, person, other), body)
    numbers = np.arange(12)
    assert share_correct(body, truth, [other, person], numbers) == 1.0
    # Half of the people, or of the frames, is half of the parts.
    assert share_correct(body, truth, [other], numbers) == 0.5
    assert share_correct(body, truth, [person[:6], other[:6]], numbers[:6]) == 0.5


def test_a_part_is_wrong_that_is_off_by_half_its_length(body: BodyModel, person: BodyParams, tmp_path: Path) -> None:
    truth = read_known_joints(_truth(tmp_path / "truth.npz", body, person), body)
    numbers = np.arange(12)
    # Upper arms are some 0.28 m, thighs and shins 0.4 m.
    assert share_correct(body, truth, [_away(person, 0.05)], numbers) == 1.0
    assert 0.5 <= share_correct(body, truth, [_away(person, 0.17)], numbers) <= 0.75
    assert share_correct(body, truth, [_away(person, 0.3)], numbers) == 0.0


def test_what_nobody_knows_does_not_count(body: BodyModel, person: BodyParams, tmp_path: Path) -> None:
    path = _truth(tmp_path / "truth.npz", body, person, frame_numbers=np.arange(100, 112))
    arrays = dict(np.load(path))
    arrays["left_knee"][:] = np.nan
    np.savez(path, **arrays)
    truth = read_known_joints(path, body)
    broken = BodyParams(person.pelvis.clone(), person.rotations.clone(), person.shape)
    # Only the left leg is astray, of which no part is known.
    broken.rotations[:, body.joint_names.index("left_hip")] = torch.eye(3, dtype=torch.float64)
    assert share_correct(body, truth, [broken], np.arange(100, 112)) == 1.0
    assert share_correct(body, truth, [broken], np.arange(12)) == 0.0


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"nonsense": np.zeros((3, 3))}, "named like joints"),
        ({"left_knee": np.zeros((3, 2)), "left_hip": np.zeros((3, 3))}, "left_knee is"),
        ({"left_knee": np.full((3, 3), np.nan)}, "no joint is known"),
        ({"left_knee": np.zeros((3, 3)), "frame_numbers": np.zeros(2, dtype=int)}, "3 integers"),
        ({"left_knee": np.array([object()])}, "cannot be read"),
    ],
)
def test_other_files_are_refused(body: BodyModel, tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "truth.npz", **arrays)
    with pytest.raises(InputError, match=said):
        read_known_joints(tmp_path / "truth.npz", body)
