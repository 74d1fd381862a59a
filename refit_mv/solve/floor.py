"""The floor that people stand on."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Floor:
    """A plane through ``point`` (world metres) with the unit ``normal``, which points up. ``sigma`` is the standard
    deviation of its height at the point, metres; ``given``: somebody said where it is.
    """

    point: Vector
    normal: Vector
    sigma: float
    given: bool = False

    def height(self, places: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """How far above the floor places are, metres."""
        return (places - np.asarray(self.point)) @ np.asarray(self.normal)
