"""Who of a picture's figures is meant by a pixel."""

import numpy as np
from jaxtyping import Float

# A pixel farther from every keypoint of a figure than this share of its diagonal is beside it: the middle of a trunk
# lies within.
BESIDE = 0.3


def nearest_figure(
    pixels: Float[np.ndarray, "figure joint 2"],
    confidence: Float[np.ndarray, "figure joint"],
    pixel: tuple[float, float],
) -> tuple[int, float, bool]:
    """Which figure of a picture has the keypoint nearest to a pixel, how far that is (infinite: there is nobody), and
    whether the pixel is too far beside the figure to mean it.
    """
    away = [pixels_away(*each, pixel) for each in zip(pixels, confidence, strict=True)]
    best = int(np.argmin(away)) if away else 0
    if not away or not np.isfinite(away[best]):
        return best, np.inf, True
    points = pixels[best][confidence[best] > 0]
    return best, away[best], bool(away[best] > BESIDE * np.linalg.norm(points.max(0) - points.min(0)))


def pixels_away(pixels: np.ndarray, confidence: np.ndarray, pixel: tuple[float, float]) -> float:
    """Pixels to the nearest keypoint; infinite without any."""
    away = np.linalg.norm(pixels.astype(np.float64) - pixel, axis=-1)
    return float(np.where(confidence > 0, away, np.inf).min(initial=np.inf))
