"""The cold start by kernels is the cold start by tensors: triangulation, posing, nearest rotations, limbs."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.projection import bearings
from refit_mv.geometry.triangulation import intersect, triangulate
from refit_mv.solve.initialise import initialise
from refit_mv.workshop.synthetic.rigs import random_rig
from tests.known import known


def _rays(views: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noisy rays at random points: a tenth of them gross errors, a fifth missing, some points seen once or never."""
    generator = torch.Generator().manual_seed(seed)
    double = torch.float64
    center = 3 * torch.nn.functional.normalize(torch.randn(views, 3, generator=generator, dtype=double), dim=-1)
    points = torch.randn(6, 1, 11, 3, generator=generator, dtype=double)
    shape = (6, views, 11)
    wrong = (torch.rand(shape, generator=generator) < 0.1)[..., None] * 0.3
    toward = points - center[:, None] + (0.01 + wrong) * torch.randn(*shape, 3, generator=generator, dtype=double)
    weight = torch.rand(shape, generator=generator, dtype=double) * (torch.rand(shape, generator=generator) < 0.8)
    weight[0, :, 0] = 0
    weight[1, 1:, 0] = 0
    return center, torch.nn.functional.normalize(toward, dim=-1), weight


@pytest.mark.parametrize("views", [1, 2, 3, 5, 8])
def test_triangulation(both: Callable, views: int) -> None:
    center, direction, weight = _rays(views)
    kernels, tensors = both(lambda: triangulate(center, direction, weight))
    # Seen twice and more, points are well determined; of the others only the floor knows the depth.
    sure = (tensors.support >= 2) & (tensors.parallax > 0.1)
    assert views == 1 or bool(sure.any())
    assert torch.allclose(kernels.points[sure], tensors.points[sure], atol=1e-7)
    assert torch.equal(sure, (kernels.support >= 2) & (kernels.parallax > 0.1))
    assert torch.equal(kernels.support[sure], tensors.support[sure])
    assert torch.allclose(kernels.parallax[sure], tensors.parallax[sure], atol=1e-9)
    assert torch.allclose(kernels.residual.movedim(1, 2)[sure], tensors.residual.movedim(1, 2)[sure], atol=1e-7)
    prior = center.mean(0).expand(6, 11, 3)
    kernels, tensors = both(lambda: intersect(center, direction, weight, prior, 0.01))
    assert torch.allclose(kernels, tensors, atol=1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bearings(both: Callable, seed: int) -> None:
    """Pinhole and fisheye lenses side by side, pixels far outside the picture among them."""
    generator = torch.Generator().manual_seed(seed)
    rig = random_rig(seed, 4, distortion=True).stacked()
    rig = replace(
        rig,
        is_fisheye=torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64),
        distortion=rig.distortion * torch.tensor([1.0, 0.2, 3.0, 0.2], dtype=torch.float64)[:, None],
    )
    pixels = 900 + 900 * torch.randn(5, 4, 30, 2, generator=generator, dtype=torch.float64)
    (direction, valid), (expected, known) = both(lambda: bearings(rig, pixels))
    assert torch.equal(valid, known)
    assert float(valid.double().mean()) > 0.3
    assert torch.allclose(direction[valid], expected[valid], atol=1e-9)


def test_nearest_rotation(both: Callable) -> None:
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(4, 50, 3, 3, generator=generator, dtype=torch.float64)
    kernels, tensors = both(lambda: so3.nearest_rotation(matrix))
    assert torch.allclose(kernels, tensors, atol=1e-10)
    # Where the answer is not unique it is still a rotation.
    flat = torch.zeros(3, 3, 3, dtype=torch.float64)
    flat[1, 0, 0] = 1
    flat[2] = -torch.eye(3)
    found = so3.nearest_rotation(flat)
    assert torch.allclose(found @ found.mT, torch.eye(3, dtype=torch.float64).expand(3, 3, 3), atol=1e-12)
    assert bool((torch.linalg.det(found) > 0).all())


@pytest.mark.parametrize("correctives", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_posing(both: Callable, kind: torch.dtype, correctives: bool) -> None:
    body = open_body()
    generator = torch.Generator().manual_seed(2)
    if correctives:
        features = 9 * (body.joint_count - 1)
        directions = 1e-3 * torch.randn(len(body.template), 3, features, generator=generator, dtype=torch.float64)
        body = replace(body, pose_directions=directions)
    params = _random_params(body, 5, generator).to(kind)
    skin = landmark_skin(body, body.landmark_names[:12]).to(kind, "cpu")
    skin = skin.displaced(0.01 * torch.randn(12, 3, generator=generator).to(kind))
    kernels, tensors = both(lambda: pose_landmarks(skin, params))
    close = {"rtol": 0, "atol": 1e-5 if kind == torch.float32 else 1e-12}
    assert torch.allclose(kernels.positions, tensors.positions, **close)
    assert torch.allclose(kernels.share, tensors.share, **close)
    assert torch.allclose(kernels.skeleton.positions, tensors.skeleton.positions, **close)
    assert torch.allclose(kernels.skeleton.rotations, tensors.skeleton.rotations, **close)


def _random_params(body: BodyModel, frames: int, generator: torch.Generator) -> BodyParams:
    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    return BodyParams(
        normal(frames, 3), so3.exp(0.5 * normal(frames, body.joint_count, 3)), normal(frames, body.shape_count)
    )


@pytest.mark.parametrize(("views", "keypoints"), [(1, "coco23"), (2, "body25"), (4, "coco23"), (6, "markers67")])
def test_start(both: Callable, views: int, keypoints: str) -> None:
    case = known(views=views, frames=6, keypoints=keypoints)
    confidence = case.problem.confidence.clone()
    confidence[2] = 0
    problem = case.problem.with_rays(confidence=confidence)
    kernels, tensors = both(lambda: initialise(problem))
    first, second = (posed_joints(problem.body, params).positions for params in (kernels, tensors))
    # Joints of one depth turn one after the other instead of at once: a landmark between two of them sees it.
    assert float((first - second).norm(dim=-1).mean()) < 5e-4
    assert bool(torch.isfinite(kernels.rotations).all())
    # Frame by frame: batches make no difference at all.
    alone = initialise(problem.frames(torch.tensor([3])))
    assert torch.equal(alone.rotations[0], kernels.rotations[3])
