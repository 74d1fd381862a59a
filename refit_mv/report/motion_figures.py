"""How a motion behaves: how much feet slide while they stand, how deep they sink, and how much joints tremble."""

import html
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from refit_mv.report import measures
from refit_mv.report.heat import ERROR, strip_map
from refit_mv.report.quality import QualityReport

# Millimetres a frame at which somebody sees a foot slide.
SLIDE_SEEN_MM = 2.0
# Colours of contacts: how probable they are.
TOUCH = np.array([(46, 58, 74), (90, 120, 110), (120, 200, 140), (60, 230, 110)], dtype=np.float64)


@dataclass(frozen=True)
class FootFigures:
    """One point of the feet: the share of frames in which it stands, and in which it was held; how far it moves from
    frame to frame meanwhile (mm), and how far it is below the floor (mm, 95th percentile); None where nothing is known.
    """

    name: str
    stands: float
    held: float
    slide_mm: float | None
    slide_p95_mm: float | None
    below_mm: float | None


def foot_figures(report: QualityReport) -> tuple[FootFigures, ...]:
    """Of every point that contacts are known of."""
    soles = report.soles
    if soles is None:
        return ()
    posed = report.posed
    found = []
    for place, name in enumerate(soles.contacts.names):
        stands = soles.contacts.likely[:, place] & posed
        # From one frame to the next, in both of which it stands.
        both = stands[1:] & stands[:-1]
        steps = 1000 * np.linalg.norm(np.diff(soles.points[:, place], axis=0), axis=-1)[both]
        below = None
        if report.floor_height_m is not None and report.up is not None and posed.any():
            depth = 1000 * (report.floor_height_m - soles.points[posed, place] @ np.asarray(report.up))
            below = max(float(np.nanpercentile(depth, 95)), 0.0)
        found.append(
            FootFigures(
                name.replace("_", " "),
                float(stands.sum() / max(posed.sum(), 1)),
                float((soles.contacts.held[:, place] & posed).sum() / max(posed.sum(), 1)),
                float(np.median(steps)) if len(steps) else None,
                float(np.percentile(steps, 95)) if len(steps) else None,
                below,
            )
        )
    return tuple(found)


def jerk(report: QualityReport) -> Float[np.ndarray, "frame joint"] | None:
    """Third differences of every joint's position, m/s³; NaN at gaps and at both ends. Trembling shows in it long
    before it shows in positions.
    """
    if report.joints_m is None or not report.joint_names:
        return None
    found = np.full(report.joints_m.shape[:2], np.nan)
    if len(report) > 3:
        third = np.diff(report.joints_m, 3, axis=0) * report.fps**3
        found[2:-1] = np.linalg.norm(third, axis=-1)
    return found


def jitter(report: QualityReport) -> float | None:
    """The median jerk of all joints over time, m/s³."""
    values = jerk(report)
    return None if values is None or not np.isfinite(values).any() else float(np.nanmedian(values))


def motion_section(report: QualityReport) -> str:
    """Contacts over time with their figures, and the joints that tremble most."""
    return f'<div class="beside even">{_feet(report)}{_jitter(report)}</div>'


def _feet(report: QualityReport) -> str:
    rows = foot_figures(report)
    if not rows or report.soles is None:
        return '<div><p class="hint">Contacts of the feet were not looked for in this fit.</p></div>'
    edges = measures.bin_edges(len(report), 240)
    probability = np.where(report.posed[:, None], report.soles.contacts.probability.astype(np.float64), np.nan)
    shares = measures.bin_medians(probability, edges)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row.name)}</th>{_cell(100 * row.stands, "{:.0f} %")}'
        f"{_cell(100 * row.held, '{:.0f} %')}{_cell(row.slide_mm, '{:.1f}', SLIDE_SEEN_MM)}"
        f"{_cell(row.slide_p95_mm, '{:.1f}')}{_cell(row.below_mm, '{:.0f}')}</tr>"
        for row in rows
    )
    head = ("Foot", "Stands", "Held", "Slide mm/frame", "p95", "Below mm")
    cells = "".join(f'<th scope="col"><button type="button">{name}</button></th>' for name in head)
    return (
        f"<div>{strip_map('Contacts: how probable', [row.name for row in rows], shares, TOUCH)}"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Feet"><table><caption>Feet</caption><thead>'
        f"<tr>{cells}</tr></thead><tbody>{body}</tbody></table></div></div>"
    )


def _jitter(report: QualityReport) -> str:
    values = jerk(report)
    if values is None or not np.isfinite(values).any():
        return ""
    edges = measures.bin_edges(len(report), 240)
    middle = (
        np.nanmedian(values, axis=0) if np.isfinite(values).any(0).all() else np.nan_to_num(np.nanmean(values, axis=0))
    )
    worst = np.argsort(-middle)[:8]
    names = [f"{report.joint_names[joint].replace('_', ' ')} {middle[joint]:,.0f}" for joint in worst]
    top = max(float(np.nanpercentile(values, 98)), 1e-9)
    shares = measures.bin_medians(values[:, worst], edges) / top
    return f"<div>{strip_map(f'Jerk of joints, m/s³ (colour up to {top:,.0f})', names, shares, ERROR)}</div>"


def _cell(value: float | None, form: str, seen: float | None = None) -> str:
    if value is None:
        return '<td data-v="-1">–</td>'
    mark = ' class="warn"' if seen is not None and value > seen else ""
    return f'<td{mark} data-v="{value:.6g}">{form.format(value)}</td>'
