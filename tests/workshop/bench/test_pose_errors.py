"""Errors of known displacements."""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import prior_for, sample
from refit_mv.body.skin import LandmarkSkin, landmark_skin
from refit_mv.geometry.rotations import exp
from refit_mv.workshop.bench.errors import PoseErrors, pose_errors, procrustes

# Float64 throughout: what should be zero is, to a nanometre and a nanoradian (the angle of two equal matrices is good
# to 1e-8).
EXACT, EXACT_ANGLE = 1e-9, 1e-7


@pytest.fixture(scope="module")
def skin(body: BodyModel) -> LandmarkSkin:
    return landmark_skin(body, ("nose", "left_wrist", "right_ankle"))


@pytest.fixture(scope="module")
def truth(body: BodyModel) -> BodyParams:
    joints = sample(prior_for(body), 5, torch.Generator().manual_seed(1))
    root = exp(torch.randn(5, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    return BodyParams(
        torch.randn(5, 3, dtype=torch.float64), torch.cat([root, joints], 1), torch.randn(5, body.shape_count).double()
    )


def test_the_truth_has_no_error(body: BodyModel, skin: LandmarkSkin, truth: BodyParams) -> None:
    errors = pose_errors(body, skin, truth, truth)
    for field in (errors.joint, errors.relative, errors.aligned, errors.vertex, errors.landmark):
        assert float(field.max()) < EXACT
    assert float(errors.turn.max()) < EXACT_ANGLE


def test_a_shift_is_seen_by_absolute_errors_alone(body: BodyModel, skin: LandmarkSkin, truth: BodyParams) -> None:
    shifted = replace(truth, pelvis=truth.pelvis + torch.tensor([0.006, 0.0, -0.008]))
    errors = pose_errors(body, skin, shifted, truth)
    for field in (errors.joint, errors.vertex, errors.landmark):
        assert torch.allclose(field, torch.full_like(field, 0.010), atol=EXACT)
    assert float(errors.relative.max()) < EXACT
    assert float(errors.aligned.max()) < EXACT
    assert float(errors.turn.max()) < EXACT_ANGLE


def test_a_turn_of_the_root_is_aligned_away_and_counted_once(
    body: BodyModel, skin: LandmarkSkin, truth: BodyParams
) -> None:
    rotations = truth.rotations.clone()
    rotations[:, 0] = exp(torch.tensor([0.0, 0.2, 0.0], dtype=torch.float64)) @ rotations[:, 0]
    errors = pose_errors(body, skin, replace(truth, rotations=rotations), truth)
    assert float(errors.relative.mean()) > 0.01
    assert float(errors.aligned.max()) < EXACT
    assert torch.allclose(errors.turn[:, 0], torch.full((5,), 0.2, dtype=torch.float64), atol=EXACT_ANGLE)
    assert float(errors.turn[:, 1:].max()) < EXACT_ANGLE


def test_an_elbow_moves_only_what_hangs_on_it(body: BodyModel, skin: LandmarkSkin, truth: BodyParams) -> None:
    elbow = body.joint_names.index("left_elbow")
    moving = [body.joint_names.index(name) for name in ("left_wrist", "left_hand")]
    rotations = truth.rotations.clone()
    rotations[:, elbow] = rotations[:, elbow] @ exp(torch.tensor([0.0, 0.0, 0.3], dtype=torch.float64))
    errors = pose_errors(body, skin, replace(truth, rotations=rotations), truth)
    still = [joint for joint in range(24) if joint not in moving]
    assert float(errors.joint[:, still].max()) < EXACT
    assert float(errors.joint[:, moving].min()) > 0.01


def test_procrustes_undoes_similarities_but_no_mirror() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(8, 24, 3, dtype=torch.float64, generator=generator)
    turn = exp(torch.randn(8, 3, dtype=torch.float64, generator=generator))
    source = 1.7 * target @ turn.transpose(-1, -2) + torch.randn(8, 1, 3, dtype=torch.float64, generator=generator)
    assert torch.allclose(procrustes(source, target), target, atol=EXACT)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    assert float((procrustes(mirrored, target) - target).norm(dim=-1).mean()) > 0.1


def test_parts_join_in_order(body: BodyModel, skin: LandmarkSkin, truth: BodyParams) -> None:
    other = replace(truth, pelvis=truth.pelvis + torch.rand(5, 1))
    whole = pose_errors(body, skin, other, truth)
    joined = PoseErrors.concatenate([whole[:2], whole[2:]])
    assert torch.equal(joined.joint, whole.joint)
    assert torch.equal(joined.vertex, whole.vertex)
    assert len(joined) == 5
