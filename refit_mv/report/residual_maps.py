"""Where in each picture keypoints lie beside the body, and to which side: what a wrong camera leaves behind and noise
does not.
"""

import html
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from refit_mv.report.quality import QualityReport

# Cells along the picture's longer and shorter side, and the fewest keypoints that a cell speaks for.
CELLS, FEWEST = (8, 5), 12
# Arrows are so many times as long as what they stand for.
LONGER = 8.0
# A view whose keypoints are this far to one side in the median (pixels of a picture 1920 wide) is worth a look.
ONE_SIDED_PX = 4.0


@dataclass(frozen=True, eq=False)
class ViewResiduals:
    """One view: the median offset of its keypoints from the body, and the same of each cell with enough of them:
    middles, offsets (pixels) and counts. ``scale``: of the picture, relative to 1920 pixels.
    """

    name: str
    size: tuple[int, int]
    offset: Float[np.ndarray, "2"]
    middles: Float[np.ndarray, "cell 2"]
    offsets: Float[np.ndarray, "cell 2"]
    counts: Int[np.ndarray, " cell"]

    @property
    def scale(self) -> float:
        return max(self.size) / 1920

    @property
    def one_sided(self) -> bool:
        return bool(np.linalg.norm(self.offset) > ONE_SIDED_PX * self.scale)


def view_residuals(report: QualityReport) -> tuple[ViewResiduals, ...]:
    """Of every view with keypoints that count."""
    if report.pixels is None or report.residual is None:
        return ()
    found = []
    for view, name in enumerate(report.view_names):
        size = report.rig[name].size
        chosen = report.confident[:, view] & np.isfinite(report.residual[:, view]).all(-1)
        pixels, rest = report.pixels[:, view][chosen], report.residual[:, view][chosen]
        if size is None or not len(rest):
            continue
        cells = CELLS if size[0] >= size[1] else CELLS[::-1]
        place = np.floor(pixels / size * cells).astype(np.int64)
        inside = ((place >= 0) & (place < cells)).all(-1)
        index = place[inside, 0] * cells[1] + place[inside, 1]
        middles, offsets, counts = [], [], []
        for cell in np.unique(index):
            mine = rest[inside][index == cell]
            if len(mine) >= FEWEST:
                middles.append((np.array([cell // cells[1], cell % cells[1]]) + 0.5) / cells * size)
                offsets.append(np.median(mine, axis=0))
                counts.append(len(mine))
        found.append(
            ViewResiduals(
                name,
                size,
                np.median(rest, axis=0),
                np.array(middles).reshape(-1, 2),
                np.array(offsets).reshape(-1, 2),
                np.array(counts, dtype=np.int64),
            )
        )
    return tuple(found)


def residual_maps(report: QualityReport) -> str:
    """A picture for each view; empty where nothing is known."""
    figures = [_figure(each) for each in view_residuals(report)]
    if not figures:
        return ""
    hint = (
        f"Arrows lead from the body to where its keypoints are, in the median over time, {LONGER:g} times as long as "
        "in the picture. Noise points everywhere; a camera that was moved, a wrong lens or a late clock all one way."
    )
    return f'<h3>Residuals of the rig</h3><p class="hint">{hint}</p><div class="maps">{"".join(figures)}</div>'


def _figure(view: ViewResiduals) -> str:
    (width, height), tip = view.size, 14 * view.scale
    parts = []
    for (x, y), (dx, dy) in zip(view.middles, LONGER * view.offsets, strict=True):
        length = float(np.hypot(dx, dy))
        share = min(length / LONGER / (2 * ONE_SIDED_PX * view.scale), 1.0)
        colour = f"color-mix(in srgb,var(--bad) {100 * share:.0f}%,var(--good))"
        line = f'<path d="M{x:.0f} {y:.0f}l{dx:.1f} {dy:.1f}" stroke="{colour}" stroke-width="{5 * view.scale:.1f}"/>'
        parts.append(f'{line}<circle cx="{x + dx:.1f}" cy="{y + dy:.1f}" r="{tip / 2:.1f}" fill="{colour}"/>')
    dx, dy = view.offset
    words = (
        f"{abs(dx):.1f} px {'right' if dx > 0 else 'left'}, {abs(dy):.1f} px {'down' if dy > 0 else 'up'} in the median"
    )
    mark = ' class="warn"' if view.one_sided else ""
    return (
        f'<figure class="strip"><figcaption><b>{html.escape(view.name)}</b> <span{mark}>{words}</span></figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(view.name)}: {words}">'
        f"{''.join(parts)}</svg></figure>"
    )
