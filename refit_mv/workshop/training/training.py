"""Training: ``train`` draws sessions that never were, and fits them better and better.

Plain PyTorch on one core. The schedule runs over wall-clock time, because that is what one has: a run of two hours ends
after two hours on any machine.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel, with_vertices
from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion
from refit_mv.networks.frame_network import NetworkOptions, ReFitNetwork
from refit_mv.networks.unroll import unroll
from refit_mv.networks.weights_file import (
    load_network,
    load_state,
    save_network,
    save_state,
)
from refit_mv.workshop.builders.prior_builder import HELD_OUT_SUBJECTS
from refit_mv.workshop.synthetic.motions import read_motions
from refit_mv.workshop.training.averaged_adam import AveragedAdam, OptimiserOptions
from refit_mv.workshop.training.block_store import BlockStore
from refit_mv.workshop.training.body_variants import body_variant
from refit_mv.workshop.training.loss_picture import write_loss_picture
from refit_mv.workshop.training.losses import LossOptions, discounted, joint_losses
from refit_mv.workshop.training.pose_bank import PoseBank, PoseMix, pose_bank
from refit_mv.workshop.training.sample_blocks import EvidenceMix, SampleBlock, draw_block
from refit_mv.workshop.training.sample_pool import NOISE_KINDS, Batch, SamplePool
from refit_mv.workshop.training.training_loop import STATE, Report, begin_run, quiet, run_steps
from refit_mv.workshop.training.validation import KEYPOINTS, NOISE, VIEWS, calibrate, draw_validation, validate

WEIGHTS, LOG, PICTURE = "keypoints.safetensors", "log.json", "loss.png"


@dataclass(frozen=True)
class DataOptions:
    """How much is drawn and kept. ``blocks`` of ``block_frames`` are drawn before training begins and one more every
    ``steps_per_block`` steps, the oldest leaving. ``variants`` further bodies whose bones differ by ``variant_spread``
    (one sigma of the logarithm). Shares as in ``SamplePool.draw``. Motions of the ``validation_subjects`` (file names
    ``<subject>_<trial>``) are never trained on, those of ``excluded_subjects`` never read.
    """

    blocks: int = 400
    block_frames: int = 64
    steps_per_block: int = 12
    variants: int = 16
    variant_spread: float = 0.07
    locked: float = 0.10
    fresh: float = 0.75
    renewed: float = 0.80
    dropout: float = 0.30
    validation_subjects: tuple[str, ...] = ("10",)
    excluded_subjects: tuple[str, ...] = HELD_OUT_SUBJECTS
    validation_frames: int = 128
    validation_noise: tuple[str, ...] = NOISE
    validation_views: tuple[int, ...] = VIEWS
    validation_keypoints: str = KEYPOINTS
    poses: PoseMix = field(default_factory=PoseMix)
    evidence: EvidenceMix = field(default_factory=EvidenceMix)


@dataclass(frozen=True)
class TrainRecipe:
    """Everything a run depends on besides its motions. It ends after ``minutes``, or where ``steps`` is not 0 after so
    many. ``begin_with`` are weights to start from (a path; empty for none).
    """

    seed: int = 1
    minutes: float = 120.0
    steps: int = 0
    batch_frames: int = 192
    checkpoint_minutes: float = 4.0
    validation_minutes: float = 15.0
    begin_with: str = ""
    network: NetworkOptions = field(default_factory=NetworkOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    data: DataOptions = field(default_factory=DataOptions)


def _subject(name: str) -> str:
    return name.partition("_")[0]


def read_people(
    folders: Sequence[Path], validation_subjects: Sequence[str], excluded_subjects: Sequence[str]
) -> tuple[list[Motion], list[Motion]]:
    """Motions to train on and to validate on.

    Raises:
        InputError: unreadable files, or none to train on.
    """
    motions = [
        motion
        for folder in folders
        for motion in read_motions(folder, lambda path: _subject(path.stem) not in excluded_subjects)
    ]
    validation = [motion for motion in motions if _subject(motion.name) in validation_subjects]
    training = [motion for motion in motions if _subject(motion.name) not in validation_subjects]
    if not training:
        raise InputError(
            f"no motion to train on in {', '.join(map(str, folders))}: all belong to validation or excluded subjects"
        )
    return training, validation or training[:1]


def _body(mix: EvidenceMix) -> BodyModel:
    """The open body, with the vertices that the evidence asks for."""
    body = open_body()
    for name, _ in mix.keypoint_sets:
        if name.startswith("vertices"):
            body = with_vertices(body, int(name.removeprefix("vertices")))
    return body


class Trainer:
    """The mutable part of a run: network, moving average, optimiser, and what has been drawn."""

    def __init__(self, recipe: TrainRecipe, bank: PoseBank, out_dir: Path, blocks_dir: Path | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.out_dir = out_dir
        self.network = ReFitNetwork(recipe.network)
        if recipe.begin_with:
            earlier, _ = load_network(Path(recipe.begin_with))
            self.network.load_state_dict(earlier.state_dict())
        self.adam = AveragedAdam(self.network, recipe.optimiser)
        rng = np.random.default_rng([recipe.seed, 0])
        first = _body(recipe.data.evidence)
        spread = recipe.data.variant_spread
        self.bodies = [first, *(body_variant(first, spread, rng) for _ in range(recipe.data.variants))]
        self.bank = bank
        self.step = 0
        self.seconds = 0.0
        self.scale: dict[str, float] = {}
        self.history: list[tuple[int, float]] = []
        self.validations: list[dict[str, object]] = []
        self.pool: SamplePool | None = None
        self.store = BlockStore(blocks_dir or out_dir / "blocks", recipe.data.blocks)

    @property
    def average(self) -> ReFitNetwork:
        """The moving average of the weights."""
        return self.adam.average

    def draw_blocks(self, report: Report) -> None:
        """Fill the store, then make batches from it."""
        while len(self.store) < self.recipe.data.blocks:
            self.store.add(self._draw(self.store.drawn))
            if self.store.drawn % 20 == 0:
                report(f"drew {len(self.store)} of {self.recipe.data.blocks} blocks of samples", 0.0)
        self.pool = SamplePool(self.bodies, self.store.blocks, self.bank, self.recipe.data.poses)

    def _draw(self, number: int) -> SampleBlock:
        data = self.recipe.data
        rng = np.random.default_rng([self.recipe.seed, 1, number])
        return draw_block(self.bank, self.bodies, data.poses, data.evidence, data.block_frames, rng)

    def batch(self) -> Batch:
        """The batch of the current step; depends on nothing but the seed, the step and the blocks."""
        data = self.recipe.data
        if self.pool is None or (self.step and self.step % (20 * data.steps_per_block) == 0):
            for _ in range(20 if self.pool is not None else 0):
                self.store.add(self._draw(self.store.drawn))
            self.pool = SamplePool(self.bodies, self.store.blocks, self.bank, self.recipe.data.poses)
        rng = np.random.default_rng([self.recipe.seed, 2, self.step])
        chances = dict(data.evidence.views)
        return self.pool.draw(
            self.recipe.batch_frames,
            chances,
            rng,
            locked=data.locked,
            fresh=data.fresh,
            renewed=data.renewed,
            dropout=data.dropout,
        )

    def _relative(self, final: Tensor, batch: Batch) -> Tensor:
        """One over the running mean loss of each kind of frame, so that easy kinds are learned as keenly as hard
        ones.
        """
        weight = torch.ones_like(final)
        for index, kind in enumerate(NOISE_KINDS):
            rows = batch.noise == index
            if bool(rows.any()):
                key = f"{batch.views} {kind}"
                mean = float(final[rows].mean())
                usual = self.scale.get(key, mean)
                self.scale[key] = 0.97 * usual + 0.03 * min(mean, 3 * usual)
                weight[rows] = 1 / self.scale[key]
        return weight

    def advance(self, share: float) -> float:
        """One step of the optimiser at ``share`` of the run. Returns the loss."""
        batch = self.batch()
        unrolled = unroll(self.network, batch.scene, batch.evidence, batch.start)
        losses = joint_losses(batch.scene, unrolled.predictions, batch.truth, self.recipe.loss, batch.views == 1)
        loss = (discounted(losses, self.recipe.loss) * self._relative(losses[-1].detach(), batch)).mean()
        self.adam.advance(loss, self.step, share)
        self.step += 1
        value = float(loss.detach())
        self.history.append((self.step, float(losses[-1].detach().mean()) if math.isfinite(value) else math.nan))
        return value

    def save(self, facts: dict[str, object]) -> None:
        """Checkpoint: the averaged weights, the full state, the log and its picture."""
        save_network(self.out_dir / WEIGHTS, self.average, facts)
        plain = {
            "step": self.step, "seconds": self.seconds, "scale": self.scale, "history": self.history,
            "validations": self.validations, "recipe": asdict(self.recipe), "drawn": self.store.drawn,
        }  # fmt: skip
        save_state(self.out_dir / STATE, self.adam.tensors(), plain)
        log = {key: plain[key] for key in ("step", "seconds", "history", "validations", "recipe")}
        (self.out_dir / LOG).write_text(json.dumps(log), encoding="utf-8")
        write_loss_picture(self.out_dir / PICTURE, self.history, self.validations)

    def resume(self) -> None:
        """Continue from the last checkpoint of ``out_dir``.

        Raises:
            InputError: there is none, or it is of another network.
        """
        path = self.out_dir / STATE
        tensors, plain = load_state(path)
        self.adam.restore(tensors, str(path))
        self.step, self.seconds = int(plain["step"]), float(plain["seconds"])
        self.scale = dict(plain["scale"])
        self.history = [(int(step), float(value)) for step, value in plain["history"]]
        self.validations = list(plain["validations"])


def train(
    recipe: TrainRecipe,
    motion_folders: Sequence[Path],
    out_dir: Path,
    resume: bool = False,
    report: Report = quiet,
    blocks_dir: Path | None = None,
) -> Path:
    """Train keypoint weights on the motions of the folders; returns the weights' file inside ``out_dir``.

    ``resume`` continues an interrupted run in ``out_dir``, blocks and all; ``blocks_dir`` keeps the samples elsewhere,
    for runs that shall share them. The file holds the moving average of the weights, validation figures and the
    calibration of the uncertainty.

    Raises:
        InputError: unusable motions, an ``out_dir`` that holds another run, nothing to resume.
    """
    begin_run(out_dir, resume)
    training, held_out = read_people(motion_folders, recipe.data.validation_subjects, recipe.data.excluded_subjects)
    trainer = Trainer(recipe, pose_bank(training), out_dir, blocks_dir)
    if resume:
        trainer.resume()
    trainer.draw_blocks(report)
    data = recipe.data
    checks = draw_validation(
        trainer.bodies[0],
        held_out,
        data.validation_frames,
        recipe.seed,
        data.validation_noise,
        data.validation_views,
        data.validation_keypoints,
    )
    run_steps(trainer, recipe, lambda: validate(trainer.average, checks), lambda: trainer.save(_facts(trainer)), report)
    correction = calibrate(trainer.average, checks)
    trainer.save({**_facts(trainer), "sigma_correction": correction.coefficients.tolist()})
    return out_dir / WEIGHTS


def _facts(trainer: Trainer) -> dict[str, object]:
    last = trainer.validations[-1] if trainer.validations else {}
    return {"steps": trainer.step, "minutes": trainer.seconds / 60, "seed": trainer.recipe.seed, "validation": last}
