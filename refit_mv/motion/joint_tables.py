"""Which joint of which BVH vocabulary plays which part on SMPL's tree.

Each vocabulary is tried as a whole: one word means different joints in different ones ("LeftShoulder" is Mixamo's
collar bone but SMPL's shoulder, "LeftFoot" is Mixamo's ankle but SMPL's toes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

# The joints no motion can do without. Collars, toes, hands, neck or head may be missing and then follow their parents.
REQUIRED = (
    "pelvis",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
)


@dataclass(frozen=True)
class JointTable:
    """``joints`` maps SMPL names to names of this vocabulary (lower case, letters and digits only), ``spine`` and
    ``neck`` list chains from below.
    """

    vocabulary: str
    joints: dict[str, str]
    spine: tuple[str, ...]
    neck: tuple[str, ...]


def _both_sides(left: str, right: str, parts: dict[str, str]) -> dict[str, str]:
    return {
        f"{side}_{part}": f"{prefix}{word}"
        for side, prefix in (("left", left), ("right", right))
        for part, word in parts.items()
    }


_DAZ_PARTS = {
    "hip": "thigh",
    "knee": "shin",
    "ankle": "foot",
    "collar": "collar",
    "shoulder": "shldr",
    "elbow": "forearm",
    "wrist": "hand",
}
_MIXAMO_PARTS = {
    "hip": "upleg",
    "knee": "leg",
    "ankle": "foot",
    "foot": "toebase",
    "collar": "shoulder",
    "shoulder": "arm",
    "elbow": "forearm",
    "wrist": "hand",
}
_SMPL_PARTS = {name: name for name in ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist", "hand")}

TABLES = (
    JointTable(
        "Daz / Poser (the cgspeed conversion of CMU)",
        {"pelvis": "hip", "head": "head", **_both_sides("l", "r", _DAZ_PARTS)},
        spine=("abdomen", "chest"),
        neck=("neck",),
    ),
    JointTable(
        "Mixamo / MotionBuilder",
        {"pelvis": "hips", "head": "head", **_both_sides("left", "right", _MIXAMO_PARTS)},
        spine=("lowerback", "spine", "spine1", "spine2", "spine3"),
        neck=("neck", "neck1"),
    ),
    JointTable(
        "SMPL",
        {"pelvis": "pelvis", "head": "head", **_both_sides("left", "right", _SMPL_PARTS)},
        spine=("spine1", "spine2", "spine3"),
        neck=("neck",),
    ),
    JointTable(
        "SMPL, short",
        {"pelvis": "pelvis", "head": "head", **_both_sides("l", "r", _SMPL_PARTS)},
        spine=("spine1", "spine2", "spine3"),
        neck=("neck",),
    ),
)


def plain_name(name: str) -> str:
    """A joint's name without namespace (``mixamorig:``), case and punctuation."""
    return "".join(letter for letter in name.rpartition(":")[2].lower() if letter.isalnum())


def missing_joints(table: JointTable, names: Sequence[str]) -> list[str]:
    """Required SMPL joints (and "spine") that a file with these joint names cannot supply under ``table``."""
    present = {plain_name(name) for name in names}
    missing = [joint for joint in REQUIRED if table.joints[joint] not in present]
    return missing if present.intersection(table.spine) else [*missing, "spine"]
