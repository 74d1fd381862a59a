"""Training the image network: the paper's loop over made-up and recorded pictures, on one processor core or many
graphics cards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
from refit_mv.progress import Report, quiet
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
from refit_mv.workshop.synthetic.pose_bank import PoseMix, pose_bank
from refit_mv.workshop.training.averaged_adam import AveragedAdam, ImageOptimizerOptions
from refit_mv.workshop.training.keypoints import read_people
from refit_mv.workshop.training.loop import Run, Schedule, Verdict, claim
from refit_mv.workshop.training.processes import ALONE, Processes, join_processes

WEIGHTS = "image.safetensors"
PEOPLE, VALIDATION = "people", "validation"
RECORDED_ONLY = PoseMix(recombined=0.0, exchanged=0.0, disturbed=0.0, sampled=0.0, extreme=0.0, tumbled=0.0)


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
    optimizer: ImageOptimizerOptions = field(default_factory=ImageOptimizerOptions)
    loss: ImageLossOptions = field(default_factory=ImageLossOptions)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    detections: DetectionOptions = field(default_factory=DetectionOptions)
    data: ImageDataOptions = field(default_factory=ImageDataOptions)

    def __post_init__(self) -> None:
        require_not_negative(self, "steps", "minutes", "workers")
        require_positive(self, "crops", "evaluation_steps", "checkpoint_minutes")
        if not (self.steps or self.minutes):
            raise InputError("steps and minutes are both 0: say how long to train")

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.minutes, self.checkpoint_minutes, validation_steps=self.evaluation_steps)


class ImageTrainer:
    """Network, moving average and optimizer, what is learned from, and the people ``judged`` on, if any."""

    weights = WEIGHTS

    def __init__(
        self,
        recipe: ImageTrainRecipe,
        body: BodyModel,
        sources: Sequence[WeightedSource] = (),
        judged: RenderedPeople | None = None,
        processes: Processes = ALONE,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.body, self.sources, self.judged, self.processes = recipe, body, sources, judged, processes
        device = processes.device
        # Channels last is how convolutions like their numbers, on processors and graphics cards alike: a sixth faster.
        self.network = PosedReFit(recipe.network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.begin_with:
            begin(self.network, Path(recipe.begin_with))
        else:
            begin_at_mean(self.network)
        scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "float16")
        self.adam: AveragedAdam[PosedReFit] = AveragedAdam(self.network, recipe.optimizer, scaler)
        compute_in(recipe.precision, [self.network.backbone, self.network.maps])
        self.feedback = feedback_body(body, recipe.network).to(torch.float32, device)
        self.losses = Losses(body, self.feedback, recipe.loss)
        self.shared = processes.share(self.network)
        self._batches: Iterator[Batch] = iter(())
        self._maps: list[Tensor] = []
        if recipe.loss.maps > 0:
            self.network.maps.register_forward_hook(self._keep_maps)

    def _keep_maps(self, _module: torch.nn.Module, _inputs: object, maps: Tensor) -> None:
        self._maps.append(maps)

    def prepare(self, step: int, report: Report) -> None:
        """Begin to make batches."""
        recipe = self.recipe
        stream = BatchStream(
            self.sources,
            recipe.crops,
            recipe.network.crop_size,
            recipe.augment,
            recipe.data.together,
            recipe.seed,
            self.processes.index,
        )
        self._batches = batches_from(stream, step, recipe.workers)

    def loss(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, float]]:
        """The loss of a step's batch, and its terms."""
        self._maps.clear()
        seen = None
        if self.recipe.network.keypoints:
            seed = [self.recipe.seed, 3, self.processes.index, step]
            seen = made_up_detections(batch, self.feedback, self.recipe.network.crop_size, self.recipe.detections, seed)
        rng = np.random.default_rng([self.recipe.seed, 4, self.processes.index, step])
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

    def advance(self, step: int, share: float) -> tuple[float, dict[str, float]]:
        """One step of the optimizer on the next batch; its loss, and the terms as the recipe weighs them."""
        return self.learn(next(self._batches), step, share)

    def learn(self, batch: Batch, step: int, share: float) -> tuple[float, dict[str, float]]:
        """One step of the optimizer on a batch."""
        self.network.train()
        loss, terms = self.loss(batch.to(self.processes.device), step)
        self.adam.advance(loss, step, share)
        value = float(loss.detach())
        return value, {"total": value / self.recipe.loss.scale, **terms}

    def judge(self) -> Verdict:
        if self.judged is None:
            return Verdict({}, ())
        named, lines = {}, []
        views = self.recipe.data.validation_views
        for count, found in evaluate(self.adam.average, self.feedback, self.judged, self.body, views).items():
            which = f"{count} view" if count == 1 else f"{count} views"
            named |= {f"MPJPE, {which}": found.mpjpe, f"PA-MPJPE, {which}": found.pa_mpjpe, f"PVE, {which}": found.pve}
            lines.append(f"validation, {which}: {found}")
        return Verdict(named, tuple(lines))

    def finish(self) -> dict[str, object]:
        """Nothing: the network states no uncertainty."""
        return {}

    def write(self, path: Path, facts: dict[str, object]) -> None:
        save_image_network(path, self.adam.average, {**facts, "body": self.body.name, "recipe": asdict(self.recipe)})

    def state(self) -> dict[str, object]:
        return {"scaler": self.adam.scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        if self.adam.scaler.is_enabled():
            self.adam.scaler.load_state_dict(state["scaler"])


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

        def tell(_stage: str, done: int, total: int) -> None:
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
    claim(out_dir, resume)
    processes = join_processes(device)
    sources, judged = _sources(recipe, body, motion_folders, people_dir or out_dir, processes, report)
    run = Run(ImageTrainer(recipe, body, sources, judged, processes), recipe.schedule, out_dir, report, processes)
    if resume:
        run.resume()
    return run.complete()
