"""Plots as inline SVG: lines over categories, and points over time. Nothing but numbers and names goes in; every name
is escaped.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 12.0, 44.0
# Okabe and Ito's colours: told apart by colour-blind people, on light and dark ground.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6fd1", "#7f7f7f")


@dataclass(frozen=True)
class Series:
    """A named line: points (x, y), y in the plot's unit. A dashed line is a limit rather than a measurement."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def decades(values: Sequence[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis: a little beyond the values, never narrower than a factor of two."""
    low, high = min(values) / 1.15, max(values) * 1.15
    middle = math.sqrt(low * high)
    return min(low, middle / math.sqrt(2)), max(high, middle * math.sqrt(2))


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside the limits, refined until there are at least three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(found) >= 3:
            break
    return found


def from_zero(values: Sequence[float]) -> tuple[float, float]:
    """Limits of a linear axis: zero, and the next number above the values that people can halve."""
    power = 10.0 ** math.floor(math.log10(max(values)))
    return 0.0, next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= max(values))


def _number(value: float) -> str:
    return f"{value:.4g}"


@dataclass(frozen=True)
class Axes:
    """``x`` is logarithmic, ``y`` as well unless it starts at zero; ``x_ticks`` are (place, lettering)."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_ticks: tuple[tuple[float, str], ...]
    x_title: str
    y_title: str

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the drawing."""
        across = (math.log(x) - math.log(self.x[0])) / (math.log(self.x[1]) - math.log(self.x[0]))
        low, high = self.y
        up = y / high if low == 0 else (math.log(y) - math.log(low)) / (math.log(high) - math.log(low))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def frame(self) -> str:
        """Grid and lettering."""
        parts = []
        for tick in _ticks(*self.y) if self.y[0] > 0 else (0.0, self.y[1] / 2, self.y[1]):
            _, y = self.place(self.x[0], tick)
            parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
        for tick, label in self.x_ticks:
            x, _ = self.place(tick, self.y[0])
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18:g}" text-anchor="middle">{html.escape(label)}</text>'
            )
        parts.append(
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6:g}" '
            f'text-anchor="middle">{html.escape(self.x_title)}</text>'
        )
        parts.append(
            f'<text transform="translate(12 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)" '
            f'text-anchor="middle">{html.escape(self.y_title)}</text>'
        )
        return "".join(parts)


def time_ticks(limits: tuple[float, float]) -> tuple[tuple[float, str], ...]:
    """Ticks of a logarithmic axis with their lettering."""
    return tuple((tick, _number(tick)) for tick in _ticks(*limits))


def plot(title: str, axes: Axes, series: Sequence[Series], joined: bool) -> str:
    """One figure; points of a series are ``joined`` by a line or stand alone."""
    parts = []
    for line in series:
        places = [axes.place(x, y) for x, y in line.points]
        if joined and len(places) > 1:
            dash = ' stroke-dasharray="5 4"' if line.dashed else ""
            path = " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            parts.append(f'<path class="line" stroke="{line.colour}"{dash} d="M{path}"/>')
        for (x, y), (across, up) in zip(places, line.points, strict=True):
            said = html.escape(f"{line.name}: {up:.2f} at {across:g}")
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{line.colour}"><title>{said}</title></circle>')
    escaped = html.escape(title)
    return (
        f'<figure><figcaption>{escaped}</figcaption><svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escaped}">'
        f"{axes.frame()}{''.join(parts)}</svg></figure>"
    )
