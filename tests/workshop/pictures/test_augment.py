"""Augmented pictures and labels stay one truth: mirrored, rolled and reframed people still project onto their
points.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.geometry.rotations import to_6d
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.crops import cut
from refit_mv.image.estimate import Estimate
from refit_mv.image.fusion import world_params
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import feedback_body
from refit_mv.workshop.pictures.augment import (
    CLOSEST_CROP,
    NONE,
    AugmentOptions,
    Framing,
    crop_picture,
    disturb,
    draw_framing,
    reframed,
)
from refit_mv.workshop.pictures.batches import crop_cameras, make_batch
from refit_mv.workshop.pictures.examples import HIPS, POINTS, Labels
from refit_mv.workshop.pictures.people import PeopleOptions, RenderedPeople, render_people
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.pose_bank import pose_bank

ROUGH = AugmentOptions(roll=0.4, scale=0.25, shift=0.1, strong_crop=0.5, noise=0.05)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> RenderedPeople:
    bank = pose_bank([sampled_motion(load_pose_prior(), 3, 40, 5.0)])
    options = PeopleOptions(count=4, views=3, side=64)
    return render_people(open_body(), bank, options, tmp_path_factory.mktemp("augment") / "people", 3)


def projected(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and places of the points of the bodies that the labels describe."""
    params = BodyParams(*(torch.from_numpy(each) for each in (labels.pelvis, labels.rotations, labels.shape)))
    places = pose_landmarks(landmark_skin(open_body(), POINTS), params).positions.numpy()
    flat = places @ labels.matrix.transpose(0, 2, 1)
    return flat[..., :2] / flat[..., 2:], places


def test_labels_of_augmented_pictures_agree_with_each_other(people: RenderedPeople) -> None:
    framing = draw_framing(people.labels, ROUGH, 4, np.random.default_rng(5))
    assert framing.flip.any() and not framing.flip.all()
    moved = reframed(people.labels, framing)
    pixels, places = projected(moved)
    # The body's two sides are alike to a fraction of a millimetre, so a mirrored person is a person.
    assert np.abs(pixels - moved.points[..., :2]).max() < 0.05
    held = places - places[:, list(HIPS)].mean(1, keepdims=True)
    assert np.abs(held - moved.points_3d[..., :3]).max() < 2e-3
    assert np.allclose(np.linalg.det(moved.rotations), 1)
    # All views of a person are mirrored or none.
    assert (framing.flip.reshape(4, 3) == framing.flip.reshape(4, 3)[:, :1]).all()


def test_boxes_keep_to_what_was_asked(people: RenderedPeople) -> None:
    repeated = people.labels[np.repeat(np.arange(12), 200)]
    for options, low, high in (
        (AugmentOptions(flip=0.0, scale=0.25, roll=0.0), 0.75, 1.25),
        (AugmentOptions(flip=0.0, scale=0.0, roll=0.0, strong_crop=1.0), CLOSEST_CROP, 0.8),
        (NONE, 1.0, 1.0),
    ):
        framing = draw_framing(repeated, options, len(repeated), np.random.default_rng(0))
        share = framing.box[:, 2] / repeated.box[:, 2]
        assert low - 1e-9 <= share.min() and share.max() <= high + 1e-9
        if options.strong_crop:
            # The smaller box stays inside the usual one.
            corner = framing.box[:, :2] - framing.box[:, 2:] / 2
            whole = draw_framing(repeated, NONE, len(repeated), np.random.default_rng(0)).box
            assert (corner >= whole[:, :2] - whole[:, 2:] / 2 - 0.5).all()
    rolled = draw_framing(repeated, AugmentOptions(roll=0.5), len(repeated), np.random.default_rng(0)).roll
    assert np.abs(rolled).max() <= 1 and 0.4 < rolled.std() < 0.5
    with pytest.raises(InputError):
        AugmentOptions(flip=-0.1)
    with pytest.raises(InputError):
        AugmentOptions(scale=1.0)


@pytest.mark.parametrize("side", [40.0, 300.0])
def test_a_dot_lands_where_its_point_does(side: float) -> None:
    """Small boxes are enlarged, large ones shrunk without losing half a pixel on the way."""
    size, point = 64, np.array([231.0, 174.0])
    labels = Labels.unknown(1)
    labels.matrix[:] = [[500.0, 0, 310], [0, 500, 250], [0, 0, 1]]
    labels.box[:] = [240.0, 180.0, side]
    labels.points[:, 0] = [*point, 1]
    y, x = np.mgrid[:480, :640]
    spread = 2.0 if side < 100 else 6.0
    blob = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * spread**2))
    picture = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, axis=2)
    for flip in (False, True):
        moved = Framing(np.array([flip]), np.array([0.3]), labels.box)
        there = reframed(labels, moved)
        name = POINTS.index("right_ankle" if flip else "left_ankle")
        center = there.points[0, name, :2] + [4.0, -3.0]
        moved = Framing(moved.flip, moved.roll, np.array([[*center, side]]))
        there = reframed(labels, moved)
        crop = crop_picture(picture, labels, moved, 0, size)[..., 0].astype(float)
        rows, columns = np.mgrid[:size, :size]
        found = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
        cameras = crop_cameras(there)
        expected = cameras.into_crop(torch.from_numpy(there.points[:, name, None, :2]).float(), size)[0, 0].numpy()
        # A crop's pixel shows the point half a pixel further in.
        assert np.abs(found + 0.5 - expected).max() < 0.1


def test_unaugmented_crops_are_those_that_fitting_cuts(people: RenderedPeople) -> None:
    picture = people.picture(4)
    labels = people.labels[np.array([4])]
    ours = crop_picture(picture, labels, draw_framing(labels, NONE, 1, np.random.default_rng(0)), 0, 64)
    pose = RigidTransform(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    camera = Camera("window", (64, 64), labels.matrix[0], np.zeros(0), pose)
    x, y, side = labels.box[0].tolist()
    theirs = cut(picture, camera, (x, y), side, 64)
    gap = np.abs(ours.astype(int) - theirs.astype(int))
    assert gap.mean() < 0.5 and np.quantile(gap, 0.999) <= 3


def test_disturbing_changes_what_it_should(people: RenderedPeople) -> None:
    crop = people.picture(0)
    points = people.labels.points[0, :, :2]
    assert np.array_equal(disturb(crop, points, NONE, np.random.default_rng(0)), crop)
    covered = disturb(crop, points, AugmentOptions(occluded=1.0, colour=0.0), np.random.default_rng(1))
    share = (np.abs(covered.astype(int) - crop.astype(int)).max(-1) > 4).mean()
    assert 0.002 < share < 0.5
    tinted = disturb(crop, points, AugmentOptions(occluded=0.0, colour=0.4), np.random.default_rng(1))
    ratio = tinted.mean((0, 1)) / crop.mean((0, 1))
    assert (ratio > 0.55).all() and (ratio < 1.45).all() and np.ptp(ratio) > 0.02


def test_views_of_a_mirrored_person_still_meet(people: RenderedPeople) -> None:
    """The truth, given to the fusion as every view's own estimate, comes out as one body in a world that may be
    mirrored.
    """
    options = AugmentOptions(roll=0.3, scale=0.1, occluded=0.0)
    batch = make_batch(people, np.arange(12), 32, options, np.random.default_rng(2), together=True)
    assert batch.views is not None and batch.views.count == 3
    feedback = feedback_body(open_body(), ImageNetworkOptions()).to(torch.float32)
    truth = batch.truth.params
    camera = batch.crops.camera_of(truth.pelvis - feedback.rest_pelvis(truth.shape))
    world = world_params(
        Estimate(to_6d(truth.rotations), truth.shape, camera), batch.views, batch.crops, feedback
    ).params(feedback)
    back = batch.views.cam_from_world.apply(world.pelvis.repeat_interleave(3, 0))
    assert float((back - truth.pelvis).abs().max()) < 1e-3
    root = batch.views.cam_from_world.rotation @ world.rotations[:, 0].repeat_interleave(3, 0)
    assert float((root - truth.rotations[:, 0]).abs().max()) < 1e-4
    assert float((world.rotations[:, 1:].repeat_interleave(3, 0) - truth.rotations[:, 1:]).abs().max()) < 1e-4


def test_batches_depend_on_the_generator_alone(people: RenderedPeople, tmp_path: Path) -> None:
    first, second = (make_batch(people, np.array([1, 7, 3]), 32, ROUGH, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.images.shape == (3, 3, 32, 32) and first.images.dtype == torch.float32
    assert bool(torch.isfinite(first.images).all())
