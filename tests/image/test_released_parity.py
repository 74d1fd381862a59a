"""Every part of the network against its formula in NumPy float64, and the whole against the released code's."""

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.fusion import Views
from refit_mv.image.look_up import look_up
from refit_mv.image.network import ImageReFit
from refit_mv.image.points import feedback_body
from refit_mv.image.released import to_released
from tests.image import released_formulas as formulas
from tests.image.conftest import made_up_crops

EXACT = 1e-10


def as_arrays(network: ImageReFit) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in to_released(network).items()}


def frames_of(crops) -> list[formulas.Frame]:
    numbers = zip(crops.focal, crops.principal, crops.box_center, crops.box_side, strict=True)
    return [formulas.Frame(float(f), o.numpy(), c.numpy(), float(b)) for f, o, c, b in numbers]


def test_look_up_reads_windows_with_x_outside_and_y_inside() -> None:
    maps = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    pixels = torch.tensor(
        [[[3.0, 5.0], [-6.0, 30.0], [47.0, 35.5]], [[20.2, 17.9], [0.0, 0.0], [90.0, -40.0]]]
    ).double()
    for radius in (0, 1, 3):
        expected = formulas.look_up(maps.numpy(), pixels.numpy(), radius)
        assert np.abs(look_up(maps, pixels, radius).numpy() - expected).max() < EXACT
    # A ramp in x: it changes from one group of seven to the next, not within.
    ramp = torch.arange(30.0, dtype=torch.float64).expand(1, 1, 30, 30)
    window = look_up(ramp, torch.tensor([[[60.0, 60.0]]], dtype=torch.float64), 3).view(7, 7)
    assert window[:, 0].tolist() == pytest.approx([12, 13, 14, 15, 16, 17, 18])
    assert torch.allclose(window, window[:, :1].expand(7, 7))


def test_recurrent_units(released_network: ImageReFit) -> None:
    w, inputs = as_arrays(released_network), released_network.streams.rotations.update.weight.shape[-1] - 32
    hidden, x = torch.randn(3, 26, 32).double(), torch.randn(3, inputs).double()
    assert inputs == 256 + 3 + 144 + 10 + 3
    expected = np.stack([formulas.update(w, h, row) for h, row in zip(hidden.numpy(), x.numpy(), strict=True)])
    assert np.abs(released_network.streams(hidden, x).numpy() - expected).max() < EXACT


def test_decoder(released_network: ImageReFit) -> None:
    w, hidden, box = as_arrays(released_network), torch.randn(3, 26, 32).double(), torch.randn(3, 3).double()
    change = released_network.decoder(hidden, box)
    for row in range(3):
        pose, shape, camera = formulas.decode(w, hidden[row].numpy(), box[row].numpy())
        assert np.abs(change.pose[row].flatten().numpy() - pose).max() < EXACT
        assert np.abs(change.shape[row].numpy() - shape).max() < EXACT
        assert np.abs(change.camera[row].numpy() - camera).max() < EXACT


def test_six_numbers_are_two_columns_row_by_row() -> None:
    six = torch.randn(50, 6).double()
    ours = so3.from_6d(six.unflatten(-1, (3, 2))).numpy()
    assert max(np.abs(r - formulas.rotation(s)).max() for r, s in zip(ours, six.numpy(), strict=True)) < EXACT


def test_box_camera_and_projection() -> None:
    crops = made_up_crops(20)
    camera = torch.rand(20, 3).double() * 0.5 + 0.4
    points = torch.randn(20, 11, 3).double()
    facts, translation = crops.facts(), crops.translation(camera)
    placed = points + translation[:, None]
    pixels = crops.project(placed, 256)
    for row, frame in enumerate(frames_of(crops)):
        assert np.abs(facts[row].numpy() - frame.facts()).max() < EXACT
        assert np.abs(translation[row].numpy() - frame.translation(camera[row].numpy())).max() < EXACT
        assert np.abs(pixels[row].numpy() - frame.project(placed[row].numpy(), 256)).max() < 1e-9
    assert torch.allclose(crops.camera_of(translation), camera, rtol=0, atol=EXACT)


def test_feedback_points_are_vertices_of_the_skinned_mesh(
    body: BodyModel, released_network: ImageReFit, released_vertices: tuple[int, ...]
) -> None:
    from refit_mv.image.estimate import Estimate

    prepared, crops = feedback_body(body, released_network.options), made_up_crops(3)
    estimate = Estimate(
        torch.randn(3, 24, 3, 2).double(), torch.randn(3, 10).double(), torch.rand(3, 3).double() * 0.3 + 0.7
    )
    points, none = prepared.pose(estimate.params(prepared, crops))
    assert none.shape == (3, 0, 3)
    for row, frame in enumerate(frames_of(crops)):
        expected = formulas.smpl_vertices(
            body, estimate.pose[row].flatten().numpy(), estimate.shape[row].numpy(), released_vertices
        )
        expected = expected + frame.translation(estimate.camera[row].numpy())
        assert np.abs(points[row].numpy() - expected).max() < EXACT


def test_backbone(released_network: ImageReFit) -> None:
    images = torch.randn(2, 3, 64, 96).double()
    w = {k.removeprefix("backbone."): v for k, v in to_released(released_network).items() if k.startswith("backbone.")}
    features, summary = released_network.backbone(images)
    expected_features, expected_summary = formulas.hrnet(w, images)
    assert features.shape == (2, 720, 16, 24) and summary.shape == (2, 384)
    assert 0.05 < float(features.std()) < 50 and 0.05 < float(summary.std()) < 50
    assert float((features - expected_features).norm() / expected_features.norm()) < EXACT
    assert float((summary - expected_summary).norm() / expected_summary.norm()) < EXACT


@pytest.mark.parametrize("multi_view", [False, True], ids=["single view", "fusion mean"])
def test_the_whole_network_through_all_iterations(
    body: BodyModel, released_network: ImageReFit, released_vertices: tuple[int, ...], multi_view: bool
) -> None:
    count = 3
    images, crops = torch.randn(count, 3, 64, 64).double(), made_up_crops(count)
    rotation = so3.exp(torch.randn(count, 3).double()) if multi_view else None
    views = None if rotation is None else Views(count, RigidTransform(rotation, torch.zeros(count, 3).double()))
    prepared = feedback_body(body, released_network.options)
    found = released_network(images, crops, prepared, views, iterations=10 if multi_view else 5)
    expected = formulas.refit(
        to_released(released_network),
        images,
        frames_of(crops),
        body,
        released_vertices,
        10 if multi_view else 5,
        None if rotation is None else rotation.numpy(),
    )
    assert len(found) == len(expected) == (11 if multi_view else 6)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours.pose.flatten(1).numpy() - theirs.pose).max() < 1e-8
        assert np.abs(ours.shape.numpy() - theirs.shape).max() < 1e-8
        assert np.abs(ours.camera.numpy() - theirs.camera).max() < 1e-8
    # The comparison is not of two networks that do nothing.
    moved = (found[-1].pose - found[0].pose).abs().max()
    assert float(moved) > 0.05


def test_single_precision_is_close_enough_to_compare_in(body: BodyModel, released_network: ImageReFit) -> None:
    import copy

    images, crops = torch.randn(2, 3, 64, 64).double(), made_up_crops(2)
    prepared = feedback_body(body, released_network.options)
    double = released_network(images, crops, prepared)[-1]
    single = copy.deepcopy(released_network).float()(
        images.float(), crops.to(torch.float32), prepared.to(torch.float32)
    )[-1]
    for exact, rounded in ((double.pose, single.pose), (double.shape, single.shape), (double.camera, single.camera)):
        assert float((exact - rounded).norm() / exact.norm()) < 1e-5
