"""Training the time network: windows that never were, on top of a trained network for single frames, which stays as it
is.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.networks.frame_network import ReFitNetwork
from refit_mv.networks.scene import Scene
from refit_mv.networks.time_network import SequenceNetwork, SequenceOptions
from refit_mv.networks.time_unroll import Known, Networks, Timeline, unroll_sequence
from refit_mv.networks.time_weights import load_sequence_network, save_sequence_network
from refit_mv.networks.unroll import Recurrence
from refit_mv.networks.weights_file import SHIPPED_WEIGHTS, load_network
from refit_mv.progress import Report, quiet
from refit_mv.ranges import require_not_negative, require_positive, require_within
from refit_mv.solve.terms.motion import REFERENCE_STEP
from refit_mv.workshop.builders.prior_builder import HELD_OUT_SUBJECTS
from refit_mv.workshop.synthetic.body_variants import with_variants
from refit_mv.workshop.synthetic.impacts import IMPACT_INDEX, impact_peaks
from refit_mv.workshop.training.averaged_adam import AveragedAdam, OptimizerOptions
from refit_mv.workshop.training.drawing import drawn
from refit_mv.workshop.training.keypoints import LARGEST_SEED, read_people
from refit_mv.workshop.training.loop import Run, Schedule, Verdict, claim
from refit_mv.workshop.training.losses import (
    LossOptions,
    UsualLoss,
    discounted,
    joint_losses,
    scene_joints,
    smooth_length,
)
from refit_mv.workshop.training.processes import join_processes
from refit_mv.workshop.training.sequence_batch import WindowBatch, recurrence_of, window_batch
from refit_mv.workshop.training.sequence_samples import SampleWindow, Takes, WindowMix, draw_window
from refit_mv.workshop.training.sequence_validation import (
    KINDS,
    SequenceCheck,
    calibrate_sequences,
    draw_checks,
    validate_sequences,
)

WEIGHTS = "sequences.safetensors"


@dataclass(frozen=True)
class SequenceDataOptions:
    """``windows`` are drawn before training begins, one more every ``steps_per_window`` steps. The rest as in
    ``keypoints.DataOptions``; ``validation_kinds`` are views and noise of the windows judged on.
    """

    windows: int = 320
    steps_per_window: int = 4
    variants: int = 16
    variant_spread: float = 0.07
    validation_subjects: tuple[str, ...] = ("10",)
    excluded_subjects: tuple[str, ...] = HELD_OUT_SUBJECTS
    validation_windows: int = 24
    validation_kinds: tuple[tuple[int, str], ...] = KINDS
    mix: WindowMix = field(default_factory=WindowMix)

    def __post_init__(self) -> None:
        require_positive(self, "windows", "steps_per_window", "validation_windows")
        require_not_negative(self, "variants", "variant_spread")


@dataclass(frozen=True)
class SequenceRecipe:
    """Everything a run depends on besides its motions. ``frame_weights`` is the network for single frames (a path;
    empty for the shipped one), ``begin_with`` a time network to start from. ``acceleration`` is what an error of
    acceleration costs beside errors of position, both in metres (per squared reference step of 1/60 s); ``impact`` what
    is missing of the peak of an impact costs.
    """

    seed: int = 1
    minutes: float = 60.0
    steps: int = 0
    batch_windows: int = 5
    checkpoint_minutes: float = 4.0
    validation_minutes: float = 12.0
    frame_weights: str = ""
    begin_with: str = ""
    acceleration: float = 0.5
    impact: float = 1.0
    network: SequenceOptions = field(default_factory=SequenceOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    data: SequenceDataOptions = field(default_factory=SequenceDataOptions)

    def __post_init__(self) -> None:
        require_positive(self, "batch_windows")
        often = ("checkpoint_minutes", "validation_minutes")
        require_not_negative(self, "minutes", "steps", *often, "acceleration", "impact")
        require_within(self, 0, LARGEST_SEED, "seed")

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.minutes, self.checkpoint_minutes, validation_minutes=self.validation_minutes)


def missing_peaks(
    fitted: Float[Tensor, "window inner joint 3"],
    truth: Float[Tensor, "window inner joint 3"],
    time: Timeline,
) -> Float[Tensor, " window"]:
    """What accelerations (metres per squared reference step) lack of the true peaks at impacts, along their directions,
    a frame early or late allowed; summed over a window's impacts, per frame.
    """
    seconds = REFERENCE_STEP**2
    rows = []
    for ours, theirs, step, valid in zip(fitted, truth, time.step, time.valid, strict=True):
        peak = impact_peaks(theirs / seconds, float(step[0])) & (valid[2:] & valid[1:-1] & valid[:-2])[:, None]
        peak[:1], peak[-1:] = False, False
        frame, place = peak.nonzero().unbind(-1)
        joint = torch.tensor(IMPACT_INDEX, device=place.device)[place]
        height = theirs[frame, joint].norm(dim=-1)
        along = [(ours[frame + shift, joint] * theirs[frame, joint]).sum(-1) / height for shift in (-1, 0, 1)]
        best = torch.stack(along).amax(0) if len(frame) else height
        rows.append((height - best).clamp_min(0).sum() / valid.sum())
    return torch.stack(rows)


def sequence_losses(
    scene: Scene,
    predictions: list[BodyParams],
    truth: BodyParams,
    time: Timeline,
    recipe: SequenceRecipe,
    one_view: bool,
) -> Float[Tensor, "prediction window"]:
    """Loss per prediction and window, metres: positions and rotations frame by frame, accelerations over neighbours,
    what is missing of impacts.
    """
    by_frame = joint_losses(scene, predictions, truth, recipe.loss, one_view)
    valid = time.valid.float()
    tied = (time.tied[:, 1:] * time.tied[:, :-1])[..., 0]
    target = time.bend(scene_joints(scene, truth))
    rows = []
    for losses, params in zip(by_frame, predictions, strict=True):
        bent = time.bend(scene_joints(scene, params))
        shaken = smooth_length(bent - target).mean(-1)
        row = (time.apart(losses) * valid).sum(1) / valid.sum(1)
        row = row + recipe.acceleration * (shaken * tied).sum(1) / tied.sum(1).clamp_min(1)
        rows.append(row + recipe.impact * missing_peaks(bent, target, time))
    return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class _Draw:
    """Windows by their numbers, each with its recurrent iterations: the network for single frames never changes."""

    recipe: SequenceRecipe
    takes: Takes
    bodies: tuple[BodyModel, ...]
    frame_network: ReFitNetwork

    def __call__(self, number: int) -> tuple[SampleWindow, Recurrence]:
        rng = np.random.default_rng([self.recipe.seed, 1, number])
        window = draw_window(self.takes, self.bodies, self.recipe.data.mix, rng)
        return window, recurrence_of(self.frame_network, window_batch([window], self.bodies))


class SequenceTrainer:
    """The time network, its moving average and optimizer on a device, and the windows at hand, drawn and judged on the
    processor by so many ``workers``. ``held_out`` are judged on.
    """

    weights = WEIGHTS

    def __init__(
        self, recipe: SequenceRecipe, takes: Takes, held_out: Takes, device: str = "cpu", workers: int = 1
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.held_out, self.device, self.workers = recipe, held_out, device, workers
        self.frame_network, _ = load_network(Path(recipe.frame_weights) if recipe.frame_weights else SHIPPED_WEIGHTS)
        self.distant_frame_network = copy.deepcopy(self.frame_network).to(device)
        network = SequenceNetwork(recipe.network, self.frame_network.options)
        if recipe.begin_with:
            network.load_state_dict(load_sequence_network(Path(recipe.begin_with))[0].state_dict())
        self.adam = AveragedAdam(network.to(device), recipe.optimizer)
        data, rng = recipe.data, np.random.default_rng([recipe.seed, 0])
        self.bodies = with_variants(open_body(), data.variants, data.variant_spread, rng)
        self.window = _Draw(recipe, takes, tuple(self.bodies), self.frame_network)
        self.windows: list[tuple[SampleWindow, Recurrence]] = []
        self.drawn = 0
        self.usual = UsualLoss()
        self.checks: tuple[SequenceCheck, ...] = ()

    def prepare(self, step: int, report: Report) -> None:
        """Draw the first windows, and what is judged on."""
        data = self.recipe.data
        # The first alone: what it compiles, all others find.
        self.draw()
        first, count = self.drawn, data.windows - len(self.windows)
        for window in drawn(self.window, range(first, first + count), self.workers):
            self._keep(window)
            if len(self.windows) % 40 == 0:
                report(f"drew {len(self.windows)} of {data.windows} windows", 0.0)
        self.checks = draw_checks(
            self.held_out,
            self.bodies[:1],
            data.mix,
            data.validation_windows,
            self.recipe.seed,
            data.validation_kinds,
        )

    def draw(self) -> None:
        """One more window; beyond the number kept the oldest goes."""
        self._keep(self.window(self.drawn))

    def _keep(self, window: tuple[SampleWindow, Recurrence]) -> None:
        self.windows.append(window)
        self.drawn += 1
        del self.windows[: -self.recipe.data.windows]

    def batch(self, step: int) -> tuple[WindowBatch, Recurrence]:
        """Some of the windows at hand that agree in views and keypoints."""
        rng = np.random.default_rng([self.recipe.seed, 2, step])

        def kind(window: SampleWindow) -> tuple[int, tuple[str, ...]]:
            return window.views, window.landmark_names

        first, _ = self.windows[int(rng.integers(len(self.windows)))]
        alike = [entry for entry in self.windows if kind(entry[0]) == kind(first)]
        # Costs grow with views times landmarks.
        size = first.evidence.confidence[0].numel()
        count = max(2, round(self.recipe.batch_windows * min(1.0, 110.0 / size) ** 0.5))
        chosen = [alike[index] for index in rng.integers(0, len(alike), count)]
        batch = window_batch([window for window, _ in chosen], self.bodies)
        recurrence = Recurrence.concatenate([recurrence for _, recurrence in chosen])
        return batch.to(self.device), recurrence.to(self.device)

    def advance(self, step: int, share: float) -> tuple[float, dict[str, float]]:
        """One step of the optimizer at ``share`` of the run; its loss, and the last prediction's in metres."""
        if step % self.recipe.data.steps_per_window == 0:
            self.draw()
        (batch, recurrence), recipe = self.batch(step), self.recipe
        unrolled = unroll_sequence(
            Networks(self.distant_frame_network, self.adam.network),
            batch.scene,
            batch.evidence,
            batch.start,
            batch.time,
            Known(recurrence),
        )
        losses = sequence_losses(
            batch.scene,
            unrolled.predictions,
            batch.truth,
            batch.time,
            recipe,
            batch.views == 1,
        )
        final = losses[-1].detach()
        weight = torch.tensor(
            [
                self.usual.weight(f"{batch.views} {noise}", value)
                for noise, value in zip(batch.noise, final.tolist(), strict=True)
            ],
            device=self.device,
        )
        loss = (discounted(losses, recipe.loss) * weight).mean()
        self.adam.advance(loss, step, share)
        return float(loss.detach()), {"total": float(final.mean())}

    def judge(self) -> Verdict:
        return Verdict.of(validate_sequences(self.frame_network, self.adam.shipped, self.checks, self.bodies))

    def finish(self) -> dict[str, object]:
        """The calibration of the uncertainty."""
        correction = calibrate_sequences(self.frame_network, self.adam.shipped, self.checks, self.bodies)
        return {"sigma_correction": correction.coefficients.tolist()}

    def write(self, path: Path, facts: dict[str, object]) -> None:
        save_sequence_network(path, self.adam.average, {**facts, "seed": self.recipe.seed})

    def state(self) -> dict[str, object]:
        return {"scale": self.usual.by_kind, "drawn": self.drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """The windows at hand are drawn again."""
        self.usual.by_kind = dict(state["scale"])
        self.drawn = max(0, int(state["drawn"]) - self.recipe.data.windows)


def train_sequences(
    recipe: SequenceRecipe,
    motion_folders: Sequence[Path],
    out_dir: Path,
    resume: bool = False,
    report: Report = quiet,
    device: str = "auto",
    workers: int = 1,
) -> Path:
    """Train the time network on the motions of the folders; returns the weights' file inside ``out_dir``. ``workers``
    processes draw the first windows.

    Raises:
        InputError: unusable motions, an ``out_dir`` that holds another run, nothing to resume, frame weights of another
        design.
    """
    claim(out_dir, resume)
    data = recipe.data
    training, held_out = read_people(motion_folders, data.validation_subjects, data.excluded_subjects)
    frames, chosen = data.mix.frames, str(join_processes(device).device)
    trainer = SequenceTrainer(recipe, Takes.of(training, frames), Takes.of(held_out, frames), chosen, workers)
    run = Run(trainer, recipe.schedule, out_dir, report)
    if resume:
        run.resume()
    return run.complete()
