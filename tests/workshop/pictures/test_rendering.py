"""What pixels see, against rays cast one by one; people's labels, against the world they stand in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.projection import project
from refit_mv.image.rasteriser import NEAR, rasterise
from refit_mv.workshop.pictures.appearance import Garment, Limb, draw_appearance, tailor
from refit_mv.workshop.pictures.backdrop import draw_background, occlude
from refit_mv.workshop.pictures.examples import POINTS
from refit_mv.workshop.pictures.people import FACTS, PICTURES, PeopleOptions, RenderedPeople, open_people, render_people
from refit_mv.workshop.pictures.render import draw_light, render
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.pose_bank import PoseBank, pose_bank

SIZE = 28


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def bank() -> PoseBank:
    return pose_bank([sampled_motion(load_pose_prior(), 3, 40, 5.0)])


def cast(p_cam: np.ndarray, faces: np.ndarray, x: int, y: int, matrix: np.ndarray) -> tuple[int, float]:
    """The nearest face that looks at the camera along a pixel's ray, and its depth: Möller and Trumbore, in float64."""
    ray = np.linalg.solve(matrix, [x, y, 1.0])
    a, b, c = (p_cam[faces[:, corner]] for corner in range(3))
    u, v = b - a, c - a
    normal = np.cross(u, v)
    across = np.cross(ray, v)
    determinant = (u * across).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_u = (-a * across).sum(1) / determinant
        turned = np.cross(-a, u)
        share_v = (turned * ray).sum(1) / determinant
        depth = (turned * v).sum(1) / determinant
    hit = (normal @ ray < 0) & (share_u >= 0) & (share_v >= 0) & (share_u + share_v <= 1) & (depth > NEAR)
    depth = np.where(hit, depth, np.inf)
    return (int(depth.argmin()), float(depth.min())) if hit.any() else (-1, np.inf)


def test_every_pixel_sees_what_its_ray_hits(body: BodyModel) -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    p_cam = body.template.numpy() @ turn.T + np.array([0.05, -0.1, 2.2])
    matrix = np.array([[29.0, 0, 13.3], [0, 29, 14.1], [0, 0, 1]])
    faces = body.faces.numpy()
    flat = p_cam @ matrix.T
    raster = rasterise(flat[:, :2] / flat[:, 2:], p_cam[:, 2], faces, (SIZE, SIZE))
    seen = np.full((SIZE, SIZE), -1)
    depth = np.full((SIZE, SIZE), np.inf)
    seen.flat[raster.place], depth.flat[raster.place] = raster.face, raster.depth
    assert 40 < len(raster.place) < 500
    wrong = 0
    for y in range(SIZE):
        for x in range(SIZE):
            face, there = cast(p_cam, faces, x, y, matrix)
            # Pixels whose ray passes an edge may be given to either neighbour by single precision.
            wrong += (face < 0) != (seen[y, x] < 0) or (face >= 0 and abs(there - depth[y, x]) > 1e-3)
    assert wrong <= 2
    # Interpolation is perspective-correct: places of the skin lie on the rays of their pixels.
    places = raster.interpolated(faces, p_cam)
    again = places @ matrix.T
    expected = np.stack([raster.place % SIZE, raster.place // SIZE], axis=1)
    assert np.abs(again[:, :2] / again[:, 2:] - expected).max() < 2e-3


def test_nothing_behind_or_too_near_is_drawn() -> None:
    faces = np.array([[0, 2, 1]])
    corners = np.array([[-50.0, -50], [100, -50], [0, 100]])
    assert len(rasterise(corners, np.array([1.0, 1, 1]), faces, (8, 8)).place) == 64
    assert len(rasterise(corners, np.array([1.0, 1, 1]), faces[:, ::-1], (8, 8)).place) == 0
    assert len(rasterise(corners, np.array([1.0, 1, 0.5 * NEAR]), faces, (8, 8)).place) == 0


def test_clothes_lie_where_they_belong(body: BodyModel) -> None:
    measures = tailor(body)
    joint = body.skin_weights.argmax(1).numpy()
    for seed in range(20):
        looks = draw_appearance(measures, np.random.default_rng(seed))
        worn = looks.garment(measures, measures.limb, measures.rest)
        assert not np.isin(worn[measures.limb == Limb.HEAD], (Garment.TOP, Garment.BOTTOM, Garment.SHOE)).any()
        assert (worn[np.isin(joint, (10, 11))] == Garment.SHOE).all()
        assert (worn == Garment.TOP).sum() > 300 and (worn == Garment.BOTTOM).sum() > 300
        colour = looks.albedo(worn, measures.rest)
        assert np.isfinite(colour).all() and colour.min() >= 0 and colour.max() <= 1


def test_a_picture_shows_the_body_before_its_background(body: BodyModel) -> None:
    rng = np.random.default_rng(1)
    background = draw_background((64, 80), rng)
    p_cam = body.template.numpy() * [1, -1, -1] + [0, -0.3, 3]
    matrix = np.array([[90.0, 0, 31.5], [0, 90, 39.5], [0, 0, 1]])
    looks = draw_appearance(tailor(body), rng)
    picture = render(body, p_cam, matrix, looks, draw_light(rng), background)
    assert picture.pixels.shape == (80, 64, 3)
    y, x = np.nonzero(picture.mask)
    flat = p_cam @ matrix.T
    pixels = flat[:, :2] / flat[:, 2:]
    # Clothes stand off the skin by 2 cm at most, half a pixel here; fingertips fill less than half of theirs.
    assert abs(x.min() - pixels[:, 0].min()) < 2.5 and abs(x.max() - pixels[:, 0].max()) < 2.5
    assert abs(y.min() - pixels[:, 1].min()) < 1.5 and abs(y.max() - pixels[:, 1].max()) < 1.5
    # Symmetric about the middle of the picture, as the body is: no shift by half a pixel from supersampling.
    assert abs(x.mean() - 31.5) < 0.3
    again = render(body, p_cam + np.array([0, 0, 100]), matrix, looks, draw_light(rng), background)
    assert again.mask.sum() < 5
    covered = background.copy()
    occlude(covered, np.array([32.0, 40.0]), np.random.default_rng(0))
    assert 10 < (covered != background).any(-1).sum() < 64 * 80 / 2


@pytest.fixture(scope="module")
def people(body: BodyModel, bank: PoseBank, tmp_path_factory: pytest.TempPathFactory) -> RenderedPeople:
    options = PeopleOptions(count=3, views=2, side=48, occluded=0.5)
    return render_people(body, bank, options, tmp_path_factory.mktemp("people") / "three", 7)


def test_labels_are_the_world_seen_by_the_cameras(body: BodyModel, people: RenderedPeople) -> None:
    points = pose_landmarks(landmark_skin(body, POINTS), people.truth).positions
    joints = posed_joints(body, people.truth).positions
    for person in range(3):
        rig = people.rig(person).stacked()
        pixels, depth = project(rig, points[person])
        rows = slice(2 * person, 2 * person + 2)
        labels = people.labels[rows]
        assert np.abs(labels.points[..., :2] - pixels.numpy()).max() < 1e-8
        pelvis = rig.cam_from_world.apply(joints[person, 0])
        assert np.abs(labels.pelvis - pelvis.numpy()).max() < 1e-9
        assert bool((depth > 0.5).all())
        root = rig.cam_from_world.rotation @ people.truth.rotations[person, 0]
        assert np.abs(labels.rotations[:, 0] - root.numpy()).max() < 1e-12
        # The window shows the box with the margin that was asked for, in its middle.
        assert np.allclose(labels.box[:, 2] * 1.4, 48)
        assert np.allclose(labels.box[:, :2], 23.5)
    for index in range(6):
        assert people.picture(index).std() > 10


def test_people_depend_on_seed_and_number_alone(
    body: BodyModel, bank: PoseBank, people: RenderedPeople, tmp_path: Path
) -> None:
    fewer = render_people(body, bank, PeopleOptions(count=2, views=2, side=48, occluded=0.5), tmp_path / "two", 7)
    assert np.array_equal(fewer.pictures, people.pictures[:4])
    assert np.array_equal(fewer.labels.points, people.labels.points[:4])


def test_a_finished_folder_is_opened_and_no_other_accepted(
    body: BodyModel, bank: PoseBank, people: RenderedPeople, tmp_path: Path
) -> None:
    options = PeopleOptions(count=3, views=2, side=48, occluded=0.5)
    again = render_people(body, bank, options, people.folder, 7)
    assert np.array_equal(again.pictures, people.pictures)
    assert torch.equal(again.truth.shape, people.truth.shape)
    with pytest.raises(InputError, match="other options"):
        render_people(body, bank, options, people.folder, 8)
    (tmp_path / PICTURES).write_bytes((people.folder / PICTURES).read_bytes())
    (tmp_path / FACTS).write_text(json.dumps(json.loads((people.folder / FACTS).read_text())))
    with pytest.raises(InputError, match="no rendered people"):
        open_people(tmp_path)
    with pytest.raises(InputError, match="must be positive"):
        PeopleOptions(count=0)
