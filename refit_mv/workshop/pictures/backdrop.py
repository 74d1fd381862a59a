"""What stands behind a made-up person, and what stands in front: noise, gradients and shapes, drawn for the crop."""

import cv2
import numpy as np
from jaxtyping import Float

# Where a person is hidden by something, it covers up to this share of the crop's side.
LARGEST_OCCLUDER = 0.5


def _colour(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    return rng.uniform(size=3) ** rng.uniform(0.6, 2.0)


def _noise(size: tuple[int, int], cells: int, rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """Smooth noise with so many cells along each side, about ±1."""
    coarse = rng.normal(size=(cells + 1, cells + 1, 3)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).reshape(size[1], size[0], 3)


def _shape(
    picture: Float[np.ndarray, "height width 3"],
    center: Float[np.ndarray, "2"],
    extent: float,
    rng: np.random.Generator,
) -> None:
    """Fill a bar, an ellipse or a polygon of some 2 × ``extent`` pixels in place."""
    colour = tuple(float(value) for value in _colour(rng))
    kind = rng.integers(3)
    angle = rng.uniform(0, 360)
    x, y = (int(value) for value in center)
    if kind == 0:
        narrow = extent * rng.uniform(0.08, 0.5)
        corners = cv2.boxPoints(((x, y), (2 * extent, 2 * narrow), angle))
        cv2.fillConvexPoly(picture, corners.round().astype(np.int32), colour, cv2.LINE_AA)
    elif kind == 1:
        axes = (max(int(extent), 1), max(int(extent * rng.uniform(0.3, 1.0)), 1))
        cv2.ellipse(picture, (x, y), axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    else:
        turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        reach = extent * rng.uniform(0.4, 1.0, len(turn))
        corners = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)
        cv2.fillPoly(picture, [corners.round().astype(np.int32)], colour, cv2.LINE_AA)


def draw_background(size: tuple[int, int], rng: np.random.Generator) -> Float[np.ndarray, "height width 3"]:
    """A picture (linear, 0 to 1) of ``size`` (width, height): a gradient with noise at a few scales and shapes before
    it; sometimes a floor.
    """
    width, height = size
    corners = np.stack([_colour(rng) for _ in range(4)]).reshape(2, 2, 3).astype(np.float32)
    if rng.uniform() < 0.5:
        corners[:] = corners[:1, :1] + 0.15 * (corners - corners[:1, :1])
    picture = cv2.resize(corners, size, interpolation=cv2.INTER_LINEAR)
    if rng.uniform() < 0.5:
        horizon = int(height * rng.uniform(0.4, 0.95))
        picture[horizon:] = _colour(rng).astype(np.float32)
    side = max(size)
    for _ in range(rng.poisson(5.0)):
        _shape(picture, rng.uniform(size=2) * size, side * rng.uniform(0.05, 0.5), rng)
    for cells, strength in ((3, 0.10), (12, 0.08), (48, 0.06)):
        picture += np.float32(strength * rng.uniform()) * _noise((width, height), cells, rng)
    return picture.clip(0, 1)


def occlude(
    picture: Float[np.ndarray, "height width 3"], center: Float[np.ndarray, "2"], rng: np.random.Generator
) -> None:
    """Put something before the person, near ``center`` (pixels), in place."""
    side = max(picture.shape[:2])
    extent = side * rng.uniform(0.05, LARGEST_OCCLUDER / 2)
    _shape(picture, center + rng.normal(size=2) * 0.2 * side, extent, rng)
