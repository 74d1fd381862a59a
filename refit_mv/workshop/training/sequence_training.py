"""Training the time network: windows that never were, on top of a trained network for single frames, which stays as it
is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.networks.scene import Scene
from refit_mv.networks.time_network import SequenceNetwork, SequenceOptions
from refit_mv.networks.time_unroll import Known, Networks, Timeline, unroll_sequence
from refit_mv.networks.time_weights import load_sequence_network, save_sequence_network
from refit_mv.networks.unroll import Recurrence
from refit_mv.networks.weights_file import SHIPPED_WEIGHTS, load_network, load_state, save_state
from refit_mv.solve.terms.motion import REFERENCE_STEP
from refit_mv.workshop.builders.prior_builder import HELD_OUT_SUBJECTS
from refit_mv.workshop.synthetic.impacts import IMPACT_INDEX, impact_peaks
from refit_mv.workshop.training.averaged_adam import AveragedAdam, OptimiserOptions
from refit_mv.workshop.training.body_variants import body_variant
from refit_mv.workshop.training.loss_picture import write_loss_picture
from refit_mv.workshop.training.losses import LossOptions, discounted, joint_losses, scene_joints, smooth_length
from refit_mv.workshop.training.sequence_batch import WindowBatch, recurrence_of, window_batch
from refit_mv.workshop.training.sequence_samples import SampleWindow, Takes, WindowMix, draw_window
from refit_mv.workshop.training.sequence_validation import calibrate_sequences, draw_checks, validate_sequences
from refit_mv.workshop.training.training import LOG, PICTURE, read_people
from refit_mv.workshop.training.training_loop import STATE, Report, begin_run, quiet, run_steps

WEIGHTS = "sequences.safetensors"


@dataclass(frozen=True)
class SequenceDataOptions:
    """``windows`` are drawn before training begins, one more every ``steps_per_window`` steps. The rest as in
    ``training.DataOptions``.
    """

    windows: int = 320
    steps_per_window: int = 4
    variants: int = 16
    variant_spread: float = 0.07
    validation_subjects: tuple[str, ...] = ("10",)
    excluded_subjects: tuple[str, ...] = HELD_OUT_SUBJECTS
    validation_windows: int = 24
    mix: WindowMix = field(default_factory=WindowMix)


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
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    data: SequenceDataOptions = field(default_factory=SequenceDataOptions)


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
        joint = torch.tensor(IMPACT_INDEX)[place]
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


class SequenceTrainer:
    """The mutable part of a run."""

    def __init__(self, recipe: SequenceRecipe, takes: Takes) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.takes = recipe, takes
        self.frame_network, _ = load_network(Path(recipe.frame_weights) if recipe.frame_weights else SHIPPED_WEIGHTS)
        network = SequenceNetwork(recipe.network, self.frame_network.options)
        if recipe.begin_with:
            network.load_state_dict(load_sequence_network(Path(recipe.begin_with))[0].state_dict())
        self.adam = AveragedAdam(network, recipe.optimiser)
        rng = np.random.default_rng([recipe.seed, 0])
        first, spread = open_body(), recipe.data.variant_spread
        self.bodies = [first, *(body_variant(first, spread, rng) for _ in range(recipe.data.variants))]
        # Windows at hand, each with its recurrent iterations: the network for single frames never changes.
        self.windows: list[tuple[SampleWindow, Recurrence]] = []
        self.drawn = 0
        self.step = 0
        self.seconds = 0.0
        self.scale: dict[str, float] = {}
        self.history: list[tuple[int, float]] = []
        self.validations: list[dict[str, object]] = []

    def draw(self) -> None:
        """One more window; beyond the number kept the oldest goes."""
        rng = np.random.default_rng([self.recipe.seed, 1, self.drawn])
        window = draw_window(self.takes, self.bodies, self.recipe.data.mix, rng)
        self.windows.append((window, recurrence_of(self.frame_network, window_batch([window], self.bodies))))
        self.drawn += 1
        del self.windows[: -self.recipe.data.windows]

    def batch(self) -> tuple[WindowBatch, Recurrence]:
        """Some of the windows at hand that agree in views and keypoints."""
        rng = np.random.default_rng([self.recipe.seed, 2, self.step])

        def kind(window: SampleWindow) -> tuple[int, tuple[str, ...]]:
            return window.views, window.landmark_names

        first, _ = self.windows[int(rng.integers(len(self.windows)))]
        alike = [entry for entry in self.windows if kind(entry[0]) == kind(first)]
        # Costs grow with views times landmarks.
        size = first.evidence.confidence[0].numel()
        count = max(2, round(self.recipe.batch_windows * min(1.0, 110.0 / size) ** 0.5))
        chosen = [alike[index] for index in rng.integers(0, len(alike), count)]
        batch = window_batch([window for window, _ in chosen], self.bodies)
        return batch, Recurrence.concatenate([recurrence for _, recurrence in chosen])

    def advance(self, share: float) -> float:
        """One step of the optimiser at ``share`` of the run. Returns the loss."""
        if self.step % self.recipe.data.steps_per_window == 0:
            self.draw()
        (batch, recurrence), recipe = self.batch(), self.recipe
        unrolled = unroll_sequence(
            Networks(self.frame_network, self.adam.network),
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
        weight = torch.stack(
            [self._relative(f"{batch.views} {noise}", value) for noise, value in zip(batch.noise, final, strict=True)]
        )
        loss = (discounted(losses, recipe.loss) * weight).mean()
        self.adam.advance(loss, self.step, share)
        self.step += 1
        self.history.append((self.step, float(final.mean())))
        return float(loss.detach())

    def _relative(self, kind: str, loss: Tensor) -> Tensor:
        """One over the running mean loss of this kind of window."""
        usual = self.scale.get(kind, float(loss))
        self.scale[kind] = 0.97 * usual + 0.03 * min(float(loss), 3 * usual)
        return torch.tensor(1 / self.scale[kind])

    def save(self, out_dir: Path, extra: dict[str, object]) -> None:
        """Checkpoint: averaged weights, full state, log and its picture."""
        facts = {
            "steps": self.step,
            "minutes": self.seconds / 60,
            "seed": self.recipe.seed,
            "validation": self.validations[-1:],
            **extra,
        }
        save_sequence_network(out_dir / WEIGHTS, self.adam.average, facts)
        plain: dict[str, object] = {
            "step": self.step, "seconds": self.seconds, "scale": self.scale, "history": self.history,
            "validations": self.validations, "recipe": asdict(self.recipe), "drawn": self.drawn,
        }  # fmt: skip
        save_state(out_dir / STATE, self.adam.tensors(), plain)
        (out_dir / LOG).write_text(json.dumps(plain), encoding="utf-8")
        write_loss_picture(out_dir / PICTURE, self.history, self.validations)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint; the windows at hand are drawn again."""
        tensors, plain = load_state(path)
        self.adam.restore(tensors, str(path))
        self.step, self.seconds = int(plain["step"]), float(plain["seconds"])
        self.scale = dict(plain["scale"])
        self.history = [(int(step), float(value)) for step, value in plain["history"]]
        self.validations = list(plain["validations"])
        self.drawn = max(0, int(plain["drawn"]) - self.recipe.data.windows)


def train_sequences(
    recipe: SequenceRecipe, motion_folders: Sequence[Path], out_dir: Path, resume: bool = False, report: Report = quiet
) -> Path:
    """Train the time network on the motions of the folders; returns the weights' file inside ``out_dir``.

    Raises:
        InputError: unusable motions, an ``out_dir`` that holds another run, nothing to resume, frame weights of another
        design.
    """
    begin_run(out_dir, resume)
    data = recipe.data
    training, held_out = read_people(motion_folders, data.validation_subjects, data.excluded_subjects)
    trainer = SequenceTrainer(recipe, Takes.of(training, data.mix.frames))
    if resume:
        trainer.resume(out_dir / STATE)
    while len(trainer.windows) < data.windows:
        trainer.draw()
        if len(trainer.windows) % 40 == 0:
            report(f"drew {len(trainer.windows)} of {data.windows} windows", 0.0)
    checks = draw_checks(
        Takes.of(held_out, data.mix.frames), trainer.bodies[:1], data.mix, data.validation_windows, recipe.seed
    )
    run_steps(
        trainer,
        recipe,
        lambda: validate_sequences(trainer.frame_network, trainer.adam.average, checks, trainer.bodies),
        lambda: trainer.save(out_dir, {}),
        report,
    )
    correction = calibrate_sequences(trainer.frame_network, trainer.adam.average, checks, trainer.bodies)
    trainer.save(out_dir, {"sigma_correction": correction.coefficients.tolist()})
    return out_dir / WEIGHTS
