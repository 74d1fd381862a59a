"""The collapsed skin against the whole mesh, and its closed-form Jacobians against central differences."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import (
    LandmarkSkin,
    landmark_skin,
    offset_jacobian,
    pose_landmarks,
    rotation_jacobian,
    shape_jacobian,
)
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp

FRAMES = 5
# Central differences of step h err by h² times a third derivative of order one metre, and by rounding 1e-16/h.
STEP = 1e-5
DIFFERENCE = 1e-8


def with_correctives(body: BodyModel) -> BodyModel:
    """The open body has no pose correctives; SMPL's are of this size (millimetres per radian)."""
    generator = torch.Generator().manual_seed(1)
    size = (len(body.template), 3, 9 * (body.joint_count - 1))
    return replace(body, pose_directions=2e-3 * torch.randn(size, generator=generator, dtype=torch.float64))


def random_params(body: BodyModel, frames: int = FRAMES) -> BodyParams:
    """Turns of up to a radian or two at every joint: no pose of people, but formulas must hold for all."""
    generator = torch.Generator().manual_seed(2)
    turns = 0.8 * torch.randn(frames, body.joint_count, 3, generator=generator, dtype=torch.float64)
    pelvis = torch.randn(frames, 3, generator=generator, dtype=torch.float64)
    shape = torch.randn(frames, body.shape_count, generator=generator, dtype=torch.float64)
    return BodyParams(pelvis, exp(turns), shape)


def chosen_names() -> tuple[str, ...]:
    return (*keypoint_set("coco23").keypoint_names, *keypoint_set("markers67").keypoint_names[:20])


def mesh_landmarks(body: BodyModel, names: tuple[str, ...], params: BodyParams) -> Float[Tensor, "frame landmark 3"]:
    rows = body.landmark_regressor[[body.landmark_names.index(name) for name in names]]
    return rows @ vertices(body, params)


@pytest.mark.parametrize("correctives", [False, True])
def test_landmarks_are_those_of_the_full_mesh(body: BodyModel, correctives: bool) -> None:
    body = with_correctives(body) if correctives else body
    params = random_params(body)
    expected = mesh_landmarks(body, chosen_names(), params)
    # Leaving out small shares costs up to 0.1 mm on a 1 m lever; these poses are wilder than any person's.
    usual = pose_landmarks(landmark_skin(body, chosen_names()), params).positions
    assert float((usual - expected).norm(dim=-1).max()) < 3e-4
    # With every share kept the two are the same sum in another order.
    exact = pose_landmarks(landmark_skin(body, chosen_names(), negligible=0.0), params).positions
    assert float((exact - expected).norm(dim=-1).max()) < 1e-12


def test_masses_of_a_landmark_sum_to_one(body: BodyModel) -> None:
    skin = landmark_skin(body, chosen_names())
    total = torch.zeros(skin.landmark_count, dtype=torch.float64).index_add(0, skin.pair_landmark, skin.mass)
    assert float((total - 1).abs().max()) < 1e-12


def difference(
    positions: Callable[[Float[Tensor, " step"]], Float[Tensor, "frame landmark 3"]], count: int
) -> Float[Tensor, "frame landmark 3 step"]:
    columns = []
    for index in range(count):
        step = torch.zeros(count, dtype=torch.float64)
        step[index] = STEP
        columns.append((positions(step) - positions(-step)) / (2 * STEP))
    return torch.stack(columns, dim=-1)


def displaced_skin(body: BodyModel) -> LandmarkSkin:
    """Offsets of a few centimetres, so that Jacobians are tested away from zero."""
    skin = landmark_skin(body, chosen_names())
    offset = 0.03 * torch.randn(skin.landmark_count, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return skin.displaced(offset)


def test_rotation_jacobian_is_the_slope(body: BodyModel) -> None:
    skin, params = displaced_skin(body), random_params(body)

    def positions(step: Tensor) -> Tensor:
        turned = params.rotations @ exp(step.view(1, body.joint_count, 3))
        return pose_landmarks(skin, replace(params, rotations=turned)).positions

    measured = difference(positions, 3 * body.joint_count)
    closed = rotation_jacobian(skin, pose_landmarks(skin, params)).flatten(-2)
    assert float((closed - measured).abs().max()) < DIFFERENCE


def test_rotation_jacobian_about_given_axes(body: BodyModel) -> None:
    skin, params = displaced_skin(body), random_params(body)
    posed = pose_landmarks(skin, params)
    inner = exp(random_params(body).pelvis[:, None].expand(-1, body.joint_count, -1))
    by_axes = rotation_jacobian(skin, posed, posed.skeleton.rotations @ inner)
    by_hand = torch.einsum("fkajb,fjbc->fkajc", rotation_jacobian(skin, posed), inner)
    assert float((by_axes - by_hand).abs().max()) < 1e-12


def test_shape_jacobian_is_the_slope(body: BodyModel) -> None:
    skin, params = displaced_skin(body), random_params(body)

    def positions(step: Tensor) -> Tensor:
        return pose_landmarks(skin, replace(params, shape=params.shape + step)).positions

    closed = shape_jacobian(skin, pose_landmarks(skin, params))
    assert float((closed - difference(positions, body.shape_count)).abs().max()) < DIFFERENCE


def test_offset_jacobian_is_the_slope(body: BodyModel) -> None:
    skin, params = displaced_skin(body), random_params(body)

    def positions(step: Tensor) -> Tensor:
        # All landmarks are displaced alike: each depends on its own offset alone.
        return pose_landmarks(skin.displaced(skin.offset + step), params).positions

    closed = offset_jacobian(skin, pose_landmarks(skin, params))
    assert float((closed - difference(positions, 3)).abs().max()) < DIFFERENCE


def test_pose_correctives_are_the_only_thing_the_rotation_jacobian_leaves_out(body: BodyModel) -> None:
    """They move landmarks by millimetres, so the missing slope must be of that size and no larger."""
    body = with_correctives(body)
    skin, params = landmark_skin(body, chosen_names()), random_params(body)

    def positions(step: Tensor) -> Tensor:
        turned = params.rotations @ exp(step.view(1, body.joint_count, 3))
        return pose_landmarks(skin, replace(params, rotations=turned)).positions

    closed = rotation_jacobian(skin, pose_landmarks(skin, params)).flatten(-2)
    missing = (closed - difference(positions, 3 * body.joint_count)).abs().max()
    # Random correctives of 2 mm in nine features a joint, mixed over vertices: some millimetres a radian.
    assert 1e-5 < float(missing) < 0.02


def test_a_wrong_sign_would_be_noticed(body: BodyModel) -> None:
    """The comparison above bites: a Jacobian about the opposite axes is far off."""
    skin, params = displaced_skin(body), random_params(body)
    posed = pose_landmarks(skin, params)
    right, wrong = rotation_jacobian(skin, posed), rotation_jacobian(skin, posed, -posed.skeleton.rotations)
    assert float((right - wrong).abs().max()) > 0.1


def test_float32_skin_agrees(body: BodyModel) -> None:
    skin, params = displaced_skin(body), random_params(body)
    exact = pose_landmarks(skin, params).positions.numpy()
    single = pose_landmarks(skin.to(torch.float32, "cpu"), params.to(torch.float32)).positions.numpy()
    # Coordinates of a metre or two in float32 through ten joints: some millionths.
    np.testing.assert_allclose(single, exact, atol=1e-5, rtol=0)


def test_unknown_landmarks_are_named(body: BodyModel) -> None:
    with pytest.raises(InputError, match="no landmark tail"):
        landmark_skin(body, ("nose", "tail"))
