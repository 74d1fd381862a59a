"""Values over time as strips of colour: one row for each thing, one column for some frames."""

import base64
import html
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.report import measures
from refit_mv.report.quality import QualityReport

# The page is as wide; more columns nobody tells apart.
COLUMNS = 240
# So many steps of colour are enough for eyes, and pack well.
LEVELS = 24
# Pixels in a picture 1920 wide that are as bad as a colour can say.
WORST_PX = 40.0
ROW_PX = 15
# sRGB, from nothing to all; told apart by people who lack one kind of cones, because lightness runs with them.
ERROR = np.array([(24, 60, 92), (36, 132, 128), (250, 214, 90), (232, 104, 50), (160, 20, 40)], dtype=np.float64)
TRUST = np.array([(88, 20, 60), (150, 70, 90), (190, 150, 120), (150, 200, 160), (60, 190, 140)], dtype=np.float64)


def heat_section(report: QualityReport) -> str:
    """Reprojection error and confidence over time, of every view and of every keypoint in it."""
    edges = measures.bin_edges(len(report), COLUMNS)
    scale = np.array([max(report.rig[name].size or (1920, 0)) / 1920 for name in report.view_names])
    error = np.where(report.confident, report.pixel_error, np.nan) / scale[:, None]
    trust = np.where(report.posed[:, None, None], report.confidence, np.nan)
    # Of a view's keypoints first, then over the frames of a column.
    by_view = np.stack([measures.nan_median(error[:, view]) for view in range(len(scale))], axis=1)
    whole = _pair(
        "All keypoints",
        report.view_names,
        measures.bin_medians(by_view, edges),
        measures.bin_medians(trust.mean(-1), edges),
    )
    points = [name.replace("_", " ") for name in report.landmark_names]
    parts = [
        f'<div class="of-view"{" hidden" if view else ""}>'
        + _pair(name, points, measures.bin_medians(error[:, view], edges), measures.bin_medians(trust[:, view], edges))
        + "</div>"
        for view, name in enumerate(report.view_names)
    ]
    names = "".join(f"<option>{html.escape(name)}</option>" for name in report.view_names)
    chosen = f'<p class="hint"><label>Keypoints of <select class="choose">{names}</select></label></p>'
    key = (
        f'<span class="key">0 px <i class="scale" style="{_gradient(ERROR)}"></i> {WORST_PX:g} px or more, of a '
        f'picture 1920 wide</span><span class="key">confidence 0 <i class="scale" style="{_gradient(TRUST)}"></i> 1'
        "</span>"
    )
    return (
        f'<div class="heat-maps"><h3>Reprojection and confidence over time</h3><p class="hint">{key}</p>{whole}{chosen}'
        f"{''.join(parts)}</div>"
    )


def _pair(
    title: str, rows: Sequence[str], error: Float[np.ndarray, "row bin"], trust: Float[np.ndarray, "row bin"]
) -> str:
    return (
        f'<div class="heats">{strip_map(f"{title}: pixels off", rows, error / WORST_PX, ERROR)}'
        f"{strip_map(f'{title}: confidence', rows, trust, TRUST)}</div>"
    )


def strip_map(
    title: str,
    rows: Sequence[str],
    shares: Float[np.ndarray, "row bin"],
    colours: Float[np.ndarray, "stop 3"] = ERROR,
) -> str:
    """One strip for each of the rows, from the first colour (share 0) to the last (1); nothing where a share is NaN."""
    names = "".join(f"<span>{html.escape(name)}</span>" for name in rows)
    height, width = shares.shape
    picture = base64.b64encode(_png(coloured(shares, colours))).decode()
    return (
        f'<figure class="heat"><figcaption>{html.escape(title)}</figcaption><div><div class="names">{names}</div>'
        f'<svg style="height:{ROW_PX * len(rows)}px" viewBox="0 0 {width} {height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{html.escape(title)}, over time"><image width="{width}" height="{height}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{picture}"/></svg></div></figure>'
    )


def coloured(
    shares: Float[np.ndarray, "row bin"], colours: Float[np.ndarray, "stop 3"]
) -> UInt8[np.ndarray, "row bin 4"]:
    """RGBA; shares beyond 0 and 1 are taken for these."""
    known = np.isfinite(shares)
    stops = np.linspace(0, 1, len(colours))
    level = (np.where(known, shares, 0).clip(0, 1) * LEVELS).round() / LEVELS
    channels = [np.interp(level, stops, colours[:, channel]) for channel in range(3)]
    return np.stack([*channels, np.where(known, 255.0, 0.0)], axis=-1).round().astype(np.uint8)


def _png(picture: UInt8[np.ndarray, "row bin 4"]) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 9])[
        1
    ].tobytes()


def _gradient(colours: Float[np.ndarray, "stop 3"]) -> str:
    return (
        f"background:linear-gradient(90deg,{','.join('rgb({:.0f},{:.0f},{:.0f})'.format(*each) for each in colours)})"
    )
