"""What a training run leaves to look at: a JSON log, a picture, and TensorBoard's files where TensorBoard is
installed.
"""

import importlib.util
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from refit_mv.files import complete_or_absent

LOG, PICTURE, BOARD = "log.json", "loss.png", "tensorboard"
# Losses are logged as means over so many steps.
LOG_STEPS = 10
# Points that a curve is thinned to.
FINEST = 2000


@dataclass
class RunLog:
    """Loss terms by step (each the mean since the last entry) and evaluations by step, in millimetres where their names
    say nothing else. ``board``: whether TensorBoard is told.
    """

    folder: Path
    board: bool = True
    losses: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    _recent: list[dict[str, float]] = field(default_factory=list)
    _board: Any = None

    def __post_init__(self) -> None:
        if self.board and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / BOARD))

    def add_losses(self, step: int, terms: dict[str, float]) -> None:
        """The terms of one step; those that a step lacks count as nothing, those that are no numbers are left out."""
        self._recent.append(terms)
        if len(self._recent) < LOG_STEPS:
            return
        names = dict.fromkeys(name for row in self._recent for name in row)
        means = {name: _mean([row.get(name, 0.0) for row in self._recent]) for name in names}
        self._recent.clear()
        self.losses.append({"step": float(step), **means})
        self._tell("loss", step, means)

    def add_evaluation(self, step: int, errors: dict[str, float]) -> None:
        self.evaluations.append({"step": float(step), **errors})
        self._tell("evaluation", step, errors)

    def _tell(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def write(self, facts: dict[str, object]) -> None:
        """Both files, each replaced whole."""
        content = {**facts, "losses": self.losses, "evaluations": self.evaluations}
        with complete_or_absent(self.folder / LOG) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")
        with complete_or_absent(self.folder / PICTURE) as temporary:
            _draw(temporary, self.losses, self.evaluations)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _curves(rows: list[dict[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows[:: max(1, len(rows) // FINEST)]:
        for name, value in row.items():
            if name != "step":
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return curves


def _draw(path: Path, losses: list[dict[str, float]], evaluations: list[dict[str, float]]) -> None:
    """A PNG: the last prediction's loss terms, smoothed, above; evaluations below."""
    # Imported here: matplotlib takes half a second, and only training draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for name, (steps, values) in _curves(losses).items():
        window = max(1, len(values) // 50)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        upper.plot(steps[window - 1 :], smooth, label=name, linewidth=1.2)
    for name, (steps, values) in _curves(evaluations).items():
        lower.plot(steps, values, marker="o", markersize=3, label=name)
    for axes, label in ((upper, "loss of the last prediction"), (lower, "evaluation (mm)")):
        axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.grid(alpha=0.25, which="both")
        if axes.lines:
            axes.legend(fontsize=8, ncols=3)
    lower.set_xlabel("step")
    FigureCanvasAgg(figure).print_png(str(path))
