"""Which face of a mesh every pixel sees: a depth buffer in NumPy, so that people can be rendered on any machine.

Made for bodies in crops, whose faces cover a few pixels each: all faces are filled at once, every pixel of every face's
bounding rectangle being one row of an array.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

# Nearer than this (metres) a face is not drawn: it would fill the picture.
NEAR = 0.1


@dataclass(frozen=True, eq=False)
class Raster:
    """The pixels that see the mesh, in reading order of the picture: ``place`` counts along its rows. ``barycentric``
    are perspective-correct weights of the face's three corners, ``depth`` metres along the optical axis.
    """

    size: tuple[int, int]
    place: Int[np.ndarray, " pixel"]
    face: Int[np.ndarray, " pixel"]
    barycentric: Float[np.ndarray, "pixel 3"]
    depth: Float[np.ndarray, " pixel"]

    def mask(self) -> Bool[np.ndarray, "height width"]:
        """Where the mesh is."""
        flat = np.zeros(self.size[0] * self.size[1], dtype=bool)
        flat[self.place] = True
        return flat.reshape(self.size[::-1])

    def interpolated(
        self, faces: Int[np.ndarray, "face 3"], values: Float[np.ndarray, "vertex channel"]
    ) -> Float[np.ndarray, "pixel channel"]:
        """Values of vertices at the pixels."""
        corners = faces[self.face]
        weight = self.barycentric.astype(values.dtype)
        result = weight[:, :1] * values[corners[:, 0]]
        for corner in (1, 2):
            result += weight[:, corner : corner + 1] * values[corners[:, corner]]
        return result


def rasterise(
    pixels: Float[np.ndarray, "vertex 2"],
    depth: Float[np.ndarray, " vertex"],
    faces: Int[np.ndarray, "face 3"],
    size: tuple[int, int],
) -> Raster:
    """Fill the faces that look at the camera (their corners run clockwise in the picture, y down, as outward-wound
    faces do); the nearest wins. A pixel belongs to a face that covers its centre, which lies at integer coordinates.
    ``size`` is (width, height).
    """
    width, height = size
    corner = pixels[faces].astype(np.float32)
    away = depth[faces].astype(np.float32)
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    twice_area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    low = np.ceil(corner.min(1).clip(0, max(width, height))).astype(np.int64)
    high = np.floor(corner.max(1).clip(-1, [width - 1, height - 1])).astype(np.int64)
    extent = (high - low + 1).clip(min=0)
    count = extent[:, 0] * extent[:, 1]
    kept = np.flatnonzero((twice_area < 0) & (away.min(1) > NEAR) & (count > 0))
    count, columns = count[kept], extent[kept, 0]

    row = np.repeat(np.arange(len(kept)), count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    down, right = np.divmod(within, columns[row])
    x, y = low[kept, 0][row] + right, low[kept, 1][row] + down
    # Areas opposite to the second and third corner, as shares of the face's: linear in the picture.
    origin, u, v = corner[kept, 0], first[kept], second[kept]
    inverse = 1 / twice_area[kept]
    dx, dy = x.astype(np.float32) - origin[row, 0], y.astype(np.float32) - origin[row, 1]
    share_b = (dx * (v[:, 1] * inverse)[row]) - (dy * (v[:, 0] * inverse)[row])
    share_c = (dy * (u[:, 0] * inverse)[row]) - (dx * (u[:, 1] * inverse)[row])
    share_a = 1 - share_b - share_c
    inside = np.flatnonzero((share_a >= 0) & (share_b >= 0) & (share_c >= 0))
    row = row[inside]
    # Not depth but its inverse is linear in the picture.
    near = 1 / away[kept]
    scaled = np.stack([share_a[inside], share_b[inside], share_c[inside]], axis=1) * near[row]
    nearness = scaled.sum(1)
    place = y[inside] * width + x[inside]
    # Nearest last among the candidates of one pixel.
    order = np.lexsort((nearness, place))
    last = np.append(np.diff(place[order]) > 0, True) if len(order) else np.zeros(0, dtype=bool)
    chosen = order[last]
    return Raster(size, place[chosen], kept[row[chosen]], scaled[chosen] / nearness[chosen, None], 1 / nearness[chosen])
