"""The run around a trainer: steps until the time or their number is up; validation, checkpoints, log and reports on the
way. Every training is this loop; trainers say what is learned, from what, and how it is judged.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from refit_mv.errors import InputError
from refit_mv.files import made_folder
from refit_mv.networks.weights_file import load_state, save_state
from refit_mv.progress import Report, quiet
from refit_mv.workshop.training.averaged_adam import AveragedAdam
from refit_mv.workshop.training.processes import ALONE, Processes
from refit_mv.workshop.training.run_log import RunLog

# What a run leaves to go on from.
STATE = "state.safetensors"
REPORT_STEPS = 20


@dataclass(frozen=True)
class Schedule:
    """How long a run lasts (``steps``, or where these are 0 ``minutes``), how often it is saved, and how often it is
    judged besides at its end (by minutes or by steps; 0: not by these).
    """

    steps: int
    minutes: float
    checkpoint_minutes: float
    validation_minutes: float = 0.0
    validation_steps: int = 0

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is over."""
        return step / self.steps if self.steps else seconds / (60 * self.minutes)

    def judged(self, step: int, seconds: float) -> bool:
        """Whether it is time to judge, so many ``seconds`` after the last time."""
        by_step = self.validation_steps > 0 and step % self.validation_steps == 0
        return by_step or (self.validation_minutes > 0 and seconds > 60 * self.validation_minutes)


@dataclass(frozen=True)
class Verdict:
    """What a validation found: figures by name, and the lines that tell them."""

    errors: dict[str, float]
    lines: tuple[str, ...]

    @staticmethod
    def of(errors: dict[str, float]) -> "Verdict":
        """All figures on one line."""
        told = ", ".join(f"{name} {value:.1f}" for name, value in errors.items())
        return Verdict(errors, (f"validation, mm: {told}",))


@runtime_checkable
class Trainer(Protocol):
    """What differs between trainings. ``weights`` is the name of the file that a run is about, ``recipe`` a dataclass
    of plain values.
    """

    weights: str
    recipe: Any
    adam: AveragedAdam[Any]

    def prepare(self, step: int, report: Report) -> None:
        """Draw what ``step`` and all after it are made of."""
        ...

    def advance(self, step: int, share: float) -> tuple[float, dict[str, float]]:
        """One step at a share of the run; the loss that was descended, and the terms to log."""
        ...

    def judge(self) -> Verdict:
        """Validate the averaged weights."""
        ...

    def finish(self) -> dict[str, object]:
        """What is measured once, on the finished weights, and belongs into their file."""
        ...

    def write(self, path: Path, facts: dict[str, object]) -> None:
        """The averaged weights, with facts."""
        ...

    def state(self) -> dict[str, object]:
        """Plain values without which the run cannot go on, besides ``adam``'s tensors."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        ...


def claim(folder: Path, resume: bool) -> None:
    """Make a run's folder.

    Raises:
        InputError: it holds another run, which is not to be resumed.
    """
    made_folder(folder)
    if not resume and (folder / STATE).exists():
        raise InputError(f"{folder}: already holds a training run; continue it with --resume or choose another folder")


class Run:
    """A trainer's run in a folder. Of several processes the leading one judges, writes and talks."""

    def __init__(
        self,
        trainer: Trainer,
        schedule: Schedule,
        folder: Path,
        report: Report = quiet,
        processes: Processes = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer, self.schedule, self.folder = trainer, schedule, folder
        self.report = report if processes.leads else quiet
        self.processes, self.clock = processes, clock
        self.step, self.seconds = 0, 0.0
        self.log = RunLog(folder, board=processes.leads)

    def resume(self) -> None:
        """Continue from the folder's last checkpoint.

        Raises:
            InputError: there is none, or it is of another network.
        """
        path = self.folder / STATE
        tensors, plain = load_state(path)
        self.trainer.adam.restore(tensors, str(path))
        self.trainer.restore(plain)
        self.step, self.seconds = int(plain["step"]), float(plain["seconds"])
        self.log.losses, self.log.evaluations = _logged(plain)

    def complete(self) -> Path:
        """Advance to the schedule's end; the file of the weights."""
        self.trainer.prepare(self.step, self.report)
        began = self.clock() - self.seconds
        saved = judged = self.clock()
        while True:
            share = self.processes.agreed(self.schedule.share(self.step, self.clock() - began))
            if share >= 1:
                break
            loss, terms = self.trainer.advance(self.step, share)
            self.step += 1
            self.seconds = self.clock() - began
            self.log.add_losses(self.step, terms)
            if self.step % REPORT_STEPS == 0:
                pace = self.step / max(self.seconds, 1e-9)
                self.report(f"step {self.step}: loss {loss:.4f}, {pace:.2f} steps a second", share)
            if self.schedule.judged(self.step, self.clock() - judged):
                self._judge(share)
                judged = self.clock()
            if self.clock() - saved > 60 * self.schedule.checkpoint_minutes:
                self._save({})
                saved = self.clock()
        self._judge(1.0)
        if self.processes.leads:
            self._save(self.trainer.finish())
        self.processes.wait()
        return self.folder / self.trainer.weights

    def _judge(self, share: float) -> None:
        if not self.processes.leads:
            return
        verdict = self.trainer.judge()
        for line in verdict.lines:
            self.report(line, share)
        if verdict.errors:
            self.log.add_evaluation(self.step, verdict.errors)

    def _save(self, found: dict[str, object]) -> None:
        """Checkpoint: the averaged weights, the full state, the log and its picture."""
        if not self.processes.leads:
            return
        facts: dict[str, object] = {"steps": self.step, "minutes": self.seconds / 60}
        if self.log.evaluations:
            step, *errors = self.log.evaluations[-1].items()
            facts["validation"] = {"step": int(step[1]), "errors_mm": dict(errors)}
        self.trainer.write(self.folder / self.trainer.weights, {**facts, **found})
        plain = {"step": self.step, "seconds": self.seconds, **self.trainer.state()}
        logged = {"losses": self.log.losses, "evaluations": self.log.evaluations}
        save_state(self.folder / STATE, self.trainer.adam.tensors(), {**plain, **logged})
        self.log.write({**facts, "recipe": asdict(self.trainer.recipe)})


def _logged(plain: dict[str, Any]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Losses and evaluations of a state; earlier versions kept them as pairs and as nested dictionaries."""
    if "losses" in plain:
        return list(plain["losses"]), list(plain["evaluations"])
    losses = [{"step": float(step), "total": float(value)} for step, value in plain["history"]]
    return losses, [{"step": float(row["step"]), **row["errors_mm"]} for row in plain["validations"]]
