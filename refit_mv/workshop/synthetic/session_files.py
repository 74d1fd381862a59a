"""Synthetic sessions as folders: the Pose2Sim layout, with the truth beside it."""

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.files import alone_in, entries, found_at, regular_file, writing
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.observations import Observations
from refit_mv.workshop.synthetic.session import SyntheticSession

TRUTH_FILE = "truth.npz"


def write_session(
    session: SyntheticSession, folder: str | Path, write_rig: Callable[[CameraRig, Path], object]
) -> None:
    """Write ``calibration/Calib.toml`` (through ``write_rig(rig, path)``), ``pose/<view>_json/<view>_000000.json`` as
    OpenPose does, and ``truth.npz``.

    The truth holds ``pelvis``, ``rotations`` (matrices) and ``shape`` as :class:`BodyParams` has them, ``body``,
    ``keypoints`` and ``fps``, and ``subject``: the place of the subject in each file's list of people, -1 where absent.

    Raises:
        InputError: the folder exists and is not empty, or cannot be written to.
    """
    observations = session.observations
    with new_folder(Path(folder)):
        write_seen(session.rig, observations, folder, write_rig)
        np.savez_compressed(
            Path(folder) / TRUTH_FILE,
            pelvis=session.truth.pelvis.numpy(),
            rotations=session.truth.rotations.numpy(),
            shape=session.truth.shape.numpy(),
            subject=_listed_subject(session),
            body=session.body_name,
            keypoints=observations.keypoints.name,
            fps=observations.fps,
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """An empty folder to write a session to, made if need be, that no other process writes to meanwhile.

    Raises:
        InputError: it exists and is not empty, or cannot be written to.
    """
    with writing(folder):
        if found_at(folder) is not None and (not folder.is_dir() or entries(folder)):
            raise InputError(
                f"{folder}: exists and is not an empty folder; choose another place for the synthetic session"
            )
        folder.mkdir(parents=True, exist_ok=True)
        with alone_in(folder):
            yield


def write_seen(
    rig: CameraRig, observations: Observations, folder: str | Path, write_rig: Callable[[CameraRig, Path], object]
) -> None:
    """Write what a session shows, as :func:`write_session` does, without the truth, into a
    :func:`new_folder`.
    """
    folder = Path(folder)
    (folder / "calibration").mkdir()
    write_rig(rig, folder / "calibration" / "Calib.toml")
    values = np.concatenate([observations.pixels, observations.confidence[..., None]], axis=-1).round(4)
    for view, name in enumerate(observations.view_names):
        view_folder = folder / "pose" / f"{name}_json"
        view_folder.mkdir(parents=True)
        for frame, number in enumerate(observations.frame_numbers):
            people = [
                {"person_id": [-1], "pose_keypoints_2d": person.reshape(-1).tolist()}
                for person in values[frame, view]
                if (person[:, 2] > 0).any()
            ]
            (view_folder / f"{name}_{number:06d}.json").write_text(json.dumps({"version": 1.3, "people": people}))


def _listed_subject(session: SyntheticSession) -> Int[np.ndarray, "frame view"]:
    """The subject's place in each file's list of people, which leaves out whoever was not seen at all; -1: absent."""
    seen = np.asarray((session.observations.confidence > 0).any(-1))
    place = np.cumsum(seen, axis=2) - 1
    frame, view = np.indices(session.subject.shape)
    return np.where(seen[frame, view, session.subject], place[frame, view, session.subject], -1)


def read_truth(folder: str | Path) -> BodyParams:
    """The true parameters of a session that :func:`write_session` wrote.

    Raises:
        InputError: no truth there, or a damaged one.
    """
    path = Path(folder) / TRUTH_FILE
    try:
        with np.load(regular_file(path, "truth"), allow_pickle=False) as data:
            return BodyParams(*(torch.from_numpy(data[key]) for key in ("pelvis", "rotations", "shape")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot read the truth of a synthetic session ({error})") from None
