"""The picture of a training run: loss over steps, validation errors below."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_loss_picture(
    path: Path, history: Sequence[tuple[int, float]], validations: Sequence[dict[str, object]]
) -> None:
    """A PNG with the running mean of the final prediction's loss (metres, logarithmic) and each validation kind's mean
    joint error (mm).
    """
    # Imported here: matplotlib takes half a second, and only training draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    if history:
        steps, losses = (np.array(column, dtype=np.float64) for column in zip(*history, strict=True))
        window = max(1, len(losses) // 100)
        kernel = np.ones(window) / window
        smooth = np.convolve(np.nan_to_num(losses, nan=float(np.nanmean(losses))), kernel, mode="valid")
        upper.plot(steps, losses, ".", markersize=1, color="#b0b8c4")
        upper.plot(steps[window - 1 :], smooth, color="#1f4e8c")
    upper.set_yscale("log")
    upper.set_ylabel("loss of the last prediction (m)")
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in validations:
        errors = entry.get("errors_mm")
        if isinstance(errors, dict):
            for name, value in errors.items():
                curves.setdefault(str(name), []).append((float(str(entry["step"])), float(value)))
    for name, points in curves.items():
        lower.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
    lower.set_yscale("log")
    lower.set_ylabel("validation: mean joint error (mm)")
    lower.set_xlabel("step")
    if curves:
        lower.legend(fontsize=7, ncols=4)
    part = path.with_name(path.name + ".part")
    FigureCanvasAgg(figure).print_png(str(part))
    os.replace(part, path)
