"""Poses that people can take although walking and boxing recordings hold none of them: joint limits must not cut these.

Ranges of motion are the usual clinical ones (American Academy of Orthopaedic Surgeons, "Joint Motion: Method of
Measuring and Recording", 1965; Norkin & White, "Measurement of Joint Motion"), turned into rotations of SMPL's joints
from the T-pose for the left side; the right side follows by mirroring.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.rotations import align, exp

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def _turn(axis: tuple[float, float, float], degrees: float) -> Tensor:
    return exp(torch.deg2rad(torch.tensor(degrees, dtype=torch.float64)) * torch.tensor(axis, dtype=torch.float64))


def _grid(*axes: tuple[tuple[float, float, float], tuple[float, ...]]) -> Float[Tensor, "pose 3 3"]:
    """All products of turns about the given axes, the first axis outermost."""
    poses = []
    for degrees in product(*(values for _, values in axes)):
        rotation = torch.eye(3, dtype=torch.float64)
        for (axis, _), angle in zip(axes, degrees, strict=True):
            rotation = rotation @ _turn(axis, angle)
        poses.append(rotation)
    return torch.stack(poses)


def _arm_directions() -> list[tuple[float, float, float]]:
    """Where the left upper arm can point in the frame of the collar (x left, y up, z forward)."""
    return [
        (0.0, 1.0, 0.0),  # straight up
        (0.4, 0.9, 0.3),
        (1.0, 0.0, 0.0),  # sideways
        (0.7, 0.7, 0.0),
        (0.0, 0.0, 1.0),  # forward
        (0.0, 0.7, 0.7),
        (-0.6, 0.0, 0.8),  # across the chest
        (-0.4, -0.6, 0.7),
        (0.1, -1.0, 0.0),  # hanging
        (0.3, -0.8, -0.5),  # behind the back
        (0.6, 0.0, -0.5),
        (0.5, 0.7, -0.3),
    ]


def reachable_poses() -> dict[str, Float[Tensor, "pose 3 3"]]:
    """Local rotations of left and middle joints at the ends of their ranges, by joint name."""
    x = torch.tensor(_X, dtype=torch.float64)
    arms = torch.stack([align(x, torch.tensor(direction, dtype=torch.float64)) for direction in _arm_directions()])
    arm_twists = _grid((_X, (-80.0, 0.0, 80.0)))
    trunk = _grid((_X, (-12.0, 0.0, 30.0)), (_Z, (-15.0, 0.0, 15.0)), (_Y, (-18.0, 0.0, 18.0)))
    return {
        # Flexion is negative about x (the thigh swings forward), extension positive; abduction lifts the left leg to
        # +x, which is positive about z.
        "left_hip": _grid((_X, (-125.0, -60.0, 0.0, 25.0)), (_Z, (-25.0, 0.0, 50.0)), (_Y, (-40.0, 0.0, 40.0))),
        "left_knee": _grid((_X, (-5.0, 60.0, 150.0)), (_Y, (-25.0, 0.0, 25.0))),
        "left_ankle": _grid((_X, (-30.0, 0.0, 50.0)), (_Z, (-25.0, 0.0, 20.0)), (_Y, (-25.0, 0.0, 25.0))),
        "left_foot": _grid((_X, (-70.0, 0.0, 30.0))),
        # Bending, leaning and twisting spread over three joints: 30°, 15° and 18° each make 90° flexion, 45° and 54° in
        # all.
        "spine1": trunk,
        "spine2": trunk,
        "spine3": trunk,
        "neck": _grid((_X, (-35.0, 0.0, 35.0)), (_Z, (-25.0, 0.0, 25.0)), (_Y, (-45.0, 0.0, 45.0))),
        "head": _grid((_X, (-35.0, 0.0, 35.0)), (_Z, (-25.0, 0.0, 25.0)), (_Y, (-45.0, 0.0, 45.0))),
        "left_collar": _grid((_Z, (-12.0, 0.0, 40.0)), (_Y, (-25.0, 0.0, 20.0))),
        "left_shoulder": (arms[:, None] @ arm_twists).flatten(0, 1),
        # The left forearm bends forward about -y; pronation and supination are shared between elbow and wrist.
        "left_elbow": _grid((_Y, (-150.0, -60.0, 5.0)), (_X, (-80.0, 0.0, 80.0))),
        "left_wrist": _grid((_Z, (-80.0, 0.0, 70.0)), (_Y, (-35.0, 0.0, 25.0)), (_X, (-45.0, 0.0, 45.0))),
        "left_hand": _grid((_Z, (-60.0, 0.0, 40.0))),
    }
