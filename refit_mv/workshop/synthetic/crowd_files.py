"""Scenes of several people as session folders, with the truth of all of them beside what was seen."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.session_files import TRUTH_FILE, new_folder, read_truth, write_seen

_PARTS = ("pelvis", "rotations", "shape")


def write_crowd(session: CrowdSession, folder: str | Path, write_rig: Callable[[CameraRig, Path], object]) -> None:
    """Write the scene as ``session_files.write_session`` writes one person.

    ``truth.npz`` holds the first person under the names that a session of one has, and of all people
    ``people_pelvis``, ``people_rotations`` and ``people_shape`` (a person axis before the frames), ``known`` (person,
    frame, view: which in each file's list is theirs, −1 where none is), and ``owner`` and ``joint_owner`` as
    :class:`CrowdSession` has them.

    Raises:
        InputError: the folder exists and is not empty.
    """
    observations, known = session.observations, session.known
    pelvis, rotations, shape = (
        np.stack([getattr(params, part).numpy() for params in session.truth]) for part in _PARTS
    )
    with new_folder(Path(folder)):
        write_seen(session.rig, observations, folder, write_rig)
        np.savez_compressed(
            Path(folder) / TRUTH_FILE,
            pelvis=pelvis[0],
            rotations=rotations[0],
            shape=shape[0],
            people_pelvis=pelvis,
            people_rotations=rotations,
            people_shape=shape,
            subject=known[0],
            known=known,
            owner=session.owner,
            joint_owner=session.joint_owner,
            body=session.body_name,
            keypoints=observations.keypoints.name,
            fps=observations.fps,
        )


def read_people(folder: str | Path) -> tuple[BodyParams, ...]:
    """The true parameters of everybody in a synthetic session, be it of one person or of several.

    Raises:
        InputError: no truth there, or a damaged one.
    """
    first, path = read_truth(folder), Path(folder) / TRUTH_FILE
    try:
        with np.load(path, allow_pickle=False) as data:
            if "people_pelvis" not in data:
                return (first,)
            parts = [torch.from_numpy(data[f"people_{part}"]) for part in _PARTS]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot read the truth of a synthetic session ({error})") from None
    return tuple(BodyParams(*person) for person in zip(*parts, strict=True))
