"""Training the image network: the paper's loop over made-up and recorded pictures, on one processor core or many
graphics cards.
"""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import feedback_body
from refit_mv.image.posed import PosedReFit, held_at
from refit_mv.image.weights import load_image_network, save_image_network
from refit_mv.networks.weights_file import (
    load_state,
    optimizer_tensors,
    restore_networks,
    restore_optimizer,
    save_state,
)
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.workshop.builders.prior_builder import HELD_OUT_SUBJECTS
from refit_mv.workshop.pictures.augment import AugmentOptions
from refit_mv.workshop.pictures.batch_stream import BatchStream, WeightedSource, batches_from
from refit_mv.workshop.pictures.batches import Batch
from refit_mv.workshop.pictures.dataset import DatasetOptions, read_dataset
from refit_mv.workshop.pictures.evaluation import evaluate
from refit_mv.workshop.pictures.half_precision import Precision, compute_in
from refit_mv.workshop.pictures.losses import ImageLossOptions, Losses
from refit_mv.workshop.pictures.made_up_detections import DetectionOptions, made_up_detections
from refit_mv.workshop.pictures.people import PeopleOptions, RenderedPeople, render_people
from refit_mv.workshop.pictures.processes import Processes, join_processes
from refit_mv.workshop.pictures.training_log import TrainingLog
from refit_mv.workshop.training.pose_bank import PoseMix, pose_bank
from refit_mv.workshop.training.training import read_people
from refit_mv.workshop.training.training_loop import STATE, Report, begin_run, quiet

WEIGHTS = "image.safetensors"
PEOPLE, VALIDATION = "people", "validation"
# Losses are logged as means over so many steps.
LOG_STEPS = 10
RECORDED_ONLY = PoseMix(recombined=0.0, exchanged=0.0, disturbed=0.0, sampled=0.0, extreme=0.0, tumbled=0.0)


@dataclass(frozen=True)
class ImageOptimiserOptions:
    """Adam, as in the paper with a constant rate; ``cosine`` lets it fall to nothing over the run. ``average`` is the
    decay of a moving average of the weights, which is what is kept (0: the weights as they are). ``clip`` is the
    largest norm of the gradient.
    """

    learning_rate: float = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    clip: float = 4.0
    weight_decay: float = 0.0
    average: float = 0.0

    def __post_init__(self) -> None:
        require_positive(self, "learning_rate", "clip")
        require_not_negative(self, "warmup_steps", "weight_decay", "average")


@dataclass(frozen=True)
class ImageDataOptions:
    """What is learned from. ``rendered``: share of rendered people among the examples (0: none are made); ``datasets``
    have shares of their own. ``together``: share of the steps that show rendered people in all their views at once, for
    networks that learn how much to trust a view; ``posed``: share of the other steps in which pose and position are
    given and shape alone is sought (for examples whose pose and position are known). Motions are divided by subject as
    in keypoint training; ``validation_people`` of the validation subjects, in four views each, are evaluated on.
    """

    rendered: float = 1.0
    people: PeopleOptions = field(default_factory=PeopleOptions)
    together: float = 0.0
    posed: float = 0.0
    datasets: tuple[DatasetOptions, ...] = ()
    validation_subjects: tuple[str, ...] = ("10",)
    excluded_subjects: tuple[str, ...] = HELD_OUT_SUBJECTS
    validation_people: int = 48
    validation_views: tuple[int, ...] = (1, 4)

    def __post_init__(self) -> None:
        require_not_negative(self, "rendered", "together", "posed")
        require_positive(self, "validation_people", "validation_views")
        if self.rendered == 0 and not self.datasets:
            raise InputError("nothing to learn from: give rendered a share above 0, or datasets")


@dataclass(frozen=True)
class ImageTrainRecipe:
    """Everything a run depends on besides its motions and its body. It ends after ``steps``, or, where these are 0,
    after ``minutes``. ``crops`` per step and process. ``begin_with`` are weights to start from (a path; empty for
    none). ``evaluation_steps`` and ``checkpoint_minutes`` say how often. ``workers`` prepare batches ahead.
    """

    seed: int = 1
    steps: int = 80000
    minutes: float = 0.0
    crops: int = 64
    begin_with: str = ""
    evaluation_steps: int = 2000
    checkpoint_minutes: float = 10.0
    workers: int = 0
    precision: Precision = "float32"
    network: ImageNetworkOptions = field(default_factory=ImageNetworkOptions)
    optimiser: ImageOptimiserOptions = field(default_factory=ImageOptimiserOptions)
    loss: ImageLossOptions = field(default_factory=ImageLossOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    detections: DetectionOptions = field(default_factory=DetectionOptions)
    data: ImageDataOptions = field(default_factory=ImageDataOptions)

    def __post_init__(self) -> None:
        require_not_negative(self, "steps", "minutes", "workers")
        require_positive(self, "crops", "evaluation_steps", "checkpoint_minutes")
        if not (self.steps or self.minutes):
            raise InputError("steps and minutes are both 0: say how long to train")


class ImageTrainer:
    """The mutable part of a run: network, moving average, optimiser and log."""

    def __init__(self, recipe: ImageTrainRecipe, body: BodyModel, out_dir: Path, processes: Processes) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.body, self.out_dir, self.processes = recipe, body, out_dir, processes
        o, device = recipe.optimiser, processes.device
        # Channels last is how convolutions like their numbers, on processors and graphics cards alike: a sixth faster.
        self.network = PosedReFit(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.begin_with:
            begin(self.network, Path(recipe.begin_with))
        else:
            begin_at_mean(self.network)
        self.average: ImageReFit = copy.deepcopy(self.network).requires_grad_(False).eval()
        compute_in(recipe.precision, [self.network.backbone, self.network.maps])
        self.feedback = feedback_body(body, recipe.network).to(torch.float32, device)
        self.losses = Losses(body, self.feedback, recipe.loss)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=o.learning_rate, weight_decay=o.weight_decay)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self.shared = processes.share(self.network)
        self.step, self.seconds = 0, 0.0
        self.log = TrainingLog(out_dir) if processes.leads else None
        self._maps: list[Tensor] = []
        if recipe.loss.maps > 0:
            self.network.maps.register_forward_hook(self._keep_maps)
        self._recent: list[dict[str, float]] = []

    def _keep_maps(self, _module: torch.nn.Module, _inputs: object, maps: Tensor) -> None:
        self._maps.append(maps)

    def rate(self, share: float) -> float:
        """The learning rate at a share of the run."""
        o = self.recipe.optimiser
        warm = min(1.0, (self.step + 1) / max(o.warmup_steps, 1))
        fall = 0.5 * (1 + math.cos(math.pi * min(share, 1.0))) if o.schedule == "cosine" else 1.0
        return o.learning_rate * warm * max(fall, 1e-3)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch, and its terms."""
        self._maps.clear()
        seen = None
        if self.recipe.network.keypoints:
            seed = [self.recipe.seed, 3, self.processes.index, self.step]
            seen = made_up_detections(batch, self.feedback, self.recipe.network.crop_size, self.recipe.detections, seed)
        rng = np.random.default_rng([self.recipe.seed, 4, self.processes.index, self.step])
        known = batch.truth.has_pose & batch.truth.has_position
        posed = batch.views is None and rng.uniform() < self.recipe.data.posed and bool(known.all())
        self.network.hold = held_at(batch.truth.params, batch.crops, self.feedback) if posed else None
        images = batch.images.contiguous(memory_format=torch.channels_last)
        estimates = self.shared(images, batch.crops, self.feedback, batch.views, seen)
        loss, terms = self.losses(estimates, batch)
        # Trust among views is in the answer, but single views are not judged by it; without this, processes would wait
        # for its gradient.
        loss = loss + sum(0.0 * each.log_trust.sum() for each in estimates if each.log_trust is not None)
        if self._maps:
            of_maps = self.recipe.loss.maps * self.losses.map_loss(self._maps[-1], batch)
            loss, terms["maps"] = loss + self.recipe.loss.scale * of_maps, float(of_maps.detach())
        return loss, terms

    def advance(self, batch: Batch, share: float) -> float:
        """One step of the optimiser at ``share`` of the run. Returns the loss."""
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate(share)
        loss, terms = self.loss(batch.to(self.processes.device))
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimiser.clip)
        # The scaler leaves out steps with infinite gradients by itself; in full precision nothing else would.
        if self.scaler.is_enabled() or bool(torch.isfinite(norm)):
            self.scaler.step(self.optimiser)
        self.scaler.update()
        self._follow()
        self.step += 1
        self._recent.append({"total": float(loss.detach()) / self.recipe.loss.scale, **terms})
        if len(self._recent) == LOG_STEPS and self.log is not None:
            names = {name for row in self._recent for name in row}
            self.log.add_losses(
                self.step, {name: sum(row.get(name, 0.0) for row in self._recent) / LOG_STEPS for name in names}
            )
        self._recent = [] if len(self._recent) >= LOG_STEPS else self._recent
        return float(loss.detach())

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(self.recipe.optimiser.average, 1 - 3 / (10 + self.step))
        for slow, fast in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - keep)
            else:
                slow.copy_(fast)

    def save(self) -> None:
        """The averaged weights, the full state, the log and its picture."""
        if self.log is None:
            return
        facts: dict[str, object] = {
            "steps": self.step,
            "minutes": self.seconds / 60,
            "body": self.body.name,
            "recipe": asdict(self.recipe),
        }
        last = self.log.evaluations[-1] if self.log.evaluations else {}
        save_image_network(self.out_dir / WEIGHTS, self.average, {**facts, "validation_mm": last})
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= optimizer_tensors(self.optimiser)
        plain = {"step": self.step, "seconds": self.seconds, "scaler": self.scaler.state_dict()}
        logged = {"losses": self.log.losses, "evaluations": self.log.evaluations}
        save_state(self.out_dir / STATE, tensors, {**plain, **logged})
        self.log.write(facts)

    def resume(self) -> None:
        """Continue from the last checkpoint of ``out_dir``.

        Raises:
            InputError: there is none, or it is of another network.
        """
        path = self.out_dir / STATE
        tensors, plain = load_state(path)
        restore_networks({"network": self.network, "average": self.average}, tensors, str(path))
        restore_optimizer(self.optimiser, tensors)
        self.step, self.seconds = int(plain["step"]), float(plain["seconds"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(plain["scaler"])
        if self.log is not None:
            self.log.losses, self.log.evaluations = list(plain["losses"]), list(plain["evaluations"])


def begin(network: ImageReFit, path: Path) -> None:
    """Start from trained weights; parts that the file lacks (trust, a second source of evidence) stay as they are.

    Raises:
        InputError: unreadable weights, or of a network of other sizes.
    """
    earlier = load_image_network(path)[0].state_dict()
    own = network.state_dict()
    if any(name not in own or own[name].shape != tensor.shape for name, tensor in earlier.items()):
        raise InputError(f"{path}: weights of a network of other sizes; begin_with takes the recipe's own network")
    network.load_state_dict({**own, **earlier})


@torch.no_grad()
def begin_at_mean(network: ImageReFit) -> None:
    """Let an untrained network answer with the mean body, nearly: random answers lie metres off, and unlearning them
    takes the first hundred steps.
    """
    for layer in (network.decoder.rotation_change, network.decoder.shape_change, network.decoder.camera_change):
        layer.weight.mul_(0.01)
        layer.bias.zero_()


def _sources(
    recipe: ImageTrainRecipe,
    body: BodyModel,
    motion_folders: Sequence[Path],
    people_dir: Path,
    processes: Processes,
    report: Report,
) -> tuple[list[WeightedSource], RenderedPeople | None]:
    """What is learned from, and the people evaluated on (None without motions). People are rendered by the leading
    process; the others find them done.
    """
    data = recipe.data
    sources = [WeightedSource(read_dataset(options, body), options.share) for options in data.datasets]
    if not motion_folders:
        if data.rendered > 0:
            raise InputError("people are rendered from motions: give --motion DIR, or set data.rendered to 0")
        return sources, None
    training, held_out = read_people(motion_folders, data.validation_subjects, data.excluded_subjects)
    judged = PeopleOptions(
        count=data.validation_people, views=max(data.validation_views), side=data.people.side, poses=RECORDED_ONLY
    )
    if not processes.leads:
        processes.wait()
    validation = render_people(body, pose_bank(held_out), judged, people_dir / VALIDATION, recipe.seed)
    if data.rendered > 0:

        def tell(done: int, total: int) -> None:
            report(f"rendered {done} of {total} people", 0.0)

        people = render_people(body, pose_bank(training), data.people, people_dir / PEOPLE, recipe.seed, tell)
        sources.append(WeightedSource(people, data.rendered))
    if processes.leads:
        processes.wait()
    return sources, validation


def train_image(
    recipe: ImageTrainRecipe,
    body: BodyModel,
    motion_folders: Sequence[Path],
    out_dir: Path,
    resume: bool = False,
    people_dir: Path | None = None,
    device: str = "auto",
    report: Report = quiet,
) -> Path:
    """Train an image network; returns the weights' file inside ``out_dir``. ``people_dir`` keeps the rendered people
    elsewhere, for runs that shall share them.

    Raises:
        InputError: unusable motions or datasets, an ``out_dir`` that holds another run, nothing to resume.
    """
    begin_run(out_dir, resume)
    processes = join_processes(device)
    sources, judged = _sources(recipe, body, motion_folders, people_dir or out_dir, processes, report)
    trainer = ImageTrainer(recipe, body, out_dir, processes)
    if resume:
        trainer.resume()
    _run(trainer, sources, judged, report)
    return out_dir / WEIGHTS


def _run(
    trainer: ImageTrainer, sources: Sequence[WeightedSource], judged: RenderedPeople | None, report: Report
) -> None:
    recipe, processes = trainer.recipe, trainer.processes
    size, together = recipe.network.crop_size, recipe.data.together
    stream = BatchStream(sources, recipe.crops, size, recipe.augment, together, recipe.seed, processes.index)
    began = time.monotonic() - trainer.seconds
    saved = time.monotonic()
    for batch in batches_from(stream, trainer.step, recipe.workers):
        seconds = time.monotonic() - began
        share = processes.agreed(trainer.step / recipe.steps if recipe.steps else seconds / (60 * recipe.minutes))
        if share >= 1:
            break
        loss = trainer.advance(batch, share)
        trainer.seconds = time.monotonic() - began
        if trainer.step % (5 * LOG_STEPS) == 0:
            report(f"step {trainer.step}: loss {loss:.3f}, {trainer.step / trainer.seconds:.2f} steps a second", share)
        if trainer.step % recipe.evaluation_steps == 0:
            _judge(trainer, judged, report, share)
        if time.monotonic() - saved > 60 * recipe.checkpoint_minutes:
            trainer.save()
            saved = time.monotonic()
    _judge(trainer, judged, report, 1.0)
    trainer.save()
    processes.wait()


def _judge(trainer: ImageTrainer, judged: RenderedPeople | None, report: Report, share: float) -> None:
    if trainer.log is None or judged is None:
        return
    views = trainer.recipe.data.validation_views
    errors = evaluate(trainer.average, trainer.feedback, judged, trainer.body, views)
    named = {}
    for count, found in errors.items():
        which = f"{count} view" if count == 1 else f"{count} views"
        named |= {f"MPJPE, {which}": found.mpjpe, f"PA-MPJPE, {which}": found.pa_mpjpe, f"PVE, {which}": found.pve}
        report(f"validation, {which}: {found}", share)
    trainer.log.add_evaluation(trainer.step, named)
