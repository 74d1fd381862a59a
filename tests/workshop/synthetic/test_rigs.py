"""Rigs see the person, are what their arguments say, and repeat with their seed."""

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.geometry.projection import project
from refit_mv.geometry.rotations import angle_between, exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.workshop.synthetic.rigs import (
    CAPTURE_RADIUS,
    MINIMUM_SEPARATION,
    PERSON_CENTER,
    look_at,
    miscalibrated_rig,
    moved_rig,
    random_rig,
    ring_rig,
)

PERSON = torch.tensor(PERSON_CENTER, dtype=torch.float64)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_random_rigs_stand_where_they_should_and_see_the_person(views: int) -> None:
    for seed in range(30):
        rig = random_rig(seed, views, distortion=seed % 2 == 1)
        offset = torch.stack([camera.center for camera in rig]) - PERSON
        reach = offset[:, [0, 2]].norm(dim=1)
        assert bool(((reach >= 2.5) & (reach <= 5.5)).all())
        assert bool(((offset[:, 1] >= -0.5) & (offset[:, 1] <= 1.5)).all())
        azimuths = torch.atan2(offset[:, 0], offset[:, 2]).sort().values.numpy()
        if views > 1:
            gaps = np.diff(np.append(azimuths, azimuths[0] + 2 * np.pi))
            assert gaps.min() >= MINIMUM_SEPARATION - 1e-9
        # Head and feet of a standing person are in every picture.
        points = PERSON + torch.tensor([[0.0, 0.8, 0.0], [0.0, 0.0, 0.0], [0.0, -0.93, 0.0]], dtype=torch.float64)
        pixels, depth = project(rig.stacked(), points)
        for view, camera in enumerate(rig):
            assert camera.size is not None
            assert bool((depth[view] > 1).all())
            limit = torch.tensor(camera.size, dtype=torch.float64)
            assert bool(((pixels[view] >= 0) & (pixels[view] < limit)).all())
            # Up in the world is up in the picture.
            assert float(pixels[view, 0, 1]) < float(pixels[view, 1, 1]) < float(pixels[view, 2, 1])


def test_random_rigs_mix_landscape_and_portrait() -> None:
    sizes = [camera.size for seed in range(40) for camera in random_rig(seed, 4)]
    # 160 draws at 25 %: 40 ± 5.5.
    assert 20 < sizes.count((1080, 1920)) < 60
    assert set(sizes) == {(1080, 1920), (1920, 1080)}


def test_random_rigs_repeat_with_their_seed() -> None:
    first, again, other = (random_rig(seed, 3).stacked().cam_from_world.matrix() for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_roll_turns_the_picture() -> None:
    center, target = np.array([0.0, 1.0, 4.0]), np.array([0.0, 1.0, 0.0])
    upright, rolled = look_at(center, target), look_at(center, target, roll=np.pi / 2)
    above = torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    # OpenCV: y points down, so a point above has negative y; a quarter turn about z carries (0, -1) to (1, 0).
    torch.testing.assert_close(upright.apply(above), torch.tensor([0.0, -1.0, 4.0]).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(rolled.apply(above), torch.tensor([1.0, 0.0, 4.0]).double(), atol=1e-12, rtol=0)


def test_camera_in_front_sees_the_left_hand_on_the_right() -> None:
    """The handedness of everything: a person at the origin faces +z, where the first ring camera stands."""
    rig = ring_rig(4)
    hands = PERSON + torch.tensor([[0.6, 0.0, 0.0], [-0.6, 0.0, 0.0]], dtype=torch.float64)
    pixels, _ = project(rig.stacked(), hands)
    assert float(pixels[0, 0, 0]) > float(pixels[0, 1, 0])
    assert float(pixels[2, 0, 0]) < float(pixels[2, 1, 0])


def test_ring_is_regular() -> None:
    rig = ring_rig(6, radius=3.0, height=1.5)
    assert rig.names == ("cam01", "cam02", "cam03", "cam04", "cam05", "cam06")
    centers = torch.stack([camera.center for camera in rig])
    torch.testing.assert_close(centers[:, [0, 2]].norm(dim=1), torch.full((6,), 3.0).double())
    torch.testing.assert_close(centers[:, 1], torch.full((6,), 1.5).double())
    pixels, _ = project(rig.stacked(), PERSON[None])
    for view, camera in enumerate(rig):
        np.testing.assert_allclose(pixels[view, 0].numpy(), camera.matrix[:2, 2], atol=1e-9)
    # The capture sphere touches the nearer image border: its outline lies at asin(r / d) from the axis.
    distance = float((rig.cameras[0].center - PERSON).norm())
    half_angle = np.arctan(1080 / 2 / rig.cameras[0].focal)
    assert np.sin(half_angle) * distance == pytest.approx(CAPTURE_RADIUS)


def test_moving_the_world_moves_no_pixel() -> None:
    rig = random_rig(1, 4, distortion=True)
    new_from_old = RigidTransform(
        exp(torch.tensor([0.4, -1.0, 2.0], dtype=torch.float64)), torch.tensor([3.0, -2.0, 9.0], dtype=torch.float64)
    )
    points = PERSON + torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5
    before, _ = project(rig.stacked(), points)
    after, _ = project(moved_rig(rig, new_from_old).stacked(), new_from_old.apply(points))
    torch.testing.assert_close(after, before, atol=1e-8, rtol=0)


def test_miscalibration_has_the_promised_size() -> None:
    rig = ring_rig(200)
    wrong = miscalibrated_rig(rig, 0.01, 0.02, np.random.default_rng(0))
    shift = torch.stack([camera.center for camera in wrong]) - torch.stack([camera.center for camera in rig])
    # 600 numbers: their spread is known to 3 %.
    assert float(shift.std()) == pytest.approx(0.02, rel=0.1)
    turn = angle_between(
        torch.stack([camera.cam_from_world.rotation for camera in wrong]),
        torch.stack([camera.cam_from_world.rotation for camera in rig]),
    )
    assert float(turn.square().mean().sqrt()) == pytest.approx(0.01 * np.sqrt(3), rel=0.1)


def test_impossible_rigs_are_refused() -> None:
    for bad in (lambda: random_rig(0, 0), lambda: ring_rig(0), lambda: ring_rig(3, radius=0.0)):
        with pytest.raises(InputError):
            bad()
    with pytest.raises(InputError, match="aim"):
        look_at(np.array([0.0, 3.0, 0.0]), np.zeros(3))
