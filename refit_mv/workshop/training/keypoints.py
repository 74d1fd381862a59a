"""Training: ``train`` draws sessions that never were, and fits them better and better.

Plain PyTorch on one core. The schedule runs over wall-clock time, because that is what one has: a run of two hours ends
after two hours on any machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel, with_vertices
from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion
from refit_mv.networks.frame_network import NetworkOptions, ReFitNetwork
from refit_mv.networks.unroll import unroll
from refit_mv.networks.weights_file import load_network, save_network
from refit_mv.progress import Report, quiet
from refit_mv.ranges import require_not_negative, require_positive, require_share, require_within
from refit_mv.workshop.builders.prior_builder import HELD_OUT_SUBJECTS
from refit_mv.workshop.synthetic.body_variants import with_variants
from refit_mv.workshop.synthetic.motions import read_motions
from refit_mv.workshop.synthetic.pose_bank import PoseBank, PoseMix, pose_bank
from refit_mv.workshop.training.averaged_adam import AveragedAdam, OptimizerOptions
from refit_mv.workshop.training.block_store import BlockStore
from refit_mv.workshop.training.loop import Run, Schedule, Verdict, claim
from refit_mv.workshop.training.losses import LossOptions, UsualLoss, discounted, joint_losses
from refit_mv.workshop.training.processes import join_processes
from refit_mv.workshop.training.sample_blocks import EvidenceMix, draw_block
from refit_mv.workshop.training.sample_pool import NOISE_KINDS, Batch, SamplePool
from refit_mv.workshop.training.validation import (
    KEYPOINTS,
    NOISE,
    VIEWS,
    Validation,
    calibrate,
    draw_validation,
    validate,
)

WEIGHTS = "keypoints.safetensors"
# So many blocks are drawn at a time during a run.
BLOCKS_AT_ONCE = 20


# As --seed has it.
LARGEST_SEED = 2**31 - 1


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

    def __post_init__(self) -> None:
        require_positive(self, "blocks", "block_frames", "steps_per_block", "validation_frames", "validation_views")
        require_not_negative(self, "variants", "variant_spread")
        require_share(self, "locked", "fresh", "renewed", "dropout")


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
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    data: DataOptions = field(default_factory=DataOptions)

    def __post_init__(self) -> None:
        require_positive(self, "batch_frames")
        require_not_negative(self, "minutes", "steps", "checkpoint_minutes", "validation_minutes")
        require_within(self, 0, LARGEST_SEED, "seed")

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.minutes, self.checkpoint_minutes, validation_minutes=self.validation_minutes)


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


class KeypointTrainer:
    """Network, moving average and optimizer on a device, and what has been drawn. ``held_out`` are the motions judged
    on.
    """

    weights = WEIGHTS

    def __init__(
        self, recipe: TrainRecipe, bank: PoseBank, held_out: Sequence[Motion], blocks_dir: Path, device: str = "cpu"
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        network = ReFitNetwork(recipe.network)
        if recipe.begin_with:
            earlier, _ = load_network(Path(recipe.begin_with))
            network.load_state_dict(earlier.state_dict())
        self.adam = AveragedAdam(network.to(device), recipe.optimizer)
        data, rng = recipe.data, np.random.default_rng([recipe.seed, 0])
        self.bodies = with_variants(_body(data.evidence), data.variants, data.variant_spread, rng)
        self.bank, self.held_out = bank, held_out
        self.usual = UsualLoss()
        self.store = BlockStore(blocks_dir, data.blocks)
        self.pool: SamplePool | None = None
        self.checks: tuple[Validation, ...] = ()

    def prepare(self, step: int, report: Report) -> None:
        """Fill the store, make batches from it, and draw what is judged on."""
        data = self.recipe.data
        while len(self.store) < data.blocks:
            self._draw()
            if self.store.drawn % BLOCKS_AT_ONCE == 0:
                report(f"drew {len(self.store)} of {data.blocks} blocks of samples", 0.0)
        self._pool_blocks()
        self.checks = draw_validation(
            self.bodies[0],
            self.held_out,
            data.validation_frames,
            self.recipe.seed,
            data.validation_noise,
            data.validation_views,
            data.validation_keypoints,
        )

    def _draw(self) -> None:
        data, number = self.recipe.data, self.store.drawn
        rng = np.random.default_rng([self.recipe.seed, 1, number])
        self.store.add(draw_block(self.bank, self.bodies, data.poses, data.evidence, data.block_frames, rng))

    def _pool_blocks(self) -> None:
        self.pool = SamplePool(self.bodies, self.store.blocks, self.bank, self.recipe.data.poses)

    def batch(self, step: int) -> Batch:
        """The batch of a step; depends on nothing but the seed, the step and the blocks."""
        data = self.recipe.data
        if step and step % (BLOCKS_AT_ONCE * data.steps_per_block) == 0:
            for _ in range(BLOCKS_AT_ONCE):
                self._draw()
            self._pool_blocks()
        assert self.pool is not None, "batches are drawn from what prepare has drawn"
        rng = np.random.default_rng([self.recipe.seed, 2, step])
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
        """A weight for each frame, by its kind: number of views and noise."""
        weight = torch.ones_like(final)
        for index, kind in enumerate(NOISE_KINDS):
            rows = batch.noise == index
            if bool(rows.any()):
                weight[rows] = self.usual.weight(f"{batch.views} {kind}", float(final[rows].mean()))
        return weight

    def advance(self, step: int, share: float) -> tuple[float, dict[str, float]]:
        """One step of the optimizer at ``share`` of the run; its loss, and the last prediction's in metres."""
        batch = self.batch(step).to(self.device)
        unrolled = unroll(self.adam.network, batch.scene, batch.evidence, batch.start)
        losses = joint_losses(batch.scene, unrolled.predictions, batch.truth, self.recipe.loss, batch.views == 1)
        final = losses[-1].detach()
        loss = (discounted(losses, self.recipe.loss) * self._relative(final, batch)).mean()
        self.adam.advance(loss, step, share)
        value = float(loss.detach())
        return value, {"total": float(final.mean()) if math.isfinite(value) else math.nan}

    def judge(self) -> Verdict:
        return Verdict.of(validate(self.adam.shipped, self.checks))

    def finish(self) -> dict[str, object]:
        """The calibration of the uncertainty."""
        return {"sigma_correction": calibrate(self.adam.shipped, self.checks).coefficients.tolist()}

    def write(self, path: Path, facts: dict[str, object]) -> None:
        save_network(path, self.adam.average, {**facts, "seed": self.recipe.seed})

    def state(self) -> dict[str, object]:
        return {"scale": self.usual.by_kind}

    def restore(self, state: dict[str, Any]) -> None:
        self.usual.by_kind = dict(state["scale"])


def train(
    recipe: TrainRecipe,
    motion_folders: Sequence[Path],
    out_dir: Path,
    resume: bool = False,
    report: Report = quiet,
    blocks_dir: Path | None = None,
    device: str = "auto",
) -> Path:
    """Train keypoint weights on the motions of the folders; returns the weights' file inside ``out_dir``.

    ``resume`` continues an interrupted run in ``out_dir``, blocks and all; ``blocks_dir`` keeps the samples elsewhere,
    for runs that shall share them. The file holds the moving average of the weights, validation figures and the
    calibration of the uncertainty.

    Raises:
        InputError: unusable motions, an ``out_dir`` that holds another run, nothing to resume.
    """
    claim(out_dir, resume)
    training, held_out = read_people(motion_folders, recipe.data.validation_subjects, recipe.data.excluded_subjects)
    blocks, chosen = blocks_dir or out_dir / "blocks", str(join_processes(device).device)
    trainer = KeypointTrainer(recipe, pose_bank(training), held_out, blocks, chosen)
    run = Run(trainer, recipe.schedule, out_dir, report)
    if resume:
        run.resume()
    return run.complete()
