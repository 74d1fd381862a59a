"""What a person's results depend on, as one word, so that a resumed run cannot mix two fits."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from refit_mv.body.model import BodyModel
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.observations import Observations, PersonObservations

# Only what a recipe changes is part of the word. So this one changes with the defaults, and with whatever else makes
# new numbers from the same inputs.
NUMBERS = "refit-mv fit 7"


def as_plain(value: object) -> Any:
    """Dataclasses, tuples, paths and words as the dicts, lists and strings that JSON knows."""
    if is_dataclass(value):
        return {each.name: as_plain(getattr(value, each.name)) for each in fields(value) if each.init}
    if isinstance(value, Mapping):
        return {str(key): as_plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_plain(each) for each in value]
    return str(value) if isinstance(value, (Path, Enum)) else value


def differences(value: Any, default: Any = None) -> dict[str, Any]:
    """What of a dataclass differs from ``default`` (None: from what it is when nothing is said), as plain values. A
    field that somebody adds later, and leaves alone here, makes no difference.
    """
    default = type(value)() if default is None else default
    pairs = {each.name: (getattr(value, each.name), getattr(default, each.name)) for each in fields(value) if each.init}
    return {
        name: differences(mine, usual) if is_dataclass(mine) and type(mine) is type(usual) else as_plain(mine)
        for name, (mine, usual) in pairs.items()
        if mine != usual
    }


def fingerprint(
    rig: CameraRig, observations: PersonObservations | Observations, body: BodyModel, recipe: object, optimizer: str
) -> str:
    """The same for the same cameras, keypoints (of one person, or all there are), body and settings, whatever they are
    called in files.

    ``recipe`` is a dataclass all of whose fields have defaults.
    """
    digest = hashlib.sha256()

    def add(name: str, value: np.ndarray | torch.Tensor) -> None:
        array = np.ascontiguousarray(value.numpy(force=True) if isinstance(value, torch.Tensor) else value)
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())

    for camera in rig:
        digest.update(f"{camera.name} {camera.lens} ".encode())
        add("matrix", camera.matrix)
        add("distortion", camera.distortion)
        add("rotation", camera.cam_from_world.rotation)
        add("translation", camera.cam_from_world.translation)
    for name in ("pixels", "confidence", "frame_numbers"):
        add(name, getattr(observations, name))
    if observations.profile is not None:
        for name, value in vars(observations.profile.habits).items():
            add(f"profile {name}", value)
    for name, value in vars(body).items():
        if isinstance(value, torch.Tensor):
            add(name, value)
    words = {
        "numbers": NUMBERS,
        "views": observations.view_names,
        "keypoints": observations.keypoints.keypoint_names,
        "fps": observations.fps,
        "joints": body.joint_names,
        "parents": body.parents,
        "landmarks": body.landmark_names,
        "optimizer": optimizer,
        "recipe": differences(recipe),
    }
    digest.update(json.dumps(as_plain(words), sort_keys=True).encode())
    return digest.hexdigest()
