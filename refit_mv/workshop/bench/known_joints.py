"""A truth file of a recording: where joints are known to be, by name.

An NPZ file of one array for each joint, named like the body's joint or landmark (``left_elbow``), metres in the
calibration's world, ``(frame, 3)`` or ``(frame, person, 3)``, NaN where nobody knows; ``frame_numbers`` says which
frames of the recording they are (none: from the first on).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.files import read_npz
from refit_mv.workshop.bench.crowd_errors import PARTS, STRICT

FRAME_NUMBERS = "frame_numbers"
# Somebody further off than this (metres, mean over known joints) is somebody else.
SAME = 0.5


@dataclass(frozen=True, eq=False)
class KnownJoints:
    """Where people's joints are; NaN where that is not known."""

    names: tuple[str, ...]
    frame_numbers: Int[np.ndarray, " frame"]
    positions: Float[np.ndarray, "frame person joint 3"]


def read_known_joints(path: Path, body: BodyModel) -> KnownJoints:
    """Read a truth file.

    Raises:
        InputError: not such a file, no joint that the body has, arrays of other shapes, or nothing known at all.
    """
    arrays = read_npz(path, "truth file")
    known = {*body.joint_names, *body.landmark_names}
    names = tuple(name for name in arrays if name in known)
    if not names:
        given = ", ".join(list(arrays)[:5]) or "nothing"
        raise InputError(f"{path}: expected arrays named like joints, such as left_elbow, found {given}")
    whole = {name: arrays[name][:, None] if arrays[name].ndim == 2 else arrays[name] for name in names}
    first = whole[names[0]].shape
    for name, array in whole.items():
        if array.ndim != 3 or array.shape != first or array.shape[-1] != 3 or array.dtype.kind != "f":
            raise InputError(
                f"{path}: {name} is {arrays[name].shape} of {arrays[name].dtype}; expected (frame, 3) or (frame, "
                "person, 3) of floats, alike for all joints"
            )
    numbers = arrays[FRAME_NUMBERS] if FRAME_NUMBERS in arrays else np.arange(first[0])
    if numbers.shape != (first[0],) or numbers.dtype.kind not in "iu":
        raise InputError(f"{path}: {FRAME_NUMBERS} is {numbers.shape} of {numbers.dtype}; expected {first[0]} integers")
    positions = np.stack([whole[name] for name in names], axis=2).astype(np.float64)
    if not np.isfinite(positions).any():
        raise InputError(f"{path}: no joint is known in any frame")
    return KnownJoints(names, numbers.astype(np.int64), positions)


def share_correct(
    body: BodyModel, truth: KnownJoints, people: Sequence[BodyParams], numbers: Int[np.ndarray, " frame"]
) -> float:
    """Share of the parts of arms and legs both of whose ends are known that are correct (PCP strict); parts of whoever
    was not found are not. ``numbers`` are those of the people's frames.
    """
    places = np.stack([_places(body, truth.names, params) for params in people], axis=1)
    at = {name: place for place, name in enumerate(truth.names)}
    parts = [(at[one], at[other]) for one, other in PARTS if one in at and other in at]
    if not parts:
        raise InputError("the truth file knows both ends of no part of an arm or a leg, such as left_hip and left_knee")
    one, other = (np.array([part[end] for part in parts]) for end in (0, 1))
    row_of = {int(number): row for row, number in enumerate(numbers)}
    correct = counted = 0
    for row, number in enumerate(truth.frame_numbers):
        mine = truth.positions[row]
        long = np.linalg.norm(mine[:, one] - mine[:, other], axis=-1)
        known = np.isfinite(long)
        counted += int(known.sum())
        if int(number) not in row_of:
            continue
        found = places[row_of[int(number)]]
        off = np.linalg.norm(mine[:, None] - found[None], axis=-1)
        told = np.isfinite(off)
        mean = np.where(told, off, 0).sum(-1) / np.maximum(told.sum(-1), 1)
        mean = np.where(told.any(-1) & (mean < SAME), mean, 1e3)
        for person, whom in zip(*linear_sum_assignment(mean), strict=True):
            if mean[person, whom] < SAME:
                near = (off[person, whom, one] < STRICT * long[person]) & (
                    off[person, whom, other] < STRICT * long[person]
                )
                correct += int((near & known[person]).sum())
    if not counted:
        raise InputError("the truth file knows both ends of a part in no frame")
    return correct / counted


def _places(body: BodyModel, names: Sequence[str], params: BodyParams) -> Float[np.ndarray, "frame joint 3"]:
    """Landmarks where the body has one of that name, its joints otherwise."""
    joints = posed_joints(body, params).positions.numpy()
    places = {name: joints[:, place] for place, name in enumerate(body.joint_names)}
    marked = tuple(name for name in names if name in body.landmark_names)
    if marked:
        points = pose_landmarks(landmark_skin(body, marked), params).positions.numpy()
        places.update({name: points[:, place] for place, name in enumerate(marked)})
    return np.stack([places[name] for name in names], axis=1)
