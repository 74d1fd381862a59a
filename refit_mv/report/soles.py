"""The points of the feet that stand on floors, over time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import has_soles, sole_skin
from refit_mv.solve.feet import Contacts


@dataclass(frozen=True, eq=False)
class Soles:
    """Where each point of the feet is (world, metres), and when it stands on something."""

    points: Float[np.ndarray, "frame foot 3"]
    contacts: Contacts

    @staticmethod
    def of(body: BodyModel, params: BodyParams, contacts: Contacts | None) -> "Soles | None":
        """None where nobody looked for contacts, or the body has no feet to stand on."""
        if contacts is None or not has_soles(body):
            return None
        points = pose_landmarks(sole_skin(body), params).positions.numpy()[:, : len(contacts.names)]
        return Soles(points, contacts)
