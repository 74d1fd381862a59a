"""Training of the keypoint network on a run of a few steps."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.networks.frame_network import NetworkOptions
from refit_mv.networks.scene import Scene
from refit_mv.networks.uncertainty import CORRECTION_FEATURES, SigmaCorrection
from refit_mv.networks.unroll import unroll
from refit_mv.networks.weights_file import load_network
from refit_mv.progress import quiet
from refit_mv.recipe import load_recipe
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.training import keypoints
from refit_mv.workshop.training.averaged_adam import OptimizerOptions
from refit_mv.workshop.training.keypoints import WEIGHTS, DataOptions, KeypointTrainer, TrainRecipe, train
from refit_mv.workshop.training.losses import LossOptions, discounted, joint_losses
from refit_mv.workshop.training.run_log import LOG, PICTURE
from refit_mv.workshop.training.sample_blocks import EvidenceMix
from refit_mv.workshop.training.validation import calibrate, coverage, draw_validation, validate
from tests.known import Known, lively_network
from tests.workshop.training.test_training_loop import StoppedError, stops_at

TINY = TrainRecipe(
    steps=12,
    batch_frames=16,
    network=NetworkOptions(iterations=1, layers=1, hidden=8, context=8, context_hidden=16, observation_hidden=8),
    optimizer=OptimizerOptions(learning_rate=3e-3, warmup_steps=2),
    data=DataOptions(
        blocks=2,
        block_frames=16,
        variants=1,
        validation_frames=4,
        validation_noise=("standard",),
        validation_views=(3,),
        evidence=EvidenceMix(views=((3, 1.0),), keypoint_sets=(("coco17", 1.0),), noise=(("clean", 1.0),)),
    ),
)


IMPOSSIBLE = (
    "seed: -1",
    "minutes: -1",
    "batch_frames: 0",
    "network: {layers: -1}",
    "network: {iterations: -1}",
    "network: {hidden: 0}",
    "network: {context: 10000000}",
    "data: {blocks: 0}",
    "data: {locked: 2}",
)


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_recipes_that_cannot_be_trained_are_refused_before_anything_is_drawn(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(InputError, match="must"):
        load_recipe(TrainRecipe, tmp_path / "recipe.yaml")


@pytest.fixture(scope="module")
def motion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects' motions as AMASS files: written with what ``read_amass`` reads."""
    folder = tmp_path_factory.mktemp("motions")
    from refit_mv.geometry.rotations import log

    for seed, name in ((1, "01_01"), (2, "10_01"), (3, "03_01")):
        motion = sampled_motion(load_pose_prior(), seed, 30, 10.0)
        np.savez(
            folder / f"{name}.npz",
            poses=log(motion.rotations).flatten(1).numpy(),
            trans=motion.pelvis.numpy(),
            mocap_framerate=10.0,
        )
    return folder


def test_a_run_leaves_weights_state_log_and_picture_and_can_be_continued(motion_folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "run"
    path = train(TINY, [motion_folder], out, report=lambda line, share: lines.append(line))
    assert path == out / WEIGHTS
    network, facts = load_network(path)
    assert network.options == TINY.network
    assert facts["steps"] == 12
    SigmaCorrection.of(facts)
    assert (out / PICTURE).read_bytes().startswith(b"\x89PNG")
    log = json.loads((out / LOG).read_text())
    assert [row["step"] for row in log["losses"]] == [10]
    assert math.isfinite(log["losses"][0]["total"])
    assert any(line.startswith("validation") for line in lines)
    assert not list(out.glob(".*"))

    with pytest.raises(InputError, match="already holds a training run"):
        train(TINY, [motion_folder], out)
    longer = replace(TINY, steps=15)
    train(longer, [motion_folder], out, resume=True)
    _, later = load_network(path)
    assert later["steps"] == 15
    with pytest.raises(InputError, match="other sizes"):
        train(replace(longer, network=replace(TINY.network, hidden=12)), [motion_folder], out, resume=True)
    with pytest.raises(InputError, match="no training state"):
        train(TINY, [motion_folder], tmp_path / "elsewhere", resume=True)


def test_a_run_that_stopped_goes_on_to_the_same_weights(
    motion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = replace(TINY, steps=5, checkpoint_minutes=0.0)
    whole = train(hasty, [motion_folder], tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(keypoints, "KeypointTrainer", stops_at(KeypointTrainer, 3))
        with pytest.raises(StoppedError):
            train(hasty, [motion_folder], tmp_path / "parts")
    parts = train(hasty, [motion_folder], tmp_path / "parts", resume=True)
    first, second = (load_network(path)[0].state_dict() for path in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_benchmark_subjects_are_never_read(motion_folder: Path, tmp_path: Path) -> None:
    only = tmp_path / "only"
    only.mkdir()
    (only / "03_01.npz").write_bytes((motion_folder / "03_01.npz").read_bytes())
    with pytest.raises(InputError):
        train(TINY, [only], tmp_path / "out")


def test_steps_lower_the_loss(motion_folder: Path, tmp_path: Path) -> None:
    from refit_mv.workshop.synthetic.motions import read_motion
    from refit_mv.workshop.synthetic.pose_bank import pose_bank

    recipe = replace(TINY, data=replace(TINY.data, fresh=0.0, dropout=0.0, locked=0.0))
    motion = read_motion(motion_folder / "01_01.npz")
    trainer = KeypointTrainer(recipe, pose_bank([motion]), [motion], tmp_path / "blocks")
    trainer.prepare(0, quiet)
    batches = [trainer.batch(step) for step in range(6)]

    def loss() -> float:
        with torch.no_grad():
            finals = [unroll(trainer.adam.network, b.scene, b.evidence, b.start).final for b in batches]
        each = [
            joint_losses(b.scene, [final], b.truth, recipe.loss, one_view=False).mean()
            for b, final in zip(batches, finals, strict=True)
        ]
        return float(torch.stack(each).mean())

    before = loss()
    for step in range(30):
        trainer.advance(step, 0.3)
    # Clean evidence and an untrained network that trusts it too little: a tenth is won in a few steps, on the very
    # people trained on.
    assert loss() < 0.95 * before


def test_the_loss_is_zero_at_the_truth_and_metres_beside_it(three_views: Known) -> None:
    scene = Scene.of_problem(three_views.problem)
    truth = three_views.truth.to(torch.float32)
    options = LossOptions(relative=0.0, rotation=0.0)
    shifted = replace(truth, pelvis=truth.pelvis + torch.tensor([0.0, 0.03, 0.0]))
    losses = joint_losses(scene, [truth, shifted], truth, options, one_view=False)
    # The norm is smoothed by a millimetre.
    assert float(losses[0].abs().max()) < 1e-6
    assert torch.allclose(losses[1], torch.full_like(losses[1], 0.029), atol=1e-4)
    # Moving the whole body costs nothing relative to the root.
    relative = joint_losses(
        scene, [shifted], truth, LossOptions(absolute=0.0, relative=1.0, rotation=0.0), one_view=False
    )
    assert float(relative.max()) < 1e-5
    both = discounted(torch.tensor([[1.0], [0.0]]), LossOptions(discount=0.85))
    assert float(both) == pytest.approx(0.85 / 1.85)


def test_calibration_makes_the_stated_uncertainty_true() -> None:
    motion = sampled_motion(load_pose_prior(), 7, 60, 5.0)
    checks = draw_validation(open_body(), [motion], 48, 1, ("standard",), (2, 4))
    network = lively_network()
    correction = calibrate(network, checks, steps=300)
    for check in checks:
        one, two = coverage(network, check, correction)
        # In-sample on some 3,000 joint coordinates of 48 poses: about three points of scatter besides the bar of five
        # and three.
        assert abs(one - 0.68) < 0.08
        assert abs(two - 0.95) < 0.05
    wrong = SigmaCorrection(
        correction.coefficients + torch.nn.functional.one_hot(torch.tensor(0), CORRECTION_FEATURES) * 1.0
    )
    assert coverage(network, checks[0], wrong)[0] > 0.85
    errors = validate(network, checks)
    assert set(errors) == {"standard 4", "standard 2"}
    assert errors["standard 4"] < errors["standard 2"]
