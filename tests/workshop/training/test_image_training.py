"""The training command's machinery on runs of seconds."""

import json
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import refit_mv.workshop.training.images as training
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import log
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.posed import held_at
from refit_mv.image.weights import load_image_network
from refit_mv.recipe import load_recipe, shipped_recipes
from refit_mv.workshop.pictures.augment import NONE, AugmentOptions
from refit_mv.workshop.pictures.batch_stream import BatchStream, WeightedSource, batches_from
from refit_mv.workshop.pictures.batches import make_batch
from refit_mv.workshop.pictures.held_out import main as held_out
from refit_mv.workshop.pictures.losses import ImageLossOptions
from refit_mv.workshop.pictures.made_up_detections import DetectionOptions, made_up_detections
from refit_mv.workshop.pictures.people import PeopleOptions, RenderedPeople, open_people
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.training.averaged_adam import ImageOptimizerOptions
from refit_mv.workshop.training.images import (
    PEOPLE,
    WEIGHTS,
    ImageDataOptions,
    ImageTrainer,
    ImageTrainRecipe,
    train_image,
)
from refit_mv.workshop.training.loop import STATE
from refit_mv.workshop.training.processes import join_processes
from refit_mv.workshop.training.run_log import LOG, PICTURE
from tests.conftest import run_cli

SMALL = ImageNetworkOptions(
    backbone="small",
    crop_size=32,
    map_channels=8,
    feedback_features=16,
    hidden=8,
    iterations=1,
    dropout=0.0,
    trust=True,
)
TINY = ImageTrainRecipe(
    steps=4,
    crops=6,
    evaluation_steps=3,
    network=SMALL,
    optimizer=ImageOptimizerOptions(learning_rate=1e-3, schedule="cosine", warmup_steps=2, average=0.9),
    loss=ImageLossOptions(maps=0.02, position=1.0),
    data=ImageDataOptions(
        people=PeopleOptions(count=6, views=2, side=44),
        together=0.4,
        posed=0.4,
        validation_people=2,
        validation_views=(1, 2),
    ),
)


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects' motions as AMASS files: to train on, to validate on, and one never to be read."""
    folder = tmp_path_factory.mktemp("motions")
    for seed, name in ((1, "01_01"), (2, "10_01"), (3, "03_01")):
        motion = sampled_motion(load_pose_prior(), seed, 30, 10.0)
        poses = log(motion.rotations).flatten(1).numpy()
        np.savez(folder / f"{name}.npz", poses=poses, trans=motion.pelvis.numpy(), mocap_framerate=10.0)
    return folder


@pytest.fixture(scope="module")
def run(motions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four steps."""
    out = tmp_path_factory.mktemp("run") / "whole"
    train_image(TINY, open_body(), [motions], out)
    return out


@pytest.fixture(scope="module")
def people(run: Path) -> RenderedPeople:
    return open_people(run / PEOPLE)


def test_a_run_leaves_weights_state_log_and_picture(run: Path, motions: Path) -> None:
    network, facts = load_image_network(run / WEIGHTS)
    assert network.options == SMALL
    assert facts["steps"] == 4 and facts["body"] == "open"
    assert set(facts["validation"]["errors_mm"]) >= {"MPJPE, 1 view", "PA-MPJPE, 2 views", "PVE, 2 views"}
    kept = json.loads((run / LOG).read_text())
    assert [row["step"] for row in kept["evaluations"]] == [3, 4]
    assert (run / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert not list(run.glob(".*"))
    with pytest.raises(InputError, match="already holds a training run"):
        train_image(TINY, open_body(), [motions], run)


def test_a_run_that_stopped_goes_on_to_the_same_weights(run: Path, motions: Path, tmp_path: Path) -> None:
    """The rate of a cosine depends on the planned length, so the first part must know of it: it is cut, not planned
    shorter.
    """
    constant = replace(TINY, optimizer=replace(TINY.optimizer, schedule="constant"))
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train_image(constant, open_body(), [motions], whole, people_dir=run)
    train_image(replace(constant, steps=2), open_body(), [motions], halves, people_dir=run)
    train_image(constant, open_body(), [motions], halves, resume=True, people_dir=run)
    first, second = (load_image_network(each / WEIGHTS)[0].state_dict() for each in (whole, halves))
    assert all(torch.equal(first[name], second[name]) for name in first)
    wider = replace(constant, network=replace(SMALL, hidden=12))
    with pytest.raises(InputError, match="other sizes"):
        train_image(wider, open_body(), [motions], halves, resume=True, people_dir=run)
    with pytest.raises(InputError, match="no training state"):
        train_image(constant, open_body(), [motions], tmp_path / "none", resume=True, people_dir=run)


def trainer(**changes: object) -> ImageTrainer:
    return ImageTrainer(replace(TINY, **changes), open_body())  # type: ignore[arg-type]


def test_steps_lower_the_loss(people: RenderedPeople) -> None:
    made = trainer(data=replace(TINY.data, posed=0.0))
    batch = make_batch(people, np.arange(8), 32, NONE, np.random.default_rng(0))
    made.network.train()
    before = float(made.loss(batch, 0)[0].detach())
    for step in range(25):
        made.learn(batch, step, 0.3)
    # Eight pictures, learned by heart.
    assert float(made.loss(batch, 0)[0].detach()) < 0.8 * before


def test_half_precision_learns_the_same(people: RenderedPeople) -> None:
    batch = make_batch(people, np.arange(6), 32, NONE, np.random.default_rng(0))
    losses = []
    for precision in ("float32", "bfloat16"):
        made = trainer(precision=precision, data=replace(TINY.data, posed=0.0))
        assert all(each.dtype == torch.float32 for each in made.network.parameters())
        losses.append(float(made.loss(batch, 0)[0].detach()))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_posed_network_changes_shape_alone(people: RenderedPeople) -> None:
    made = trainer()
    batch = make_batch(people, np.arange(6), 32, NONE, np.random.default_rng(0))
    made.network.hold = held_at(batch.truth.params, batch.crops, made.feedback)
    estimates = made.network(batch.images, batch.crops, made.feedback)
    for estimate in estimates:
        params = estimate.params(made.feedback, batch.crops)
        assert float((params.rotations - batch.truth.params.rotations).abs().max().detach()) < 1e-5
        assert float((params.pelvis - batch.truth.params.pelvis).abs().max().detach()) < 1e-3
    assert not torch.equal(estimates[0].shape, estimates[-1].shape)


def test_batches_are_a_matter_of_seed_process_and_step(people: RenderedPeople) -> None:
    def stream(seed: int, process: int = 0) -> BatchStream:
        return BatchStream([WeightedSource(people, 1.0)], 6, 32, AugmentOptions(), 0.5, seed, process)

    first = stream(1)
    assert torch.equal(first[5].images, stream(1)[5].images)
    assert not torch.equal(first[5].images[:4], first[6].images[:4])
    assert not torch.equal(first[5].images[:4], stream(1, 1)[5].images[:4])
    assert {first[step].views is None for step in range(12)} == {True, False}
    alone = batches_from(first, 3, 0)
    prepared = batches_from(first, 3, 1)
    for _ in range(2):
        assert torch.equal(next(alone).images, next(prepared).images)
    twice = BatchStream([WeightedSource(people, 1.0), WeightedSource(people, 3.0)], 6, 32, AugmentOptions(), 0.0, 1)
    assert len(twice[0]) == 6


def test_made_up_detections_are_near_the_truth_or_unsure(people: RenderedPeople) -> None:
    made = trainer(network=replace(SMALL, keypoints=True))
    batch = make_batch(people, np.tile(np.arange(12), 20), 32, NONE, np.random.default_rng(0))
    options = DetectionOptions()
    seen = made_up_detections(batch, made.feedback, 32, options, [1])
    _, points = made.feedback.pose(batch.truth.params)
    gap = (seen.pixels - batch.crops.project(points, 32)).norm(dim=-1) / 32
    sure = seen.confidence > 0.3
    assert 0.55 < float(sure.float().mean()) < 0.65
    assert float(gap[sure].max()) < 0.06
    assert float((seen.confidence.amax(1) == 0).float().mean()) == pytest.approx(0.3, abs=0.08)
    loss, _ = made.loss(batch, 0)
    loss.backward()
    assert made.network.keypoints is not None
    assert float(made.network.keypoints.gather.weight.grad.abs().max()) > 0  # type: ignore[union-attr]


def one_of_two(rank: int, port: int, motions: Path, people: Path, out: Path, told: "multiprocessing.Queue") -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    kept: list[ImageTrainer] = []

    class Kept(ImageTrainer):
        def __init__(self, *rest: object) -> None:
            super().__init__(*rest)  # type: ignore[arg-type]
            kept.append(self)

    training.ImageTrainer = Kept  # type: ignore[misc]
    train_image(replace(TINY, steps=3), open_body(), [motions], out, people_dir=people, device="cpu")
    told.put((rank, float(sum(each.detach().double().abs().sum() for each in kept[0].network.parameters()))))
    torch.distributed.destroy_process_group()


def test_two_processes_train_one_network(run: Path, motions: Path, tmp_path: Path) -> None:
    """Started as torchrun starts them: each sees other pictures, gradients are averaged, so both end with the same
    weights, and one writes them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked rather than spawned: importing everything twice takes longer than the training.
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    both = [
        context.Process(target=one_of_two, args=(rank, port, motions, run, tmp_path / "out", told)) for rank in range(2)
    ]
    for each in both:
        each.start()
    sums = dict(told.get(timeout=300) for _ in both)
    for each in both:
        each.join(60)
    assert sums[0] == sums[1]
    assert (tmp_path / "out" / WEIGHTS).exists() and (tmp_path / "out" / STATE).exists()
    alone = tmp_path / "alone"
    train_image(replace(TINY, steps=3), open_body(), [motions], alone, people_dir=run, device="cpu")
    first, second = (load_image_network(each / WEIGHTS)[0].state_dict() for each in (tmp_path / "out", alone))
    assert not torch.equal(first["decoder.rotation_change.weight"], second["decoder.rotation_change.weight"])


def test_the_command_trains_and_tells_mistakes_in_one_line(run: Path, motions: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "{steps: 1, crops: 4, network: {backbone: small, crop_size: 32, map_channels: 8, feedback_features: 16, "
        "hidden: 8,"
        " iterations: 1}, data: {people: {count: 2, side: 44}, validation_people: 1, validation_views: [1]}}"
    )
    done = run_cli("train", "image", "--motion", motions, "--recipe", recipe, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "validation, 1 view" in done.out
    nothing = run_cli("train", "image", "--recipe", recipe, "--out", tmp_path / "none")
    assert nothing.code == 2 and "--motion DIR" in nothing.err
    recipe.write_text("{steps: 0}")
    endless = run_cli("train", "image", "--motion", motions, "--recipe", recipe, "--out", tmp_path / "none")
    assert endless.code == 2 and "how long to train" in endless.err
    with pytest.raises(InputError, match="cpu, cuda or auto"):
        join_processes("tpu")


def test_shipped_recipes_load() -> None:
    for name in ("image", "image-small"):
        load_recipe(ImageTrainRecipe, shipped_recipes() / "train" / f"{name}.yaml")


def test_the_held_out_report_measures_views_and_shape(
    run: Path, motions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--weights", run / WEIGHTS, "--motion", motions, "--people", tmp_path, "--count", 2]
    assert held_out([str(each) for each in arguments]) == 0
    told = capsys.readouterr().out
    for part in ("mean person", "shape with the pose held", "clear, 1 view:", "clear, 4 views:", "covered, 2 views:"):
        assert part in told
    assert held_out([*(str(each) for each in arguments[:-2]), "--count", "3"]) == 2
