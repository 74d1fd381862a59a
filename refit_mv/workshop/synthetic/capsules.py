"""Who hides what from a camera: lines of sight that pass through people's capsules."""

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.body.capsules import CAPSULES, capsule_skin
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks

RADIUS = np.array([radius for *_, radius in CAPSULES])
# A point is hidden where its line of sight passes through more than so many radii of flesh before it: a joint inside
# its own limb is seen from the limb's sides, and a hand on somebody's back from outside.
DEEP = 1.2
# Lines of sight are tested in groups of this many people, to bound memory.
_GROUP = 500


def body_capsules(body: BodyModel, params: BodyParams) -> Float[np.ndarray, "frame capsule 2 3"]:
    """Both ends of each of a body's ``CAPSULES``, world metres."""
    capsules = capsule_skin(body)
    return capsules.ends(pose_landmarks(capsules.skin, params).positions).numpy()


def sight_through(
    origin: Float[np.ndarray, "3"],
    points: Float[np.ndarray, "row point 3"],
    capsules: Float[np.ndarray, "row capsule 2 3"],
    radius: Float[np.ndarray, " capsule"],
) -> tuple[Float[np.ndarray, "row point capsule"], Float[np.ndarray, "row point capsule"]]:
    """How far from ``origin`` each line of sight to a point enters each capsule, and on what length it passes through
    it before the point (metres; infinite and 0 where it does not).

    A capsule is a cylinder and two balls, and convex: the line is inside from the first entry to the last exit.
    """
    sight = points - origin
    length = np.linalg.norm(sight, axis=-1)[..., None]
    sight = sight / length
    first, second = capsules[..., 0, :], capsules[..., 1, :]
    height = np.linalg.norm(second - first, axis=-1)
    axis = (second - first) / np.maximum(height, 1e-9)[..., None]
    offset = origin - first
    offset2, offset_axis = (offset**2).sum(-1)[:, None], (offset * axis).sum(-1)[:, None]
    offset_sight = np.einsum("rpx,rcx->rpc", sight, offset)
    sight_axis = np.einsum("rpx,rcx->rpc", sight, axis)
    height = height[:, None]

    def crossing(square: np.ndarray, half: np.ndarray, constant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where square t² + 2 half t + constant is below 0."""
        root = half**2 - square * constant
        touched = root > 0
        root = np.sqrt(np.where(touched, root, 0.0))
        return (
            np.where(touched, (-half - root) / square, np.inf),
            np.where(touched, (-half + root) / square, -np.inf),
        )

    square = np.maximum(1 - sight_axis**2, 1e-9)
    enter, leave = crossing(square, offset_sight - offset_axis * sight_axis, offset2 - offset_axis**2 - radius**2)
    steep = np.where(np.abs(sight_axis) < 1e-9, 1e-9, sight_axis)
    bottom, top = -offset_axis / steep, (height - offset_axis) / steep
    enter = np.maximum(enter, np.minimum(bottom, top))
    leave = np.minimum(leave, np.maximum(bottom, top))
    enter, leave = np.where(enter < leave, enter, np.inf), np.where(enter < leave, leave, -np.inf)
    one = np.ones_like(sight_axis)
    for half, constant in (
        (offset_sight, offset2 - radius**2),
        (offset_sight - height * sight_axis, offset2 - 2 * height * offset_axis + height**2 - radius**2),
    ):
        near, far = crossing(one, half, constant)
        enter, leave = np.minimum(enter, near), np.maximum(leave, far)
    before = np.minimum(leave, length) - np.maximum(enter, 0)
    return np.maximum(enter, 0), np.maximum(before, 0)


def hidden_by(
    centers: Float[np.ndarray, "view 3"],
    points: Float[np.ndarray, "frame person point 3"],
    capsules: Float[np.ndarray, "frame person capsule 2 3"],
    present: Bool[np.ndarray, "person view"],
) -> Int[np.ndarray, "frame view person point"]:
    """Who stands in the way of each point in each view, the nearest to the camera: −1 where nobody does, the person's
    own number where it is their own body. ``present``: who is there at all, of a view.
    """
    frames, people, count, _ = points.shape
    # Balls about each person tell cheaply who cannot be in whose way.
    everything = np.concatenate([points, capsules.reshape(frames, people, -1, 3)], axis=2)
    middle = everything.mean(2)
    reach = np.linalg.norm(everything - middle[:, :, None], axis=-1).max(-1) + RADIUS.max()
    hider = np.full((frames, len(centers), people, count), -1)
    for view, center in enumerate(centers):
        away = np.linalg.norm(middle - center, axis=-1)
        towards = (middle - center) / away[..., None]
        spread = np.arcsin(np.minimum(reach / away, 1.0))
        nearest = np.full((frames, people, count), np.inf)
        for other in np.flatnonzero(present[:, view]):
            angle = np.arccos(np.clip((towards * towards[:, None, other]).sum(-1), -1, 1))
            in_the_way = (angle < spread + spread[:, None, other]) & present[:, view]
            rows = np.argwhere(in_the_way)
            for start in range(0, len(rows), _GROUP):
                frame, person = rows[start : start + _GROUP].T
                enter, before = sight_through(center, points[frame, person], capsules[frame, other], RADIUS)
                entry = np.where(before > DEEP * RADIUS, enter, np.inf).min(-1)
                closer = entry < nearest[frame, person]
                nearest[frame, person] = np.where(closer, entry, nearest[frame, person])
                hider[frame, view, person] = np.where(closer, other, hider[frame, view, person])
    return hider
