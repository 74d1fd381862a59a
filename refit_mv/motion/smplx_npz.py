"""Motions as SMPL-X npz files in the layout of MoSh++, with the parts of a pose under keys of their own.

Layout: Mahmood et al., AMASS (ICCV 2019), its SMPL-X release: ``poses`` are 55 × 3 axis-angle numbers a frame.
"""

from pathlib import Path

import numpy as np
import torch

from refit_mv.body.joints import SMPLX
from refit_mv.body.model import smpl_translation
from refit_mv.files import complete_or_absent
from refit_mv.geometry import rotations as so3
from refit_mv.motion.amass import BETA_COUNT, surface_model_type
from refit_mv.motion.motion import Motion, arranged

# Where in ``poses`` the parts are.
_PARTS = {
    "root_orient": slice(0, 3),
    "pose_body": slice(3, 66),
    "pose_jaw": slice(66, 69),
    "pose_eye": slice(69, 75),
    "pose_hand": slice(75, 165),
}


def write_smplx(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's motion to ``path`` (.npz) as SMPL-X's joints have it; joints that the body lacks are unrotated.

    Frames without a pose of their own hold the nearest frame's.

    Raises:
        InputError: the motion has no body, no frame has a pose, or the file cannot be written.
    """
    body, held = motion.known_body, motion.held()
    betas = np.zeros(max(BETA_COUNT, body.model.shape_count))
    betas[: body.model.shape_count] = body.shape.numpy()
    none = torch.zeros(3, dtype=torch.float64)
    turned = arranged(so3.log(held.rotations), body.model.joint_names, SMPLX.joint_names, none)
    poses = turned.flatten(1).numpy()
    arrays = {
        "gender": np.array(body.gender),
        "surface_model_type": np.array("smplx"),
        "shape_space": np.array(surface_model_type(body.model)),
        "mocap_frame_rate": np.array(float(motion.fps)),
        "mocap_framerate": np.array(float(motion.fps)),
        "mocap_time_length": np.array(len(motion) / motion.fps),
        "trans": smpl_translation(body.model, held.params).numpy(),
        "poses": poses,
        "betas": betas,
        "num_betas": np.array(len(betas)),
        **{name: poses[:, part] for name, part in _PARTS.items()},
        "frames": motion.frame_numbers.astype(np.int64),
        "status": np.array([str(word) for word in motion.status]),
    }
    with complete_or_absent(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return (path,)
