"""Training of the time network on a run of a few steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import log
from refit_mv.networks.time_network import SequenceOptions
from refit_mv.networks.time_weights import load_sequence_network
from refit_mv.networks.uncertainty import SigmaCorrection
from refit_mv.recipe import load_recipe
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.training import sequences
from refit_mv.workshop.training.averaged_adam import OptimizerOptions
from refit_mv.workshop.training.sequence_samples import WindowMix
from refit_mv.workshop.training.sequences import (
    SequenceDataOptions,
    SequenceRecipe,
    SequenceTrainer,
    train_sequences,
)
from tests.workshop.training.test_training_loop import StoppedError, stops_at

TINY = SequenceRecipe(
    steps=4,
    batch_windows=2,
    network=SequenceOptions(channels=16),
    optimizer=OptimizerOptions(warmup_steps=2),
    data=SequenceDataOptions(
        windows=2,
        steps_per_window=2,
        variants=1,
        validation_windows=1,
        mix=WindowMix(frames=12, views=((2, 1.0),), keypoint_sets=(("coco17", 1.0),)),
    ),
)


@pytest.mark.parametrize(
    "text", ["minutes: -1", "batch_windows: 0", "network: {channels: 0}", "network: {width: 4}", "data: {windows: -3}"]
)
def test_recipes_that_cannot_be_trained_are_refused_before_anything_is_drawn(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(InputError, match="must"):
        load_recipe(SequenceRecipe, tmp_path / "recipe.yaml")


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects' motions as AMASS files: to train on and to validate on."""
    folder = tmp_path_factory.mktemp("motions")
    for seed, name in ((1, "01_01"), (2, "10_01")):
        motion = sampled_motion(load_pose_prior(), seed, 90, 60.0)
        poses = log(motion.rotations).flatten(1).numpy()
        np.savez(folder / f"{name}.npz", poses=poses, trans=motion.pelvis.numpy(), mocap_framerate=60.0)
    return folder


def test_a_run_leaves_weights_and_goes_on_to_the_same(
    motions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    whole = train_sequences(TINY, [motions], tmp_path / "whole", report=lambda line, share: lines.append(line))
    network, facts = load_sequence_network(whole)
    assert network.options.channels == 16
    assert facts["steps"] == 4
    assert "standard 4" in facts["validation"]["errors_mm"]
    SigmaCorrection.of(facts)
    assert lines[-1].startswith("validation, mm: standard 4")

    # Saved after every step, and interrupted after new windows have been drawn.
    hasty = replace(TINY, checkpoint_minutes=0.0)
    with monkeypatch.context() as patched:
        patched.setattr(sequences, "SequenceTrainer", stops_at(SequenceTrainer, 3))
        with pytest.raises(StoppedError):
            train_sequences(hasty, [motions], tmp_path / "parts")
    parts = train_sequences(hasty, [motions], tmp_path / "parts", resume=True)
    again = load_sequence_network(parts)[0].state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in network.state_dict().items())
