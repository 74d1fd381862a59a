"""Annotated photographs in both dialects, made up; and files that must be refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel, rest_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp, log
from refit_mv.recipe import load_recipe
from refit_mv.workshop.pictures.dataset import DatasetOptions, read_dataset
from refit_mv.workshop.pictures.examples import HIPS, POINTS
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.training.images import ImageTrainRecipe

COUNT = 3
SPIN_PLACES = {"right_ankle": 0, "left_hip": 3, "left_wrist": 11, "head_top": 13, "nose": 19, "right_ear": 23}


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def truth(body: BodyModel) -> BodyParams:
    """People some metres before the camera, in its axes."""
    motion = sampled_motion(load_pose_prior(), 2, COUNT, 2.0)
    rotations = motion.rotations.clone()
    rotations[:, 0] = exp(torch.tensor([np.pi, 0.0, 0.0], dtype=torch.float64)) @ rotations[:, 0]
    generator = torch.Generator().manual_seed(0)
    shape = torch.randn(COUNT, 10, generator=generator, dtype=torch.float64)
    pelvis = torch.tensor([[0.1, 0.2, 4.0], [-0.4, 0.0, 5.0], [0.6, 0.1, 6.0]], dtype=torch.float64)
    return BodyParams(pelvis, rotations, shape)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    (root / "seq").mkdir()
    for index in range(COUNT):
        picture = np.full((90, 160, 3), 40 * index + 20, dtype=np.uint8)
        picture[:45, 80:] = (0, 0, 250)
        cv2.imwrite(str(root / "seq" / f"{index:04d}.png"), picture)
    return root


MATRIX = np.array([[200.0, 0, 80], [0, 200, 45], [0, 0, 1]])


def basics() -> dict[str, Any]:
    return {
        "imgname": np.array([f"seq/{index:04d}.png" for index in range(COUNT)]),
        "center": np.array([[80.0, 45.0]] * COUNT),
        "scale": np.array([0.4, 0.5, 0.6]),
    }


def points_of(body: BodyModel, params: BodyParams) -> tuple[np.ndarray, np.ndarray]:
    places = pose_landmarks(landmark_skin(body, POINTS), params).positions.numpy()
    flat = places @ MATRIX.T
    return flat[..., :2] / flat[..., 2:], places


def bedlam(body: BodyModel, truth: BodyParams) -> dict[str, Any]:
    shift = np.array([0.3, -0.2, 1.0])
    translation = (truth.pelvis - rest_joints(body, truth.shape)[:, 0]).numpy()
    outside = np.tile(np.eye(4), (COUNT, 1, 1))
    outside[:, :3, 3] = shift
    return {
        **basics(),
        "pose_cam": log(truth.rotations).flatten(1).numpy(),
        "shape": np.concatenate([truth.shape.numpy(), np.zeros((COUNT, 1))], axis=1),
        "trans_cam": translation - shift,
        "cam_int": np.tile(MATRIX, (COUNT, 1, 1)),
        "cam_ext": outside,
    }


def options(folder: Path, **changes: object) -> DatasetOptions:
    return DatasetOptions(file=str(folder / "set.npz"), pictures=str(folder), **changes)  # type: ignore[arg-type]


def test_bedlam_gives_back_the_bodies_it_was_made_of(body: BodyModel, truth: BodyParams, folder: Path) -> None:
    np.savez(folder / "set.npz", **bedlam(body, truth))
    read = read_dataset(options(folder, margin=1.1), body)
    labels = read.labels
    assert np.abs(labels.pelvis - truth.pelvis.numpy()).max() < 1e-9
    assert np.abs(labels.rotations - truth.rotations.numpy()).max() < 1e-9
    assert np.array_equal(labels.shape, truth.shape.numpy())
    assert labels.has_pose.all() and labels.has_shape.all() and labels.has_position.all()
    assert np.allclose(labels.box[:, 2], [88, 110, 132])
    pixels, places = points_of(body, truth)
    assert np.abs(labels.points[..., :2] - pixels).max() < 1e-6 and (labels.points[..., 2] == 1).all()
    held = places - places[:, list(HIPS)].mean(1, keepdims=True)
    assert np.abs(labels.points_3d[..., :3] - held).max() < 1e-9
    assert len(read) == COUNT and not read.are_windows
    picture = read.picture(2)
    assert picture.shape == (90, 160, 3) and picture[10, 100].tolist() == [250, 0, 0]
    # Coefficients of another body's shape are not learned from.
    other = read_dataset(options(folder, shape=False, position=False), body).labels
    assert not other.has_shape.any() and not other.has_position.any() and (other.shape == 0).all()


def test_spin_gives_back_what_was_annotated(body: BodyModel, truth: BodyParams, folder: Path) -> None:
    pixels, places = points_of(body, truth)
    part, spatial = np.zeros((COUNT, 24, 3)), np.zeros((COUNT, 24, 4))
    for name, place in SPIN_PLACES.items():
        part[:, place] = np.concatenate([pixels[:, POINTS.index(name)], np.ones((COUNT, 1))], axis=1)
    spatial[:, 2:4, :3] = places[:, [POINTS.index("right_hip"), POINTS.index("left_hip")]]
    spatial[:, 11, :3] = places[:, POINTS.index("left_wrist")]
    spatial[:, [2, 3, 11], 3] = 1
    arrays = {
        **basics(),
        "pose": log(truth.rotations).flatten(1).numpy(),
        "shape": truth.shape.numpy(),
        "has_smpl": np.array([1, 0, 1]),
        "part": part,
        "S": spatial,
        "openpose": np.zeros((COUNT, 25, 3)),
    }
    np.savez(folder / "set.npz", **arrays)
    labels = read_dataset(options(folder), body).labels
    assert labels.has_pose.tolist() == [True, False, True]
    assert not labels.has_position.any()
    # Without intrinsics: a focal length as long as the diagonal.
    assert np.allclose(labels.matrix[:, 0, 0], np.hypot(160, 90)) and np.allclose(labels.matrix[:, :2, 2], [80, 45])
    for name in POINTS:
        index = POINTS.index(name)
        if name in SPIN_PLACES:
            assert np.abs(labels.points[:, index, :2] - pixels[:, index]).max() < 1e-9
        assert (labels.points[:, index, 2] == (1 if name in SPIN_PLACES else 0)).all()
    wrist = POINTS.index("left_wrist")
    held = places - places[:, list(HIPS)].mean(1, keepdims=True)
    assert np.abs(labels.points_3d[:, wrist, :3] - held[:, wrist]).max() < 1e-9
    assert labels.points_3d[:, wrist, 3].all() and not labels.points_3d[:, POINTS.index("nose"), 3].any()


def test_bodies_in_a_world_come_into_their_camera(body: BodyModel, truth: BodyParams, folder: Path) -> None:
    """H36M with its extrinsics: ``trans`` is the world's, ``pose`` the camera's."""
    turn = exp(torch.tensor([[0.3, -1.0, 0.2]] * COUNT, dtype=torch.float64))
    shift = torch.tensor([0.5, 0.1, 3.0], dtype=torch.float64)
    in_world = (turn.transpose(-1, -2) @ (truth.pelvis - shift)[..., None])[..., 0]
    arrays = {
        **basics(),
        "pose": log(truth.rotations).flatten(1).numpy(),
        "shape": truth.shape.numpy(),
        "trans": (in_world - rest_joints(body, truth.shape)[:, 0]).numpy(),
        "cam_R": turn.numpy(),
        "cam_t": shift.expand(COUNT, 3).numpy(),
        "img_focal": np.full(COUNT, 200.0),
        "img_center": np.array([[80.0, 45.0]] * COUNT),
    }
    np.savez(folder / "set.npz", **arrays)
    labels = read_dataset(options(folder), body).labels
    assert np.abs(labels.pelvis - truth.pelvis.numpy()).max() < 1e-9
    assert np.allclose(labels.matrix, MATRIX)
    assert np.abs(labels.points[..., :2] - points_of(body, truth)[0]).max() < 1e-6


def test_a_portrait_that_lies_on_its_side_is_raised(body: BodyModel, folder: Path) -> None:
    arrays = {**basics(), "cam_int": np.tile(np.array([[200.0, 0, 45], [0, 200, 80], [0, 0, 1]]), (COUNT, 1, 1))}
    np.savez(folder / "set.npz", **arrays)
    picture = read_dataset(options(folder), body).picture(0)
    assert picture.shape == (160, 90, 3)
    # Clockwise: what was at the right end is at the bottom.
    assert picture[150, 80].tolist() == [250, 0, 0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scale": None}, "lacks scale"),
        ({"center": np.zeros((2, 2))}, "one row per picture"),
        ({"pose": np.zeros((COUNT, 69))}, "72 or 156 or 165"),
        ({"imgname": np.array(["none.png"] * COUNT)}, "first picture"),
        ({"scale": np.array([{}] * COUNT, dtype=object)}, "without pickled objects"),
    ],
)
def test_what_is_no_dataset_is_refused(body: BodyModel, folder: Path, change: dict[str, Any], told: str) -> None:
    arrays = {key: value for key, value in {**basics(), **change}.items() if value is not None}
    np.savez(folder / "set.npz", **arrays)
    with pytest.raises(InputError, match=told):
        read_dataset(options(folder), body)


def test_recipes_know_datasets(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {rendered: 0, datasets: [{file: a.npz, pictures: b, share: 0.3, shape: false}]}")
    recipe = load_recipe(ImageTrainRecipe, path)
    assert recipe.data.datasets == (DatasetOptions("a.npz", "b", 0.3, shape=False),)
    path.write_text("data: {rendered: 0, datasets: [{file: a.npz, pictures: b, shares: 0.3}]}")
    with pytest.raises(InputError, match="shares"):
        load_recipe(ImageTrainRecipe, path)
    path.write_text("data: {rendered: 0}")
    with pytest.raises(InputError, match="nothing to learn from"):
        load_recipe(ImageTrainRecipe, path)
