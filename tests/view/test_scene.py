"""A take in space: what is drawn is what was fitted."""

import base64
import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from refit_mv.geometry.projection import project
from refit_mv.report.scene import Scene, evenly, nearest_on_rays, scene_of
from refit_mv.report.scene_block import KINDS, packed
from refit_mv.solve.floor import Floor
from refit_mv.take.take import Take, open_take

TYPES = {short: np.dtype(name).newbyteorder("<") for name, short in KINDS.items()}


@pytest.fixture(scope="module")
def take(viewed: Path) -> Take:
    return open_take(viewed)


@pytest.fixture(scope="module")
def scene(take: Take) -> Scene:
    return scene_of(take)


def test_landmarks_are_as_far_from_keypoints_as_the_fit_says(take: Take, scene: Scene) -> None:
    person = scene.people[0]
    pixels, _ = project(take.rig.stacked(), torch.from_numpy(person.landmarks))
    off = np.linalg.norm(pixels.numpy() - person.pixels, axis=-1)
    said = take.people[0].pixel_error()
    both = np.isfinite(said) & np.isfinite(off)
    assert both.sum() > 500
    # Stored in single precision.
    assert np.abs(off - said)[both].max() < 1e-3


def test_a_ray_through_a_projected_point_passes_through_it(take: Take) -> None:
    points = torch.tensor([[[0.2, -0.1, 1.1], [-0.3, 0.4, 0.5]]], dtype=torch.float64)
    rig = take.rig.stacked()
    from refit_mv.geometry.projection import bearings

    rays, _ = bearings(rig, project(rig, points)[0])
    centers = np.stack([camera.center.numpy() for camera in take.rig])
    near = nearest_on_rays(centers, rays.numpy(), points.numpy())
    assert np.abs(near - points.numpy()[:, None]).max() < 1e-8


def test_residuals_stand_at_right_angles_on_their_rays(scene: Scene) -> None:
    person = scene.people[0]
    near = person.nearest_on_rays(scene.cameras)
    rest = person.landmarks[:, None] - near
    assert np.nanmax(np.abs((rest * person.rays).sum(-1))) < 1e-9
    assert np.isfinite(near).any()


def test_pixels_come_back_from_the_plane_of_a_picture(scene: Scene) -> None:
    camera = scene.cameras[1]
    pixels = np.array([[0.0, 0.0], [100.5, 700.25], [camera.size[0] - 1.0, camera.size[1] - 1.0]])
    for pixel, place in zip(pixels, camera.on_plane(pixels), strict=True):
        hit = camera.pixel(
            camera.center + 0.3 * camera.world_from_cam[:, 0], place - camera.center - 0.3 * camera.world_from_cam[:, 0]
        )
        assert hit is not None
        assert np.allclose(hit, (*pixel, 1.0), atol=1e-6)
    assert camera.pixel(camera.center, -camera.world_from_cam[:, 2]) is None
    beside = camera.on_plane(np.array([-5.0, 10.0]))
    assert camera.pixel(camera.center, beside - camera.center) is None


def test_ellipsoids_have_the_covariances_of_the_fit(take: Take, scene: Scene) -> None:
    spread = scene.people[0].spread
    stored = take.people[0].store.read("joint_covariance")
    assert np.allclose(spread @ spread, stored, rtol=1e-4, atol=1e-9)


def test_what_a_page_carries_moves_as_the_fit_does(scene: Scene) -> None:
    header, block = packed(scene)
    raw = gzip.decompress(base64.b64decode(block))
    arrays = {
        name: np.frombuffer(raw, TYPES[kind], count, place) for name, (kind, place, count) in header["arrays"].items()
    }
    frames, joints = len(scene), len(scene.skin.joint_names)
    assert arrays["numbers"].tolist() == scene.frame_numbers.tolist()
    turn = arrays["p0.turn"].reshape(frames, joints, 4).astype(float)
    rotations = Rotation.from_quat(turn[..., [1, 2, 3, 0]].reshape(-1, 4)).as_matrix().reshape(frames, joints, 3, 3)
    rest = arrays["p0.rest"].reshape(joints, 3)
    positions = np.zeros((frames, joints, 3))
    for joint, parent in enumerate(scene.skin.parents):
        if parent < 0:
            positions[:, joint] = arrays["p0.pelvis"].reshape(frames, 3)
        else:
            positions[:, joint] = positions[:, parent] + rotations[:, parent] @ (rest[joint] - rest[parent])
    # A tenth of a millimetre and the rounding of rotations, over a few bones.
    assert np.abs(positions - scene.people[0].positions).max() < 3e-4
    weights = arrays["skin.weights"].reshape(-1, 4).astype(int)
    assert (weights.sum(1) == 255).all()
    assert len(arrays["faces"]) == scene.skin.faces.size


def test_without_evidence_a_page_is_lighter_and_has_no_keypoints(scene: Scene) -> None:
    header, block = packed(scene, evidence=False)
    assert "p0.rays" not in header["arrays"]
    assert len(block) < len(packed(scene)[1])


def test_some_frames_of_a_take(take: Take, scene: Scene) -> None:
    some = scene_of(take, np.array([1, 4]))
    assert np.array_equal(some.frame_numbers, scene.frame_numbers[[1, 4]])
    assert np.array_equal(some.people[0].rays, scene.people[0].rays[[1, 4]], equal_nan=True)
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(4, 10).tolist() == [0, 1, 2, 3]


def test_a_known_floor_is_where_it_is(take: Take, scene: Scene) -> None:
    from dataclasses import replace

    lifted = scene_of(replace(take, floor=Floor((1.0, 2.0, 0.25), (0.0, 0.0, 1.0), 0.002)))
    assert lifted.floor_known
    assert lifted.floor == 0.25
    assert not scene.floor_known


def test_one_looks_from_between_the_cameras(scene: Scene) -> None:
    eye, middle = scene.vantage()
    flat = [
        (point - middle) - ((point - middle) @ scene.up) * scene.up
        for point in (eye, *(c.center for c in scene.cameras))
    ]
    own, *others = (each / np.linalg.norm(each) for each in flat)
    # Four cameras leave a gap of a quarter turn or more; its middle is an eighth from the next camera.
    assert max(own @ other for other in others) < np.cos(np.radians(44))
