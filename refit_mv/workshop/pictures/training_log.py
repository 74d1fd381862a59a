"""What a training run leaves to look at: a JSON log, a picture, and TensorBoard's files where TensorBoard is
installed.
"""

import importlib.util
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LOG, PICTURE, BOARD = "log.json", "loss.png", "tensorboard"
# Points that a curve is thinned to.
FINEST = 2000


@dataclass
class TrainingLog:
    """Loss terms by step (each the mean since the last entry) and evaluations by step, in millimetres."""

    folder: Path
    losses: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)
    _board: Any = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / BOARD))

    def add_losses(self, step: int, terms: dict[str, float]) -> None:
        self.losses.append({"step": float(step), **terms})
        self._tell("loss", step, terms)

    def add_evaluation(self, step: int, errors: dict[str, float]) -> None:
        self.evaluations.append({"step": float(step), **errors})
        self._tell("evaluation", step, errors)

    def _tell(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def write(self, facts: dict[str, object]) -> None:
        """Both files, each replaced whole."""
        part = self.folder / (LOG + ".part")
        content = {**facts, "losses": self.losses, "evaluations": self.evaluations}
        part.write_text(json.dumps(content), encoding="utf-8")
        os.replace(part, self.folder / LOG)
        write_training_picture(self.folder / PICTURE, self.losses, self.evaluations)


def _curves(rows: list[dict[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows[:: max(1, len(rows) // FINEST)]:
        for name, value in row.items():
            if name != "step":
                steps, values = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return curves


def write_training_picture(path: Path, losses: list[dict[str, float]], evaluations: list[dict[str, float]]) -> None:
    """A PNG: the last prediction's loss terms, smoothed, above; evaluation errors below."""
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
    part = path.with_name(path.name + ".part")
    FigureCanvasAgg(figure).print_png(str(part))
    os.replace(part, path)
