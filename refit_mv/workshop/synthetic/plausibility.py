"""Which frames of a recorded motion a human body could have made.

Marker-based recordings hold frames where the solver rolled an upper arm by half a turn (the elbow then bends backwards:
CMU 13_18, most of it) or let a limb jump (13_38, 01_14). As truth for training or a benchmark, and in a prior, they do
harm.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.geometry.rotations import angle_between
from refit_mv.motion.motion import Motion

# Joint, the bone's rest direction, the direction it must not bend to: backwards for forearms, forwards and sideways for
# shins.
_FORBIDDEN = (
    ("left_elbow", (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    ("right_elbow", (-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    ("left_knee", (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    ("right_knee", (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    ("left_knee", (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    ("left_knee", (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)),
    ("right_knee", (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    ("right_knee", (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)),
)
# Sine of the bend that is tolerated in a forbidden direction: 25° covers hyperextension (10° at most) and a skeleton's
# errors in twist.
TOLERATED_SINE = 0.42
# No joint of a person turns faster than about 2,000°/s (a pitcher's shoulder reaches 7,000, in twist): 35 rad/s.
FASTEST_TURN = 35.0


def plausible_frames(motion: Motion) -> Bool[Tensor, " frame"]:
    """True where elbows and knees bend the way they can and no joint jumps to or from a neighbouring frame."""
    good = torch.ones(len(motion), dtype=torch.bool)
    for joint, bone, forbidden in _FORBIDDEN:
        rotation = motion.rotations[:, SMPL_JOINT_NAMES.index(joint)]
        bend = rotation @ rotation.new_tensor(bone) @ rotation.new_tensor(forbidden)
        good &= bend < TOLERATED_SINE
    if len(motion) > 1:
        # The root is left out: it may turn over where a file starts a new take.
        turn = angle_between(motion.rotations[:-1, 1:], motion.rotations[1:, 1:]).amax(1) * motion.fps
        jump = turn > FASTEST_TURN
        good[:-1] &= ~jump
        good[1:] &= ~jump
    return good
