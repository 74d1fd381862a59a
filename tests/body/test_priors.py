"""The shipped pose prior: its mean, its scale, its symmetry, and what its limits must admit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import (
    PRIOR_FILE,
    UNKNOWN_JOINT_SIGMA,
    PosePrior,
    arranged,
    load_pose_prior,
    prior_for,
    rotations_from_tangent,
    sample,
    tangent,
    whitener,
)
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def prior() -> PosePrior:
    return load_pose_prior()


def test_file_is_small_and_plain() -> None:
    assert PRIOR_FILE.stat().st_size < 200_000
    with np.load(PRIOR_FILE, allow_pickle=False) as data:
        subjects = set(data["subjects"].tolist())
        motions = data["motions"].tolist()
    # Subjects kept for the benchmark must never have been learned from.
    assert subjects == {"01", "02", "06", "07", "10", "13"}
    assert {name.partition("_")[0] for name in motions} == subjects


def test_mean_has_tangent_zero_and_chart_inverts(prior: PosePrior) -> None:
    assert float(tangent(prior, prior.mean[None]).abs().max()) < 1e-7
    coordinates = torch.randn(10, 69, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.5
    torch.testing.assert_close(tangent(prior, rotations_from_tangent(prior, coordinates)), coordinates)


def test_whitened_samples_have_unit_covariance(prior: PosePrior) -> None:
    poses = sample(prior, 20_000, torch.Generator().manual_seed(1))
    white = tangent(prior, poses) @ whitener(prior).T
    covariance = white.T @ white / len(white)
    # Sampling error of a variance is sqrt(2/20000) = 0.01; the clipping at the limits takes a little more off the
    # tails.
    assert float((covariance - torch.eye(69).double()).abs().max()) < 0.08
    torch.testing.assert_close(
        whitener(prior).T @ whitener(prior) @ prior.covariance, torch.eye(69).double(), atol=1e-9, rtol=0
    )


def test_covariance_is_well_conditioned(prior: PosePrior) -> None:
    eigenvalues = torch.linalg.eigvalsh(prior.covariance)
    # The floor of 0.06 rad keeps the smallest direction at 0.0036 rad²: nothing is frozen.
    assert float(eigenvalues[0]) > 0.003 and float(eigenvalues[-1] / eigenvalues[0]) < 500


def test_prior_is_mirror_symmetric(prior: PosePrior) -> None:
    other = {"left": "right", "right": "left"}
    names = []
    for name in prior.joint_names:
        side, _, rest = name.partition("_")
        names.append(f"{other[side]}_{rest}" if side in other else name)
    order = [prior.joint_names.index(name) for name in names]
    flip = torch.tensor([-1.0, 1.0, 1.0]).double()
    torch.testing.assert_close(prior.mean[order] * flip[:, None] * flip, prior.mean, atol=1e-12, rtol=0)
    coordinates = torch.tensor([3 * place + axis for place in order for axis in range(3)])
    sign = torch.tensor([1.0, -1.0, -1.0]).double().repeat(23)
    mirrored = prior.covariance[coordinates][:, coordinates] * sign[:, None] * sign
    torch.testing.assert_close(mirrored, prior.covariance, atol=1e-12, rtol=0)
    flipped = torch.where(sign > 0, prior.lower[coordinates], -prior.upper[coordinates])
    torch.testing.assert_close(flipped, prior.lower, atol=1e-12, rtol=0)


def _pose(**degrees: tuple[float, float, float]) -> torch.Tensor:
    pose = torch.eye(3, dtype=torch.float64).repeat(1, 23, 1, 1)
    for name, axis in degrees.items():
        pose[0, SMPL_JOINT_NAMES.index(name) - 1] = exp(torch.deg2rad(torch.tensor(axis, dtype=torch.float64)))
    return pose


POSSIBLE = {
    "t-pose": _pose(),
    "hanging arms": _pose(left_shoulder=(0, 0, -80), right_shoulder=(0, 0, 80)),
    "arms overhead": _pose(left_shoulder=(0, 0, 90), right_shoulder=(0, 0, -90)),
    "elbows flexed": _pose(left_elbow=(0, -148, 0), right_elbow=(0, 148, 0)),
    "knees flexed": _pose(left_knee=(148, 0, 0), right_knee=(148, 0, 0)),
    "deep squat": _pose(left_hip=(-120, 0, 0), right_hip=(-120, 0, 0), left_knee=(140, 0, 0), right_knee=(140, 0, 0)),
    "leg sideways": _pose(left_hip=(0, 0, 45)),
    "arms forward": _pose(left_shoulder=(0, -90, 0), right_shoulder=(0, 90, 0)),
    "hugging oneself": _pose(left_shoulder=(0, -120, 0), left_elbow=(0, -100, 0)),
    "bow": _pose(spine1=(25, 0, 0), spine2=(25, 0, 0), spine3=(25, 0, 0), left_hip=(-60, 0, 0), right_hip=(-60, 0, 0)),
    "look back": _pose(neck=(0, 40, 0), head=(0, 35, 0), spine3=(0, 15, 0)),
    "on tiptoe": _pose(left_ankle=(45, 0, 0), right_ankle=(45, 0, 0), left_foot=(-40, 0, 0), right_foot=(-40, 0, 0)),
}
IMPOSSIBLE = {
    "knee bent forwards": _pose(left_knee=(-60, 0, 0)),
    "elbow bent backwards": _pose(left_elbow=(0, 80, 0)),
    "head turned round": _pose(head=(0, 170, 0)),
    "spine folded at one joint": _pose(spine2=(90, 0, 0)),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_limits_admit(prior: PosePrior, name: str) -> None:
    coordinates = tangent(prior, POSSIBLE[name])[0]
    outside = (coordinates < prior.lower) | (coordinates > prior.upper)
    assert not bool(outside.any()), [prior.joint_names[int(index) // 3] for index in outside.nonzero()]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_limits_refuse(prior: PosePrior, name: str) -> None:
    coordinates = tangent(prior, IMPOSSIBLE[name])[0]
    assert bool(((coordinates < prior.lower) | (coordinates > prior.upper)).any())


def test_standing_is_likelier_than_contortion(prior: PosePrior) -> None:
    def cost(pose: torch.Tensor) -> float:
        return float((tangent(prior, pose) @ whitener(prior).T).square().mean())

    # A typical pose costs 1 per coordinate; standing is more typical than most, and poses not in the data cost more.
    assert cost(POSSIBLE["hanging arms"]) < 1 < cost(IMPOSSIBLE["knee bent forwards"])
    assert cost(POSSIBLE["t-pose"]) < 3


def test_other_bodies(prior: PosePrior) -> None:
    body = open_body()
    same = prior_for(body)
    torch.testing.assert_close(same.covariance, prior.covariance)
    fingers = tuple(f"left_finger{number}" for number in range(3))
    larger = prior_for(replace(body, joint_names=(*SMPL_JOINT_NAMES[:22], *fingers)))
    assert larger.joint_names == (*SMPL_JOINT_NAMES[1:22], *fingers)
    torch.testing.assert_close(larger.covariance[:63, :63], prior.covariance[:63, :63])
    torch.testing.assert_close(larger.covariance[63:, 63:], UNKNOWN_JOINT_SIGMA**2 * torch.eye(9).double())
    assert float(larger.covariance[63:, :63].abs().max()) == 0
    shuffled = arranged(prior, prior.joint_names[::-1])
    torch.testing.assert_close(arranged(shuffled, prior.joint_names).covariance, prior.covariance)
    torch.testing.assert_close(arranged(shuffled, prior.joint_names).lower, prior.lower)


def test_samples_repeat_with_their_seed(prior: PosePrior) -> None:
    first, again, other = (sample(prior, 3, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_damaged_files_are_refused(tmp_path: Path, prior: PosePrior) -> None:
    path = tmp_path / "priors.npz"
    with pytest.raises(InputError, match="no pose prior"):
        load_pose_prior(path)
    path.write_bytes(PRIOR_FILE.read_bytes()[:2000])
    with pytest.raises(InputError, match="pose prior"):
        load_pose_prior(path)
    other = tmp_path / "few.npz"
    np.savez(
        other,
        joint_names=np.array(["head"]),
        mean=np.eye(3)[None],
        covariance=np.eye(3),
        lower=-np.ones(3),
        upper=np.ones(3),
    )
    with pytest.raises(InputError, match="23 joints"):
        load_pose_prior(other)
