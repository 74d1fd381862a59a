"""AMASS and MoSh++ ``.npz`` files (Mahmood et al., "AMASS: Archive of motion capture as surface shapes", ICCV 2019)."""

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Motion

# Both spellings are in use: AMASS (SMPL-H) and MoSh++ (SMPL-X).
_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate")
# SMPL (24 joints), SMPL-H (52) and SMPL-X (55) as axis-angles; the first 22 joints are the same body in all of them.
_POSE_WIDTHS = (72, 156, 165)
_BODY_JOINTS = 22
# Where SMPL's mean shapes have their pelvis at rest, metres: ``trans`` leaves it out, and the file does not hold the
# body that would tell exactly.
REST_PELVIS = (0.0, -0.22, 0.03)
# p_new = _Y_UP_FROM_Z_UP @ p_old: z becomes y, y becomes -z (a quarter turn about x).
_Y_UP_FROM_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))


def read_amass(path: str | Path, up: Literal["y", "z"] = "z") -> Motion:
    """An AMASS file as a :class:`Motion` (fingers dropped, hands at rest).

    ``up`` is the file's vertical axis, which the file does not say: AMASS's own are z-up. The pelvis is right to within
    the few centimetres by which the person's rest pelvis differs from ``REST_PELVIS``.

    Raises:
        InputError: not an npz, no ``poses`` / ``trans`` / frame rate in it, shapes that do not fit, numbers that are
            not finite.
    """
    path = Path(path)
    if up not in ("y", "z"):
        raise InputError(f"{path}: up must be 'y' or 'z', got '{up}'")
    try:
        with np.load(path, allow_pickle=False) as data:
            rate_key = next((key for key in _RATE_KEYS if key in data.files), None)
            if "poses" not in data.files or "trans" not in data.files or rate_key is None:
                raise InputError(
                    f"{path}: an AMASS file holds poses, trans and mocap_framerate; this one holds"
                    f" {', '.join(data.files)[:120]}"
                )
            poses, translation = (np.asarray(data[key], dtype=np.float64) for key in ("poses", "trans"))
            fps = float(np.asarray(data[rate_key]).reshape(-1)[0])
    except InputError:
        raise
    except (OSError, ValueError, TypeError, EOFError, IndexError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(
            f"{path}: cannot read this as an AMASS npz file: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from None
    if poses.ndim != 2 or poses.shape[1] not in _POSE_WIDTHS or translation.shape != (len(poses), 3):
        raise InputError(
            f"{path}: poses must be (frames, {' or '.join(map(str, _POSE_WIDTHS))}) and trans (frames, 3); got"
            f" {poses.shape} and {translation.shape}"
        )
    if not (np.isfinite(poses).all() and np.isfinite(translation).all()):
        raise InputError(f"{path}: poses or trans hold NaN or infinite numbers")
    rotations = torch.eye(3, dtype=torch.float64).repeat(len(poses), 24, 1, 1)
    rotations[:, :_BODY_JOINTS] = exp(torch.from_numpy(poses[:, : 3 * _BODY_JOINTS]).unflatten(1, (-1, 3)))
    pelvis = torch.from_numpy(translation) + torch.tensor(REST_PELVIS, dtype=torch.float64)
    if up == "z":
        turn = torch.tensor(_Y_UP_FROM_Z_UP, dtype=torch.float64)
        pelvis = pelvis @ turn.T
        rotations[:, 0] = turn @ rotations[:, 0]
    return Motion(path.stem, fps, pelvis, rotations)
