"""Which points of whose feet stand."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from refit_mv.body.soles import CONTACT_NAMES


@dataclass(frozen=True, eq=False)
class Contacts:
    """How probable it is that each of the points ``names`` (heel and toes of both feet) stands on something, in every
    frame, and whether it was ``held`` where it stands.
    """

    probability: Float[np.ndarray, "frame point"]
    held: Bool[np.ndarray, "frame point"]
    names: tuple[str, ...] = CONTACT_NAMES

    def __len__(self) -> int:
        return len(self.probability)
