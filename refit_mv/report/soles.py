"""The points of the feet that stand on floors, over time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import has_soles, sole_skin
from refit_mv.solve.feet import Contacts


@dataclass(frozen=True, eq=False)
class Soles:
    """Of each point of the feet (``names``): where it is (world, metres), how probably it stands on something, and
    whether it was held there.
    """

    names: tuple[str, ...]
    points: Float[np.ndarray, "frame foot 3"]
    probability: Float[np.ndarray, "frame foot"]
    held: Bool[np.ndarray, "frame foot"]

    @staticmethod
    def of(body: BodyModel, params: BodyParams, contacts: Contacts | None) -> "Soles | None":
        """None where nobody looked for contacts, or the body has no feet to stand on."""
        if contacts is None or not has_soles(body):
            return None
        points = pose_landmarks(sole_skin(body), params).positions.numpy()[:, : len(contacts.names)]
        return Soles(contacts.names, points, contacts.probability.astype(np.float64), contacts.held)

    @property
    def standing(self) -> Bool[np.ndarray, "frame foot"]:
        """Held, or more probably in contact than not."""
        return self.held | (self.probability > 0.5)
