"""Furniture that hides what is behind it: boxes on the floor, and lines of sight that pass through them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

# A line of sight is blocked where more than so many metres of it lie in a box: edges are grazed, and hands lie on tops.
DEEP = 0.02


@dataclass(frozen=True)
class Box:
    """A box with upright sides: its middle on the floor plan (x, z), its width, height and depth, how high above the
    floor it begins (metres), and by how much it is turned about the vertical (radians).
    """

    middle: tuple[float, float]
    size: tuple[float, float, float]
    above: float = 0.0
    turned: float = 0.0


def hidden_by_boxes(
    centers: Float[np.ndarray, "view 3"], points: Float[np.ndarray, "frame person point 3"], boxes: Sequence[Box]
) -> Bool[np.ndarray, "frame view person point"]:
    """Which points (world metres, y up) a box stands before, in the eyes of each view."""
    frames, people, count, _ = points.shape
    hidden = np.zeros((frames, len(centers), people, count), dtype=bool)
    for box in boxes:
        sin, cos = np.sin(box.turned), np.cos(box.turned)
        box_from_world = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
        middle = np.array([box.middle[0], box.above + box.size[1] / 2, box.middle[1]])
        half = np.array(box.size) / 2
        ends = (points - middle) @ box_from_world.T
        for view, center in enumerate((centers - middle) @ box_from_world.T):
            way = ends - center
            way = np.where(np.abs(way) < 1e-9, 1e-9, way)
            # As shares of the way from the camera to the point: inside all three pairs of sides at once.
            sides = np.stack([(-half - center) / way, (half - center) / way])
            enter, leave = sides.min(0).max(-1).clip(0), sides.max(0).min(-1).clip(max=1)
            hidden[:, view] |= (leave - enter) * np.linalg.norm(way, axis=-1) > DEEP
    return hidden
