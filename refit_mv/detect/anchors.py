"""What a single-shot detector's numbers refer to (Liu et al., 2016; BlazePose's: Bazarevsky et al., 2020)."""

import numpy as np
from jaxtyping import Float

# Picture side in pixels, and for each grid of cells: their side in pixels, and how many anchors a cell has. All anchors
# of BlazePose's detector lie in the middle of their cell and have the size of the picture.
PICTURE = 224
GRIDS = ((8, 2), (16, 2), (32, 6))


def anchors() -> Float[np.ndarray, "anchor 2"]:
    """Where each of the 2,254 anchors lies (x, y as shares of the picture), in the order of the network's outputs."""
    grids = []
    for side, count in GRIDS:
        middles = (np.arange(PICTURE // side) + 0.5) * side / PICTURE
        y, x = np.meshgrid(middles, middles, indexing="ij")
        grids.append(np.repeat(np.stack([x.reshape(-1), y.reshape(-1)], axis=-1), count, axis=0))
    return np.concatenate(grids)


def decoded(
    raw: Float[np.ndarray, "anchor value"], at: Float[np.ndarray, "anchor 2"]
) -> tuple[Float[np.ndarray, "anchor 4"], Float[np.ndarray, "anchor point 2"]]:
    """Boxes (left, top, right, bottom) and key points, as shares of the picture, from the network's numbers: the box's
    centre and size, then the points, in pixels; centre and points as distances from the anchor.
    """
    pairs = raw.astype(np.float64).reshape(len(raw), raw.shape[1] // 2, 2) / PICTURE
    center, size, points = pairs[:, 0] + at, pairs[:, 1], pairs[:, 2:] + at[:, None]
    return np.concatenate([center - size / 2, center + size / 2], axis=1), points
