"""Points of the body's surface and inside it, over time: what marker formats hold."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.motion.motion import Motion


@dataclass(frozen=True, eq=False)
class Markers:
    """Named points in the world, metres; NaN in frames without a pose of their own."""

    names: tuple[str, ...]
    positions: Float[np.ndarray, "frame marker 3"]


def joints_of(motion: Motion) -> Markers:
    """The joints of a motion's body. Raises InputError where it has no body."""
    return Markers(motion.known_body.model.joint_names, motion.joints)


def landmarks_of(motion: Motion, names: tuple[str, ...]) -> Markers:
    """Landmarks of a motion's body; those that it does not have are left out. Raises InputError where it has no
    body.
    """
    body, held = motion.known_body.model, motion.held()
    present = tuple(name for name in names if name in body.landmark_names)
    # Every joint that has a share in a landmark: 0.1 mm matters here.
    skin = landmark_skin(body, present, negligible=0.0)
    params = held.params
    parts = [pose_landmarks(skin, params[slice(at, at + 2048)]).positions for at in range(0, len(motion), 2048)]
    positions = torch.cat(parts).numpy().copy()
    positions[~motion.posed] = np.nan
    return Markers(present, positions)
