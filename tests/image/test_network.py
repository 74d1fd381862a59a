"""The network as a whole: options, both evidence kinds, several views, bodies that are not SMPL's."""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.estimate import Estimate
from refit_mv.image.fusion import Views
from refit_mv.image.keypoint_feedback import KeypointEvidence
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import KEYPOINT_NAMES, feedback_body, point_count
from refit_mv.image.weights import load_image_network, save_image_network
from tests.image.conftest import made_up_crops

SMALL = ImageNetworkOptions(backbone="small", crop_size=64, map_channels=16, iterations=2)


def some_images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SMALL.crop_size, SMALL.crop_size)


@pytest.mark.parametrize(
    "options",
    [
        SMALL,
        replace(SMALL, points="dense", dense_points=40, radius=2, hidden=16, iterations=4),
        replace(SMALL, points="keypoints", point_features=3, feedback_features=64, dropout=0.0),
        replace(SMALL, point_vertices=tuple(range(0, 6000, 200)), fusion="mean"),
        replace(SMALL, trust=True, keypoints=True, crop_size=96),
    ],
    ids=["markers", "dense", "semantic", "vertices", "both"],
)
def test_every_switch_builds_a_network_that_learns(body: BodyModel, options: ImageNetworkOptions) -> None:
    network, prepared = ImageReFit(options).train(), feedback_body(body, options).to(torch.float32)
    crops = made_up_crops(4).to(torch.float32)
    views = Views(2, RigidTransform(torch.eye(3).expand(4, 3, 3), torch.zeros(4, 3)), torch.ones(4))
    keypoints = KeypointEvidence(torch.rand(4, len(KEYPOINT_NAMES), 2) * 64, torch.rand(4, len(KEYPOINT_NAMES)))
    images = torch.randn(4, 3, options.crop_size, options.crop_size)
    estimates = network(images, crops, prepared, views, keypoints)
    assert len(estimates) == options.iterations + 1
    assert prepared.point_count == point_count(options) == network.maps[-1].out_channels
    sum(e.pose.sum() + e.shape.sum() + e.camera.sum() for e in estimates).backward()  # type: ignore[union-attr]
    learning = {name for name, p in network.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    idle = {name for name, _ in network.named_parameters()} - learning
    # What starts at zero holds back those before it; opinions on trust count for nothing where all rays are parallel or
    # means are plain.
    assert not {name for name in idle if not name.startswith(("keypoints.residual", "trust"))}


def test_the_start_is_the_mean_person_facing_the_camera(body: BodyModel) -> None:
    network = ImageReFit(SMALL)
    mean = Estimate(network.mean_pose.view(1, 24, 3, 2), network.mean_shape, network.mean_camera)
    prepared, crops = feedback_body(body, SMALL).to(torch.float32), made_up_crops(1).to(torch.float32)
    joints = posed_joints(prepared.body, mean.params(prepared, crops)).positions[0]
    head, pelvis, left, right = (
        joints[SMPL_JOINT_NAMES.index(name)] for name in ("head", "pelvis", "left_hip", "right_hip")
    )
    assert float(head[1]) < float(pelvis[1]) and float(left[0]) > float(right[0])
    pixels = crops.project(joints[None], SMALL.crop_size)[0]
    assert float(pixels.min()) > 0 and float(pixels.max()) < SMALL.crop_size


def test_crops_do_not_see_each_other_and_dropout_is_for_training(body: BodyModel) -> None:
    network, prepared = ImageReFit(SMALL).eval(), feedback_body(body, SMALL).to(torch.float32)
    images, crops = some_images(3), made_up_crops(3).to(torch.float32)
    together = network(images, crops, prepared)[-1]
    alone = network(images[1:2], crops[1:2], prepared)[-1]
    assert torch.allclose(together.pose[1:2], alone.pose, atol=1e-5)
    assert torch.allclose(together.camera[1:2], alone.camera, atol=1e-5)
    assert torch.equal(network(images, crops, prepared)[-1].pose, together.pose)
    network.backbone.eval(), network.train()
    assert not torch.equal(network(images, crops, prepared)[-1].pose, network(images, crops, prepared)[-1].pose)


def test_explicit_keypoints_enter_the_same_loop(body: BodyModel) -> None:
    options = replace(SMALL, keypoints=True)
    network, prepared = ImageReFit(options).eval(), feedback_body(body, options).to(torch.float32)
    assert network.keypoints is not None
    images, crops = some_images(2), made_up_crops(2).to(torch.float32)
    pixels, confidence = torch.rand(2, len(KEYPOINT_NAMES), 2) * 64, torch.rand(2, len(KEYPOINT_NAMES))
    confidence[:, :4] = 0
    seen = KeypointEvidence(pixels, confidence)
    without = network(images, crops, prepared)[-1].pose
    # Untrained, the second source says nothing.
    assert torch.equal(network(images, crops, prepared, keypoints=seen)[-1].pose, without)
    network.keypoints.gather.weight.data.normal_(0, 0.1)
    answer = network(images, crops, prepared, keypoints=seen)[-1].pose
    assert not torch.allclose(answer, without, atol=1e-4)
    # Pixels of points that were not seen are no evidence, whatever they are.
    pixels[:, :4] = torch.nan
    assert torch.equal(
        network(images, crops, prepared, keypoints=KeypointEvidence(pixels, confidence))[-1].pose, answer
    )
    unseen = KeypointEvidence(pixels, torch.zeros_like(confidence))
    assert torch.equal(network(images, crops, prepared, keypoints=unseen)[-1].pose, without)


def test_bodies_with_other_joints_and_fewer_shapes(body: BodyModel) -> None:
    fingers = replace(
        body,
        name="fingers",
        joint_names=(*body.joint_names[:22], "left_index1", "right_index1"),
        shape_directions=body.shape_directions[..., :4],
    )
    prepared, crops = feedback_body(fingers, SMALL), made_up_crops(3)
    estimate = Estimate(
        torch.randn(3, 24, 3, 2).double(), torch.randn(3, 10).double(), torch.rand(3, 3).double() * 0.2 + 0.8
    )
    params = estimate.params(prepared, crops)
    assert params.shape.shape == (3, 4)
    assert torch.allclose(params.rotations[:, :22], estimate.rotations[:, :22])
    assert torch.allclose(params.rotations[:, 22:], torch.eye(3).double().expand(3, 2, 3, 3))


def test_points_follow_the_body_in_the_camera(body: BodyModel) -> None:
    """Markers of an estimate are those of the same body posed anywhere else, moved rigidly."""
    prepared, crops = feedback_body(body, SMALL), made_up_crops(1)
    estimate = Estimate(
        so3.to_6d(so3.exp(0.4 * torch.randn(1, 24, 3).double())),
        torch.randn(1, 10).double(),
        torch.tensor([[0.8, 0.1, -0.1]]).double(),
    )
    params = estimate.params(prepared, crops)
    turn, shift = so3.exp(torch.randn(3).double()), torch.randn(3).double()
    rotations = params.rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    moved = BodyParams(params.pelvis @ turn.T + shift, rotations, params.shape)
    assert torch.allclose(prepared.pose(moved)[0], prepared.pose(params)[0] @ turn.T + shift, atol=1e-9)


def test_weights_come_back_with_their_options(body: BodyModel, tmp_path) -> None:
    options = replace(SMALL, trust=True, point_vertices=(1, 2, 3))
    network = ImageReFit(options).eval()
    save_image_network(tmp_path / "net.safetensors", network, {"steps": 5})
    back, facts = load_image_network(tmp_path / "net.safetensors")
    assert back.options == options and facts == {"steps": 5} and not back.training
    prepared, crops, images = (
        feedback_body(body, options).to(torch.float32),
        made_up_crops(2).to(torch.float32),
        some_images(2),
    )
    assert torch.equal(back(images, crops, prepared)[-1].pose, network(images, crops, prepared)[-1].pose)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": 100}, "crop_size must be a multiple of 32, got 100"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"iterations": 0}, "iterations must be positive"),
        ({"radius": -1}, "radius must be 0 or more"),
    ],
)
def test_impossible_options_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageNetworkOptions(**changes)


def test_vertices_of_another_mesh_are_refused(body: BodyModel) -> None:
    with pytest.raises(InputError, match=r"more than 6800, body 'open' has 6500"):
        feedback_body(body, replace(SMALL, point_vertices=(6800,)))
    with pytest.raises(InputError, match=r"a mesh that has 6890, body 'open' has 6500.*--body"):
        feedback_body(body, replace(SMALL, point_vertices=(5, 6), mesh_vertices=6890))
