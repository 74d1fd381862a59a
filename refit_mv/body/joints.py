"""Joints of the SMPL family: their names, in the order of the official models, and what hangs on what.

File formats that spell a joint otherwise say so in their own module; inside there is one name for each.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Skeleton:
    """Named joints, parents before their children; the root's parent is -1."""

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joint_names)


def _skeleton(parent_of: dict[str, str]) -> Skeleton:
    names = tuple(parent_of)
    return Skeleton(names, tuple(names.index(parent) if parent else -1 for parent in parent_of.values()))


# What all three skeletons begin with, each joint with its parent.
_BODY = {
    "pelvis": "",
    "left_hip": "pelvis",
    "right_hip": "pelvis",
    "spine1": "pelvis",
    "left_knee": "left_hip",
    "right_knee": "right_hip",
    "spine2": "spine1",
    "left_ankle": "left_knee",
    "right_ankle": "right_knee",
    "spine3": "spine2",
    "left_foot": "left_ankle",
    "right_foot": "right_ankle",
    "neck": "spine3",
    "left_collar": "spine3",
    "right_collar": "spine3",
    "head": "neck",
    "left_shoulder": "left_collar",
    "right_shoulder": "right_collar",
    "left_elbow": "left_shoulder",
    "right_elbow": "right_shoulder",
    "left_wrist": "left_elbow",
    "right_wrist": "right_elbow",
}
_FACE = {"jaw": "head", "left_eyeball": "head", "right_eyeball": "head"}
_FINGERS = {
    f"{side}_{finger}{number}": f"{side}_{finger}{number - 1}" if number > 1 else f"{side}_wrist"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for number in (1, 2, 3)
}

BODY_JOINT_NAMES = tuple(_BODY)
FINGER_JOINT_NAMES = tuple(_FINGERS)
# 24 joints, with a rigid hand on each wrist; 52 and 55, with fingers in its place.
SMPL = _skeleton({**_BODY, "left_hand": "left_wrist", "right_hand": "right_wrist"})
SMPLH = _skeleton({**_BODY, **_FINGERS})
SMPLX = _skeleton({**_BODY, **_FACE, **_FINGERS})
SKELETONS = {"smpl": SMPL, "smplh": SMPLH, "smplx": SMPLX}

SMPL_JOINT_NAMES, SMPL_PARENTS = SMPL.joint_names, SMPL.parents
