"""The report on a calibration: one page for people, which needs neither network nor another file."""

import html
import math
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float

from refit_mv.files import complete_or_absent
from refit_mv.finding import Level
from refit_mv.geometry.camera import Camera
from refit_mv.report.colours import css, person_colour
from refit_mv.report.document import document, section
from refit_mv.report.verdict import Verdict
from refit_mv.report.verdict_box import verdict_box
from refit_mv.rigs.board_calibration import BoardCalibration, CameraFigures

# Corners and boards that a page shows: more are a smear.
_MOST_LINES, _MOST_BOARDS = 1200, 60
# Residuals are drawn so much longer that the median one is this share of the picture's width.
_SHOWN = 0.012
_DEFINITIONS = (
    (
        "rms",
        "Root mean square of the distances, in pixels, between corners as they were found and as the solved cameras "
        "and boards have them.",
    ),
    (
        "One sigma",
        "How far the solution may be off by the corners' noise alone (68 %). It knows nothing of a board that is not "
        "flat, or of cameras that are out of step. Places are relative to what the table's head says: no picture tells "
        "where the world is.",
    ),
    ("Covered", "Share of the picture in which the board was seen. Elsewhere the lens is guessed."),
    ("Noise", "One standard deviation of a corner's position along x or y, outliers left out."),
)


def write_calibration_page(path: Path, found: BoardCalibration, title: str) -> None:
    """Write the report as one HTML file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with complete_or_absent(path) as temporary:
        temporary.write_text(calibration_page(found, title), encoding="utf-8", errors="backslashreplace")


def calibration_page(found: BoardCalibration, title: str) -> str:
    """The page as text; every name that a user can choose is escaped."""
    assets = files("refit_mv.report") / "assets"
    sections = [
        _head(found, title),
        verdict_box(_verdict(found)),
        _tiles(found),
        section("cameras", "Cameras", _table(found)),
        section("rig", "The rig", _rig() if found.relative_to != "none" else ""),
        section("residuals", "Residuals over the pictures", _maps(found)),
        section("definitions", "What the numbers mean", _definitions()),
    ]
    script = (assets / "rig.js").read_text(encoding="utf-8") if found.relative_to != "none" else ""
    style = "".join((assets / name).read_text(encoding="utf-8") for name in ("page.css", "rig.css"))
    data = _scene(found) if script else {}
    return document(f"{title} – calibration", style, "".join(sections), ("scene", data), script)


def _head(found: BoardCalibration, title: str) -> str:
    facts = [f"{len(found.rig)} cameras", f"{found.frames:,} frames", found.board]
    return (
        f'<header><p class="brand">refit-mv <span>calibration</span></p><h1>{html.escape(title)}</h1>'
        f'<p class="facts">{" · ".join(html.escape(fact) for fact in facts)}</p></header>'
    )


def _verdict(found: BoardCalibration) -> Verdict:
    order: dict[Level, int] = {"bad": 0, "check": 1, "good": 2}
    findings = tuple(sorted(found.findings, key=lambda finding: order[finding.level]))
    level: Level = findings[0].level if findings else "good"
    headline = {
        "good": f"{len(found.rig)} cameras calibrated, nothing speaks against it",
        "check": f"{len(found.rig)} cameras calibrated, with something to look at",
        "bad": "Something is wrong with this calibration",
    }[level]
    return Verdict(level, headline, findings)


def _tiles(found: BoardCalibration) -> str:
    tiles = [
        ("Residuals, rms", f"{found.rms_px:.2f} px", f"over {sum(each.corners for each in found.cameras):,} corners"),
        ("Noise", f"{found.noise_px:.2f} px", "of a corner, along x or y"),
        ("Views", f"{sum(each.views for each in found.cameras):,}", f"in {found.frames:,} frames"),
    ]
    places = [each.position_sigma for each in found.cameras if each.position_sigma is not None]
    if places:
        tiles.append(("Places", f"{1000 * max(places):.1f} mm", "one sigma, the least certain camera"))
    shares = [each.focal_sigma / each.focal_px for each in found.cameras]
    if max(shares) > 0:
        tiles.append(("Focal lengths", f"{100 * max(shares):.2f} %", "one sigma, the least certain camera"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in tiles)
    return f'<dl class="tiles">{cells}</dl>'


def _table(found: BoardCalibration) -> str:
    where = {"rig": "relative to the rig as a whole", "board": "relative to the board that is the world"}
    where |= {"world": "in the world of the measured points", "none": ""}
    place = f"<th>place, one sigma<small>{where[found.relative_to]}</small></th><th>direction, one sigma</th>"
    rows = []
    for index, (camera, solved) in enumerate(zip(found.cameras, found.rig, strict=True)):
        coefficients = " ".join(f"{value:.3g}" for value in solved.distortion.tolist())
        cells = [
            f'<b style="color:{css(person_colour(index))}">■</b> {html.escape(camera.name)}',
            "fisheye" if solved.lens == "fisheye" else "pinhole",
            f"{camera.views:,}",
            f"{camera.corners:,}",
            f"{camera.rms_px:.2f}",
            f"{camera.dropped:,}",
            f"{100 * camera.covered:.0f} %",
            f"{camera.focal_px:.1f}" + (f" ± {camera.focal_sigma:.1f}" if camera.focal_sigma else " (given)"),
            f"{solved.matrix[0, 2]:.1f}, {solved.matrix[1, 2]:.1f}",
            coefficients,
        ]
        if camera.position_sigma is not None and camera.rotation_sigma is not None:
            cells += [f"{1000 * camera.position_sigma:.2f} mm", f"{math.degrees(camera.rotation_sigma):.3f}°"]
        rows.append("<tr>" + "".join(f'<td class="left">{cell}</td>' for cell in cells) + "</tr>")
    heads = ("camera", "lens", "views", "corners", "rms, px", "left out", "covered")
    heads += ("focal, px", "middle, px", "distortion")
    head = "".join(f'<th class="left">{name}</th>' for name in heads) + (place if found.relative_to != "none" else "")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _rig() -> str:
    return (
        '<figure class="chart rig"><figcaption>Cameras, the board in every frame, and each place\'s one sigma (drawn '
        '<span id="times"></span> times as large). Drag to turn, scroll to come nearer.</figcaption>'
        '<canvas id="rig-view" role="img" aria-label="The cameras in space"></canvas></figure>'
    )


def _maps(found: BoardCalibration) -> str:
    return f'<div class="maps">{"".join(_map(*pair) for pair in zip(found.cameras, found.rig, strict=True))}</div>'


def _map(figures: CameraFigures, camera: Camera) -> str:
    """Every corner's residual as a line from where it was found, much longer than it is."""
    width, height = camera.size or (1, 1)
    lengths = np.linalg.norm(figures.residuals, axis=1)
    times = _round_factor(_SHOWN * width / max(float(np.median(lengths)) if len(lengths) else 1.0, 1e-6))
    step = max(1, -(-len(lengths) // _MOST_LINES))
    starts, ends = figures.pixels[::step], (figures.pixels - times * figures.residuals)[::step]
    thick = width / 700
    path = "".join(f"M{a:.0f} {b:.0f}L{c:.0f} {d:.0f}" for (a, b), (c, d) in zip(starts, ends, strict=True))
    dots = "".join(f"M{a:.0f} {b:.0f}h.01" for a, b in starts)
    name = html.escape(figures.name)
    said = f"{name}: {figures.corners} corners, {figures.rms_px:.2f} px rms"
    note = f"{figures.rms_px:.2f} px rms, drawn × {times:g}"
    return (
        f'<figure class="chart"><figcaption>{name} <span class="unit">{note}</span></figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{said}">'
        f'<path d="{path}" fill="none" stroke="var(--blue)" stroke-width="{thick:.2f}"/>'
        f'<path d="{dots}" fill="none" stroke="var(--ink)" stroke-width="{3 * thick:.2f}" stroke-linecap="round"/>'
        "</svg></figure>"
    )


def _round_factor(value: float) -> float:
    """The next lower of 1, 2, 5 × a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


def _scene(found: BoardCalibration) -> dict[str, object]:
    """What the script draws: lengths in metres, the world turned so that its third axis is up."""
    turn = _upright(np.array(found.view_up))
    centers = np.array([camera.center.double().numpy() for camera in found.rig]) @ turn.T
    sigma = [each.position_sigma or 0.0 for each in found.cameras]
    span = float(np.ptp(centers, axis=0).max()) or 1.0
    times = _round_factor(max(0.06 * span / max(max(sigma), 1e-9), 1.0))
    boards = found.boards[:: max(1, -(-len(found.boards) // _MOST_BOARDS))] @ turn.T
    return {
        "cameras": [
            {
                "name": camera.name,
                "colour": css(person_colour(index)),
                "pyramid": (_pyramid(camera, 0.16 * span) @ turn.T).round(5).tolist(),
                "sigma": round(times * sigma[index], 6),
            }
            for index, camera in enumerate(found.rig)
        ],
        "boards": boards.round(4).tolist(),
        "times": times,
    }


def _pyramid(camera: Camera, depth: float) -> Float[np.ndarray, "corner 3"]:
    """Apex and the picture's four corners as a pinhole of the same focal length sees them, in the world."""
    width, height = camera.size or (1, 1)
    inverse = np.linalg.inv(camera.matrix)
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ inverse.T
    # A fisheye's picture would be wider than any pyramid.
    corners[:, :2] = corners[:, :2].clip(-1.2, 1.2)
    p_cam = np.concatenate([np.zeros((1, 3)), depth * corners])
    back = camera.cam_from_world.inverse()
    return p_cam @ back.rotation.double().numpy().T + back.translation.double().numpy()


def _upright(up: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """A rotation that takes ``up`` to the third axis."""
    third = up / np.linalg.norm(up)
    first = np.eye(3)[int(np.abs(third).argmin())]
    first = first - (first @ third) * third
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(third, first), third])


def _definitions() -> str:
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _DEFINITIONS) + "</dl>"
