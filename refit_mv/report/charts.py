"""Charts as inline SVG inside HTML: lines over frames, the strip of statuses, and the cameras seen from above.

Plots stretch with the page (``preserveAspectRatio="none"``); all lettering is HTML, so that it stays readable on a
phone.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.report.quality import QualityReport
from refit_mv.status import BEST_FIRST, FrameStatus

# At most this many points per line: one per two pixels of a wide page.
MOST_BINS = 480
WIDTH, HEIGHT = 1000.0, 200.0
# A strip column shows the worst that happened in it.
WORST_FIRST = (
    FrameStatus.FAILED,
    FrameStatus.UNCERTAIN,
    FrameStatus.ABSENT,
    FrameStatus.BRIDGED,
    FrameStatus.CLASSIC,
    FrameStatus.FITTED,
)


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart; ``colour`` is a CSS value. ``band`` is the upper edge of a shaded band that starts at the
    line.
    """

    name: str
    values: Float[np.ndarray, " bin"]
    colour: str
    band: Float[np.ndarray, " bin"] | None = None
    band_name: str = ""


def nice_ceiling(value: float) -> float:
    """The next of 1, 1.5, 2, 3, 4, 5, 6, 8 × a power of ten: axes that end on a number people can halve."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9)))


def _stretches(values: Float[np.ndarray, " bin"]) -> list[Int[np.ndarray, " index"]]:
    """Runs of finite values."""
    index = np.flatnonzero(np.isfinite(values))
    return [] if not len(index) else np.split(index, np.flatnonzero(np.diff(index) > 1) + 1)


def _points(
    run: Int[np.ndarray, " index"], values: Float[np.ndarray, " bin"], centers: Float[np.ndarray, " bin"], top: float
) -> list[str]:
    """Coordinates in the drawing of one run of bins."""
    heights = HEIGHT * (1 - (values[run] / top).clip(0, 1))
    return [f"{x:.1f} {y:.1f}" for x, y in zip(centers[run].tolist(), heights.tolist(), strict=True)]


def _paths(line: Line, top: float, centers: Float[np.ndarray, " bin"]) -> str:
    parts = []
    if line.band is not None:
        for run in _stretches(line.values + line.band):
            outline = _points(run, line.band, centers, top) + _points(run[::-1], line.values, centers, top)
            parts.append(f'<path class="band" fill="{line.colour}" d="M{" L".join(outline)}Z"/>')
    for run in _stretches(line.values):
        points = _points(run, line.values, centers, top)
        # A lone frame between gaps would be invisible as a path of one point: it becomes a short dash.
        tail = " h1.5" if len(points) == 1 else ""
        parts.append(f'<path class="line" stroke="{line.colour}" d="M{" L".join(points)}{tail}"/>')
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def line_chart(
    identifier: str,
    title: str,
    unit: str,
    lines: Sequence[Line],
    edges: Int[np.ndarray, " edge"],
    frame_numbers: Int[np.ndarray, " frame"],
    top: float | None = None,
    subtitle: str = "",
) -> tuple[str, dict[str, object]]:
    """A chart over the frames, and what the page's script needs to show values under the pointer. ``title`` and names
    are plain text.
    """
    stacked = [values for line in lines for values in (line.values, line.band) if values is not None]
    finite = np.concatenate(stacked)[np.isfinite(np.concatenate(stacked))]
    ceiling = top or nice_ceiling(float(finite.max()) if len(finite) else 0.0)
    centers = WIDTH * (edges[:-1] + edges[1:]) / 2 / edges[-1]
    escaped = html.escape(title)
    said = f"{title}, {unit}, over frames {frame_numbers[0]} to {frame_numbers[-1]}. " + " ".join(
        f"{line.name}: median {_number(float(np.nanmedian(line.values)))}."
        for line in lines
        if np.isfinite(line.values).any()
    )
    grid = "".join(f'<line class="grid" x1="0" x2="{WIDTH:g}" y1="{y:g}" y2="{y:g}"/>' for y in (0, HEIGHT / 2, HEIGHT))
    keys = "".join(
        f'<span class="key"><i style="background:{line.colour}"></i>{html.escape(line.name)}</span>'
        + (
            '<span class="key"><i class="soft" '
            f'style="background:{line.colour}"></i>{html.escape(line.band_name)}</span>'
            if line.band is not None
            else ""
        )
        for line in lines
    )
    markup = (
        f'<figure class="chart" id="{identifier}"><figcaption><b>{escaped}</b> <span '
        f'class="unit">{html.escape(unit)}</span>'
        f'<span class="sub">{html.escape(subtitle)}</span><span class="keys">{keys}</span></figcaption>'
        f'<div class="plot" tabindex="0" role="img" aria-label="{html.escape(said)}" data-chart="{identifier}">'
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">{grid}'
        f"{''.join(_paths(line, ceiling, centers) for line in lines)}</svg>"
        f'<span class="y y1">{_number(ceiling)}</span><span class="y y2">{_number(ceiling / 2)}</span>'
        f'<div class="cursor"></div><div class="tip" role="status"></div></div>'
        "<div "
        f'class="x"><span>{frame_numbers[0]}</span><span>frame</span><span>{frame_numbers[-1]}</span></div></figure>'
    )
    series = []
    for line in lines:
        series.append({"name": line.name, "values": _rounded(line.values)})
        if line.band is not None:
            series.append({"name": line.band_name, "values": _rounded(line.band)})
    return markup, {"id": identifier, "unit": unit, "series": series}


def _rounded(values: Float[np.ndarray, " bin"]) -> list[float | None]:
    return [float(f"{value:.3g}") if np.isfinite(value) else None for value in values]


def script_json(data: object) -> str:
    """JSON that can stand inside a script element whatever names it holds."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def status_strip(report: QualityReport, columns: int = 1000) -> str:
    """The recording as a strip; every column shows the worst status of its frames."""
    states = np.array(report.status)
    count = len(states)
    edges = np.linspace(0, count, min(count, columns) + 1).round().astype(int)
    worst = [next(state for state in WORST_FIRST if state in states[start:stop]) for start, stop in pairwise(edges)]
    rectangles, begin = [], 0
    for column in range(1, len(worst) + 1):
        if column == len(worst) or worst[column] != worst[begin]:
            x, width = WIDTH * edges[begin] / count, WIDTH * (edges[column] - edges[begin]) / count
            numbers = f"{report.frame_numbers[edges[begin]]}–{report.frame_numbers[edges[column] - 1]}"
            rectangles.append(
                f'<rect class="s-{worst[begin]}" x="{x:.2f}" y="0" width="{width:.2f}" '
                f'height="20"><title>{worst[begin]}: frames {numbers}</title></rect>'
            )
            begin = column
    counts = {state: int((states == state).sum()) for state in BEST_FIRST}
    said = "Status over time: " + ", ".join(f"{number} frames {state}" for state, number in counts.items())
    keys = "".join(
        f'<span class="key"><i class="s-{state}"></i>{state} {number:,}</span>'
        for state, number in counts.items()
        if number
    )
    return (
        f'<figure class="strip"><figcaption><b>Status</b><span class="keys">{keys}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH:g} 20" preserveAspectRatio="none" role="img" '
        f'aria-label="{said}">{"".join(rectangles)}</svg></figure>'
    )


def plan(report: QualityReport, flagged: Bool[np.ndarray, " view"]) -> str:
    """Cameras and the person's path seen from above, to scale; empty when it is not known where above is."""
    cameras = [report.rig[name] for name in report.view_names]
    centers = np.stack([camera.center.numpy() for camera in cameras]).astype(np.float64)
    forward = np.stack([camera.cam_from_world.rotation[2].numpy() for camera in cameras]).astype(np.float64)
    if report.up is None:
        return ""
    up = np.asarray(report.up, dtype=np.float64) / np.linalg.norm(report.up)
    # Any two directions across `up` do; the least aligned world axis keeps the plan as close to the world's own as
    # possible.
    right = np.eye(3)[np.abs(up).argmin()] - up * up[np.abs(up).argmin()]
    right /= np.linalg.norm(right)
    ahead = np.cross(up, right)
    across = np.stack([right, ahead], axis=1)
    path = np.zeros((0, 3)) if report.joints_m is None or not report.joint_names else report.joints_m[report.posed, 0]
    path = path[np.isfinite(path).all(1)]
    path = path[:: max(len(path) // 400, 1)] @ across
    at, toward = centers @ across, forward @ across
    everything = np.concatenate([at, path])
    low, high = everything.min(0), everything.max(0)
    span = max(float((high - low).max()), 1.0)
    middle, side, pad = (low + high) / 2, 420.0, 56.0
    scale = (side - 2 * pad) / span

    def place(points: np.ndarray) -> np.ndarray:
        return side / 2 + (points - middle) * scale * [1, -1]

    parts = []
    if len(path) > 1:
        parts.append(f'<polyline class="track" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in place(path))}"/>')
    if len(path):
        x, y = place(path[-1:])[0]
        parts.append(f'<circle class="person" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
    for camera, center, direction, bad in zip(cameras, place(at), toward * [1, -1], flagged, strict=True):
        length = float(np.linalg.norm(direction))
        unit = direction / length if length > 1e-6 else np.array([0.0, 1.0])
        normal = np.array([-unit[1], unit[0]])
        wide = camera.size[0] / 2 / camera.matrix[0, 0] if camera.size else 0.5
        corners = [center, center + 62 * (unit + normal * wide), center + 62 * (unit - normal * wide)]
        style = "cam warn" if bad else "cam"
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        # Lettered behind the camera, above or below it, and kept inside the drawing.
        x = min(max(center[0] - 12 * unit[0], 46), side - 46)
        y = center[1] + (22 if unit[1] < 0 else -12)
        parts.append(
            f'<g class="{style}"><polygon points="{points}"/><circle cx="{center[0]:.1f}" cy="{center[1]:.1f}" r="6"/>'
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{html.escape(camera.name)}</text></g>'
        )
    metre = scale
    ruler = (
        f'<path class="ruler" d="M16 {side - 14:g}h{metre:.1f}"/><text class="small" x="16" '
        f'y="{side - 20:g}">1 m</text>'
    )
    return (
        f'<svg class="plan" viewBox="0 0 {side:g} {side:g}" role="img" aria-label="The cameras and the path of '
        'the person, seen from above">'
        f"{''.join(parts)}{ruler}</svg>"
    )
