"""The loop around trainers: lengths, intervals and checkpoints, by counted steps and a clock that the test turns."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from refit_mv.errors import InputError
from refit_mv.networks.weights_file import load_state, save_state
from refit_mv.progress import Report
from refit_mv.workshop.training.averaged_adam import AveragedAdam, OptimizerOptions
from refit_mv.workshop.training.loop import STATE, Run, Schedule, Verdict, claim
from refit_mv.workshop.training.processes import Processes
from refit_mv.workshop.training.run_log import LOG


class StoppedError(Exception):
    """Whatever interrupts a run."""


def stops_at(kind: type, step: int) -> type:
    """A trainer that is interrupted instead of taking that step."""

    class Stopping(kind):
        def advance(self, at: int, share: float) -> tuple[float, dict[str, float]]:
            if at == step:
                raise StoppedError
            return super().advance(at, share)

    return Stopping


@dataclass(frozen=True)
class Recipe:
    seed: int = 7


class Counting:
    """Fits one weight; every step takes ten seconds of the test's clock."""

    weights = "one.safetensors"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.recipe = Recipe()
        self.adam = AveragedAdam(torch.nn.Linear(1, 1), OptimizerOptions())
        self.seconds = 0.0
        self.begun: list[int] = []
        self.shares: list[float] = []
        self.judged_at: list[int] = []
        self.written: list[dict[str, object]] = []
        self.recalled: dict[str, Any] = {}

    def clock(self) -> float:
        return self.seconds

    def prepare(self, step: int, report: Report) -> None:
        self.begun.append(step)

    def advance(self, step: int, share: float) -> tuple[float, dict[str, float]]:
        self.seconds += 10.0
        self.shares.append(share)
        loss = (self.adam.network(torch.tensor([[1.0 + step]])) - 3).square().mean()
        self.adam.advance(loss, step, share)
        return float(loss.detach()), {"total": float(loss.detach())}

    def judge(self) -> Verdict:
        self.judged_at.append(len(self.shares))
        return Verdict.of({"standard 4": 12.34})

    def finish(self) -> dict[str, object]:
        return {"correction": 1}

    def write(self, path: Path, facts: dict[str, object]) -> None:
        self.written.append(facts)
        save_file(dict(self.adam.average.state_dict()), str(path))

    def state(self) -> dict[str, object]:
        return {"drawn": len(self.shares)}

    def restore(self, state: dict[str, Any]) -> None:
        self.recalled = state


def run(trainer: Counting, folder: Path, schedule: Schedule, **rest: Any) -> Run:
    claim(folder, resume=True)
    return Run(trainer, schedule, folder, clock=trainer.clock, **rest)


def test_minutes_end_a_run_where_steps_do_not(tmp_path: Path) -> None:
    made = Counting()
    run(made, tmp_path, Schedule(0, 1.0, 100.0)).complete()
    assert made.shares == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    by_steps = Counting()
    run(by_steps, tmp_path / "steps", Schedule(4, 1.0, 100.0)).complete()
    assert by_steps.shares == pytest.approx([0, 0.25, 0.5, 0.75])


def test_validation_and_checkpoints_come_at_their_intervals_and_at_the_end(tmp_path: Path) -> None:
    lines: list[str] = []
    made = Counting()
    # Every 25 seconds, which steps of ten make three steps.
    schedule = Schedule(8, 0.0, checkpoint_minutes=25 / 60, validation_minutes=25 / 60)
    run(made, tmp_path, schedule, report=lambda line, share: lines.append(line)).complete()
    assert made.judged_at == [3, 6, 8]
    assert lines == ["validation, mm: standard 4 12.3"] * 3
    assert [facts["steps"] for facts in made.written] == [3, 6, 8]
    assert made.written[0] == {
        "steps": 3, "minutes": 0.5, "validation": {"step": 3, "errors_mm": {"standard 4": 12.34}}
    }  # fmt: skip
    assert made.written[-1]["correction"] == 1
    by_steps = Counting()
    run(by_steps, tmp_path / "steps", Schedule(8, 0.0, 100.0, validation_steps=3)).complete()
    assert by_steps.judged_at == [3, 6, 8]
    assert len(by_steps.written) == 1


def test_reports_come_every_twenty_steps_with_the_pace(tmp_path: Path) -> None:
    lines: list[str] = []
    run(Counting(), tmp_path, Schedule(41, 0.0, 100.0), report=lambda line, share: lines.append(line)).complete()
    assert [line.split(":")[0] for line in lines] == ["step 20", "step 40", "validation, mm"]
    assert "0.10 steps a second" in lines[0]


def test_a_run_that_stopped_goes_on_where_its_last_checkpoint_was(tmp_path: Path) -> None:
    schedule = Schedule(8, 0.0, checkpoint_minutes=35 / 60, validation_steps=5)
    whole, stopped, later = Counting(), stops_at(Counting, 6)(), Counting()
    run(whole, tmp_path / "whole", schedule).complete()
    with pytest.raises(StoppedError):
        run(stopped, tmp_path / "parts", schedule).complete()
    assert len(stopped.shares) == 6
    going = run(later, tmp_path / "parts", schedule)
    going.resume()
    assert (going.step, going.seconds) == (4, 40.0)
    assert later.recalled["drawn"] == 4
    going.complete()
    assert later.begun == [4]
    first, second = (load_state(tmp_path / name / STATE)[0] for name in ("whole", "parts"))
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    kept = json.loads((tmp_path / "parts" / LOG).read_text())
    assert [row["step"] for row in kept["evaluations"]] == [5, 8]
    assert kept["recipe"] == {"seed": 7}


def test_states_of_earlier_versions_are_read(tmp_path: Path) -> None:
    made = Counting()
    plain: dict[str, object] = {
        "step": 2, "seconds": 20.0, "scale": {}, "history": [[1, 0.5], [2, 0.25]],
        "validations": [{"step": 2, "errors_mm": {"standard 4": 9.0}}], "recipe": {}, "drawn": 3,
    }  # fmt: skip
    save_state(tmp_path / STATE, made.adam.tensors(), plain)
    going = run(made, tmp_path, Schedule(4, 0.0, 100.0))
    going.resume()
    assert (going.step, going.seconds) == (2, 20.0)
    assert going.log.losses == [{"step": 1.0, "total": 0.5}, {"step": 2.0, "total": 0.25}]
    assert going.log.evaluations == [{"step": 2.0, "standard 4": 9.0}]


def test_only_the_leading_process_judges_writes_and_talks(tmp_path: Path) -> None:
    lines: list[str] = []
    made = Counting()

    @dataclass(frozen=True)
    class Second(Processes):
        def agreed(self, value: float) -> float:
            return value

        def wait(self) -> None:
            pass

    second = Second(1, 2, torch.device("cpu"))
    schedule = Schedule(20, 0.0, 0.0, validation_steps=2)
    run(made, tmp_path, schedule, report=lambda line, share: lines.append(line), processes=second).complete()
    assert len(made.shares) == 20
    assert not (made.judged_at or made.written or lines or list(tmp_path.iterdir()))


def test_a_folder_that_holds_a_run_is_not_taken_twice(tmp_path: Path) -> None:
    run(Counting(), tmp_path, Schedule(1, 0.0, 100.0)).complete()
    with pytest.raises(InputError, match="already holds a training run"):
        claim(tmp_path, resume=False)
