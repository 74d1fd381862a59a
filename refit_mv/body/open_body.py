"""The embedded open body: free to use, present in every installation."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.model import BodyModel

OPEN_BODY_FILE = Path(__file__).parent / "assets" / "open_body.npz"


@cache
def open_body() -> BodyModel:
    """The open body: SMPL's 24 joints, 10 shape coefficients of about unit variance, no pose correctives. Loaded once
    and shared; float64 on the CPU.

    Derived from MakeHuman's CC0 human by ``refit_mv.workshop.builders.body_builder``; see
    ``refit_mv/body/assets/README.md``.
    """
    with np.load(OPEN_BODY_FILE, allow_pickle=False) as arrays:

        def tensor(key: str) -> torch.Tensor:
            return torch.from_numpy(arrays[key].astype(np.float64))

        joint_regressor, landmark_regressor = (
            tensor("J_regressor"),
            tensor("landmark_regressor"),
        )
        return BodyModel(
            name="open",
            joint_names=SMPL_JOINT_NAMES,
            parents=SMPL_PARENTS,
            template=tensor("v_template"),
            shape_directions=tensor("shapedirs"),
            faces=torch.from_numpy(arrays["f"].astype(np.int64)),
            # Stored in single precision: made to sum to one in double.
            joint_regressor=joint_regressor / joint_regressor.sum(1, keepdim=True),
            skin_weights=tensor("weights"),
            pose_directions=None,
            landmark_names=tuple(str(name) for name in arrays["landmark_names"]),
            landmark_regressor=landmark_regressor / landmark_regressor.sum(1, keepdim=True),
        )
