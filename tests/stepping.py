"""Somebody who steps on the spot: it is known to the bit which feet stand when, and where the floor is."""

import numpy as np
import torch
from jaxtyping import Bool

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import sole_skin
from refit_mv.geometry.rotations import exp
from refit_mv.workshop.synthetic.session import random_shape

# Seconds that a foot is up, and that both stand between.
UP, DOWN = 0.4, 0.3


def stepping(body: BodyModel, seconds: float, fps: float) -> tuple[BodyParams, Bool[np.ndarray, "frame point"]]:
    """The motion, y up and the floor at 0, and which points stand."""
    time = np.arange(0, seconds, 1 / fps)
    shape = random_shape(body, 1, np.random.default_rng(0)).expand(len(time), -1).clone()
    rotations = torch.eye(3, dtype=torch.float64).repeat(len(time), body.joint_count, 1, 1)
    stands = np.ones((len(time), 4), dtype=bool)
    cycle = 2 * (UP + DOWN)
    for number, side in enumerate(("left", "right")):
        phase = (time - DOWN - number * (UP + DOWN)) % cycle
        lift = np.where(phase < UP, np.sin(np.pi * phase / UP) ** 2, 0.0)
        for name, turn in (("hip", -0.8), ("knee", 1.4), ("ankle", -0.4)):
            vectors = torch.zeros(len(time), 3, dtype=torch.float64)
            vectors[:, 0] = torch.from_numpy(turn * lift)
            rotations[:, body.joint_names.index(f"{side}_{name}")] = exp(vectors)
        stands[:, 2 * number : 2 * number + 2] = lift[:, None] == 0
    for side, down in (("left", 1.2), ("right", -1.2)):
        vectors = torch.tensor([0.0, 0.0, -down], dtype=torch.float64).expand(len(time), 3)
        rotations[:, body.joint_names.index(f"{side}_shoulder")] = exp(vectors)
    params = BodyParams(torch.zeros(len(time), 3, dtype=torch.float64), rotations, shape)
    lowest = pose_landmarks(sole_skin(body), params).positions[..., 1].min()
    params.pelvis[:, 1] -= lowest
    return params, stands
