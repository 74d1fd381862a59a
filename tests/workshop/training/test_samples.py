"""What training is fed: poses, bodies, noise and batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import rest_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior, tangent
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.motion.motion import Motion
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.synthetic.body_variants import body_variant
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.pose_bank import PoseBank, PoseMix, draw_poses, pose_bank
from refit_mv.workshop.training.block_store import BlockStore
from refit_mv.workshop.training.sample_blocks import EvidenceMix, SampleBlock, draw_block
from refit_mv.workshop.training.sample_pool import SamplePool, fresh_noise

PLAIN = PoseMix(recombined=0.0, exchanged=0.0, disturbed=0.0, sampled=0.0, extreme=0.0, tumbled=0.0)


@pytest.fixture(scope="module")
def bank() -> PoseBank:
    return pose_bank([sampled_motion(load_pose_prior(), seed, 40, 5.0) for seed in (1, 2)])


def test_bank_holds_mirror_images_and_no_impossible_poses(bank: PoseBank) -> None:
    assert bank.chance.sum() == pytest.approx(1.0)
    broken = Motion(
        "broken", 1.0, torch.zeros(1, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64).repeat(1, 24, 1, 1)
    )
    # An elbow bent backwards by a right angle.
    broken.rotations[0, SMPL_JOINT_NAMES.index("left_elbow")] = torch.tensor(
        [[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=torch.float64
    )
    with pytest.raises(InputError, match="none of the 1 motions"):
        pose_bank([broken])


def test_plain_poses_are_the_recorded_ones(bank: PoseBank) -> None:
    _, rotations = draw_poses(bank, load_pose_prior(), PLAIN, 20, np.random.default_rng(0))
    gap = (rotations[:, None, 1:] - bank.rotations[None, :, 1:]).abs().amax((-1, -2, -3)).amin(1)
    # Through log and exp.
    assert float(gap.max()) < 1e-6


def test_extreme_poses_stay_within_the_limits(bank: PoseBank) -> None:
    prior = load_pose_prior()
    mix = replace(PLAIN, extreme=1.0)
    _, rotations = draw_poses(bank, prior, mix, 50, np.random.default_rng(0))
    coordinates = tangent(prior, rotations[:, 1:])
    # Bodies recorded beyond a limit are left alone: 0.02 rad of slack.
    assert bool(((coordinates <= prior.upper + 0.02) & (coordinates >= prior.lower - 0.02)).float().mean() > 0.999)
    _, usual = draw_poses(bank, prior, PLAIN, 50, np.random.default_rng(0))
    assert float(coordinates.abs().mean()) > 1.3 * float(tangent(prior, usual[:, 1:]).abs().mean())


def test_some_people_lie_or_stand_on_their_heads(bank: PoseBank) -> None:
    _, upright = draw_poses(bank, load_pose_prior(), PLAIN, 200, np.random.default_rng(1))
    _, tumbled = draw_poses(bank, load_pose_prior(), replace(PLAIN, tumbled=1.0), 200, np.random.default_rng(1))
    assert float(upright[:, 0, 1, 1].min()) > 0.6
    # Uniform rotations: the vertical's share along the body's axis is uniform in (-1, 1).
    assert abs(float(tumbled[:, 0, 1, 1].mean())) < 0.15
    assert float(tumbled[:, 0, 1, 1].std()) == pytest.approx(3**-0.5, abs=0.08)


def test_variants_are_symmetric_people_of_other_proportions() -> None:
    body = open_body()
    variant = body_variant(body, 0.1, np.random.default_rng(0))
    zero = torch.zeros(1, body.shape_count, dtype=torch.float64)
    before, after = rest_joints(body, zero)[0], rest_joints(variant, zero)[0]
    mirrored = after[list(mirrored_order(SMPL_JOINT_NAMES))] * torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    # The asset's mirror symmetry after decimation.
    assert float((after - mirrored).abs().max()) < 2e-3

    def lengths(joints: torch.Tensor) -> torch.Tensor:
        return (joints[1:] - joints[list(body.parents[1:])]).norm(dim=-1)

    change = (lengths(after) / lengths(before)).log()
    assert 0.02 < float(change.std()) < 0.3
    same = body_variant(body, 0.0, np.random.default_rng(0))
    # With no spread the linear-blend warp is the identity.
    assert torch.allclose(same.template, body.template, atol=1e-9)


def test_fresh_noise_has_the_detectors_size() -> None:
    torch.manual_seed(0)
    frames, views, points = 200, 2, 20
    center = torch.tensor([[4.0, 0, 0], [0, 0, 3.0]]).expand(frames, -1, -1)
    landmarks = 0.3 * torch.randn(frames, points, 3)
    toward = torch.nn.functional.normalize(landmarks[:, None] - center[:, :, None], dim=-1)
    evidence = Rays(center, toward, torch.ones(frames, views, points), torch.full((frames, views), 3.5))
    evidence.confidence[:, 1, 5] = 0
    order = torch.arange(points)
    noise = DetectorNoise("plain", sigma=0.01, spread=(1.0, 1.0), outlier_share=0.0)
    noisy = fresh_noise(noise, landmarks, evidence, (order, order), torch.Generator().manual_seed(0))
    shift = (noisy.bearing - toward) * (landmarks[:, None] - center[:, :, None]).norm(dim=-1)[..., None].mean(
        2, keepdim=True
    )
    # 0.01 of 1.70 m per axis in the image plane: 24 mm along both together.
    size = shift[:, 0].square().sum(-1).mean().sqrt()
    assert float(size) == pytest.approx(0.01 * 1.7 * 2**0.5, rel=0.05)
    assert float(noisy.confidence[:, 1, 5].max()) == 0
    claimed = noisy.confidence[:, 0]
    assert 0.6 * np.exp(-0.01 / 0.012) <= float(claimed.min()) and float(claimed.max()) <= np.exp(-0.01 / 0.012) + 1e-6
    swapped = fresh_noise(
        replace(noise, sigma=0.0, swap_share=1.0), landmarks, evidence, (order.flip(0), order), torch.Generator()
    )
    assert torch.allclose(swapped.bearing[:, 0], toward[:, 0].flip(1), atol=1e-6)


def _blocks(bank: PoseBank, count: int) -> list[SampleBlock]:
    bodies = [open_body(), body_variant(open_body(), 0.1, np.random.default_rng(0))]
    mix = EvidenceMix(views=((2, 1.0),), keypoint_sets=(("coco17", 1.0),), first_body=0.5)
    return [draw_block(bank, bodies, PoseMix(), mix, 6, np.random.default_rng([3, number])) for number in range(count)]


def test_blocks_are_reproducible_and_their_truth_explains_them(bank: PoseBank) -> None:
    blocks = _blocks(bank, 3)
    again = _blocks(bank, 1)[0]
    assert torch.equal(blocks[0].evidence.bearing, again.evidence.bearing)
    assert torch.equal(blocks[0].start.rotations, again.start.rotations)
    bodies = [open_body(), body_variant(open_body(), 0.1, np.random.default_rng(0))]
    for block in blocks:
        skin = landmark_skin(bodies[block.body], block.landmark_names).to(torch.float32, "cpu")
        residual = block.evidence.feedback(pose_landmarks(skin, block.truth)).residual.norm(dim=-1)
        seen = block.evidence.confidence > 0
        # The median keypoint error is at most some 30 mm at the body, whatever the noise; a wrong body or rig would
        # give decimetres.
        assert float(residual[seen].median()) < 0.06


def test_batches_mix_bodies_and_agree_with_single_skins(bank: PoseBank) -> None:
    bodies = [open_body(), body_variant(open_body(), 0.1, np.random.default_rng(0))]
    blocks = _blocks(bank, 4)
    assert len({block.body for block in blocks}) == 2
    pool = SamplePool(bodies, blocks, bank, PoseMix())
    assert len(pool) > 12
    rng = np.random.default_rng(0)
    batch = pool.draw(32, {2: 1.0}, rng, locked=0.0, fresh=0.0, renewed=0.0, dropout=0.0)
    assert batch.views == 2
    residual = batch.evidence.feedback(pose_landmarks(batch.scene.skin, batch.truth)).residual.norm(dim=-1)
    assert float(residual[batch.evidence.confidence > 0].median()) < 0.06
    locked = pool.draw(32, {2: 1.0}, rng, locked=1.0, fresh=1.0, renewed=0.0, dropout=0.5)
    assert not locked.scene.with_shape
    # Shape is given with an error of 0.15.
    assert 0.05 < float((locked.start.shape - locked.truth.shape).std()) < 0.3
    assert set(keypoint_set("coco17").keypoint_names) >= set(batch.scene.skin.landmark_names)


def test_renewed_people_strike_other_poses_that_explain_their_evidence(bank: PoseBank) -> None:
    body = open_body()
    mix = EvidenceMix(
        views=((2, 1.0),), keypoint_sets=(("coco17", 1.0),), noise=(("clean", 1.0),), first_body=1.0, thinned=0.0
    )
    block = draw_block(bank, [body], PoseMix(), mix, 12, np.random.default_rng(5))
    pool = SamplePool([body], [block], bank, PoseMix())
    same = pool.draw(48, {2: 1.0}, np.random.default_rng(1), locked=0.0, fresh=1.0, renewed=0.0, dropout=0.0)
    other = pool.draw(48, {2: 1.0}, np.random.default_rng(1), locked=0.0, fresh=1.0, renewed=1.0, dropout=0.0)
    residual = other.evidence.feedback(pose_landmarks(other.scene.skin, other.truth)).residual.norm(dim=-1)
    # "clean" errs by some 1 mm at the body.
    assert float(residual[other.evidence.confidence > 0].median()) < 0.003

    def angles(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return rotations.log(a.transpose(-1, -2) @ b).norm(dim=-1)

    # Everybody moved, but no start is further off than it was: the same people come in the same order.
    assert float(angles(same.truth.rotations, other.truth.rotations)[:, 1:].amax(1).min()) > 0.1
    torch.testing.assert_close(
        angles(other.truth.rotations, other.start.rotations),
        angles(same.truth.rotations, same.start.rotations),
        atol=2e-3,  # angles of float32 matrices near zero and π
        rtol=0,
    )
    torch.testing.assert_close(
        other.start.pelvis - other.truth.pelvis, same.start.pelvis - same.truth.pelvis, atol=1e-5, rtol=0
    )


def test_blocks_survive_the_disk(bank: PoseBank, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    blocks = _blocks(bank, 3)
    store = BlockStore(folder, capacity=2)
    for block in blocks:
        store.add(block)
    again = BlockStore(folder, capacity=2)
    assert (len(again), again.drawn) == (2, 3)
    assert torch.equal(again.blocks[1].evidence.bearing, blocks[2].evidence.bearing)
    assert again.blocks[0].landmark_names == blocks[1].landmark_names
