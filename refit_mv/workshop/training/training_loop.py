"""The run around a trainer: steps until the time or their number is up, validation and checkpoints on the way."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from refit_mv.errors import InputError

# What a run leaves to go on from.
STATE = "state.safetensors"
# Called with a line worth showing and the finished share of the run.
Report = Callable[[str, float], None]
REPORT_STEPS = 20


def quiet(_line: str, _share: float) -> None:
    """A report that says nothing."""


@runtime_checkable
class Schedule(Protocol):
    """How long a run lasts (``steps``, or where these are 0 ``minutes``) and how often it is judged and saved."""

    @property
    def steps(self) -> int: ...

    @property
    def minutes(self) -> float: ...

    @property
    def validation_minutes(self) -> float: ...

    @property
    def checkpoint_minutes(self) -> float: ...


@runtime_checkable
class Trainer(Protocol):
    """The mutable part of a run."""

    step: int
    seconds: float
    validations: list[dict[str, object]]

    def advance(self, share: float) -> float:
        """One step at a share of the run; the loss."""
        ...


def begin_run(out_dir: Path, resume: bool) -> None:
    """Make a run's folder.

    Raises:
        InputError: it holds another run, which is not to be resumed.
    """
    if not resume and (out_dir / STATE).exists():
        raise InputError(f"{out_dir}: already holds a training run; continue it with --resume or choose another folder")
    out_dir.mkdir(parents=True, exist_ok=True)


def run_steps(
    trainer: Trainer,
    schedule: Schedule,
    judge: Callable[[], dict[str, float]],
    save: Callable[[], None],
    report: Report,
) -> None:
    """Advance until the schedule's end. ``judge`` gives validation errors (mm, by kind of evidence), kept with the
    step; ``save`` writes a checkpoint.
    """
    budget, began = 60 * schedule.minutes, time.monotonic() - trainer.seconds
    saved = judged = time.monotonic()

    def validate(share: float) -> None:
        errors = judge()
        trainer.validations.append({"step": trainer.step, "errors_mm": errors})
        report("validation, mm: " + ", ".join(f"{name} {value:.1f}" for name, value in errors.items()), share)

    while True:
        trainer.seconds = time.monotonic() - began
        share = trainer.step / schedule.steps if schedule.steps else trainer.seconds / budget
        if share >= 1:
            break
        loss = trainer.advance(share)
        if trainer.step % REPORT_STEPS == 0:
            pace = trainer.step / max(trainer.seconds, 1e-9)
            report(f"step {trainer.step}: loss {loss:.4f}, {pace:.2f} steps a second", share)
        if time.monotonic() - judged > 60 * schedule.validation_minutes:
            validate(share)
            judged = time.monotonic()
        if time.monotonic() - saved > 60 * schedule.checkpoint_minutes:
            save()
            saved = time.monotonic()
    validate(1.0)
