"""What other programs call the joints, for files that are written under their names.

Spellings: Mixamo's auto-rigger, Epic's MetaHuman skeleton, Autodesk's HumanIK characterisation (Maya, MotionBuilder).
A body has three joints in its spine and one in its neck: where a vocabulary has more, the nearest ones are named and
the others are left to the program that takes the motion over.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from refit_mv.body.joints import SKELETONS, Skeleton
from refit_mv.errors import InputError
from refit_mv.files import read_text
from refit_mv.motion.motion import Motion

_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _autodesk(prefix: str) -> dict[str, str]:
    names = {
        "pelvis": "Hips",
        "spine1": "Spine",
        "spine2": "Spine1",
        "spine3": "Spine2",
        "neck": "Neck",
        "head": "Head",
        "jaw": "Jaw",
    }
    parts = {
        "hip": "UpLeg",
        "knee": "Leg",
        "ankle": "Foot",
        "foot": "ToeBase",
        "collar": "Shoulder",
        "shoulder": "Arm",
        "elbow": "ForeArm",
        "wrist": "Hand",
        # SMPL's rigid hand hangs at the knuckle of the middle finger.
        "hand": "HandMiddle1",
        "eyeball": "Eye",
        **{f"{finger}{number}": f"Hand{finger.title()}{number}" for finger in _FINGERS for number in (1, 2, 3)},
    }
    sided = {f"{side}_{part}": f"{side.title()}{word}" for side in ("left", "right") for part, word in parts.items()}
    return {ours: prefix + theirs for ours, theirs in {**names, **sided}.items()}


def _metahuman() -> dict[str, str]:
    names = {
        "pelvis": "pelvis",
        "spine1": "spine_01",
        "spine2": "spine_03",
        "spine3": "spine_05",
        "neck": "neck_01",
        "head": "head",
        "jaw": "FACIAL_C_Jaw",
        "left_eyeball": "FACIAL_L_Eye",
        "right_eyeball": "FACIAL_R_Eye",
    }
    parts = {
        "hip": "thigh",
        "knee": "calf",
        "ankle": "foot",
        "foot": "ball",
        "collar": "clavicle",
        "shoulder": "upperarm",
        "elbow": "lowerarm",
        "wrist": "hand",
        "hand": "middle_01",
        **{f"{finger}{number}": f"{finger}_0{number}" for finger in _FINGERS for number in (1, 2, 3)},
    }
    return names | {f"{side}_{part}": f"{word}_{side[0]}" for side in ("left", "right") for part, word in parts.items()}


# SMPL's are the body's own.
VOCABULARIES: Mapping[str, Mapping[str, str]] = {
    "smpl": {},
    "mixamo": _autodesk("mixamorig:"),
    "metahuman": _metahuman(),
    "hik": _autodesk(""),
}


def vocabulary(names: str) -> Mapping[str, str]:
    """Joint names of ours to those of a known vocabulary, or of a YAML file of lines ``left_hip: thigh_l``.

    Raises:
        InputError: neither a known name nor such a file.
    """
    if names in VOCABULARIES:
        return VOCABULARIES[names]
    path = Path(names)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"no joint names '{names}': choose one of {', '.join(VOCABULARIES)}, or give a YAML file")
    try:
        table = yaml.safe_load(read_text(path, "map of joint names"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(table, dict) or not all(isinstance(word, str) for pair in table.items() for word in pair):
        raise InputError(f"{path}: expected one line per joint such as 'left_hip: thigh_l'")
    known = {name for skeleton in SKELETONS.values() for name in skeleton.joint_names}
    unknown = sorted(set(table) - known)
    if unknown:
        raise InputError(f"{path}: no joint '{unknown[0]}'; write them as SMPL does: pelvis, left_hip, right_hip, …")
    return table


def renamed(motion: Motion, names: Mapping[str, str]) -> Motion:
    """The motion with its joints, its body's as well, under other names; those not in ``names`` keep theirs.

    Raises:
        InputError: two joints would have one name.
    """
    if not names:
        return motion
    ours = motion.skeleton.joint_names
    theirs = tuple(names.get(name, name) for name in ours)
    twice = sorted({name for name in theirs if theirs.count(name) > 1})
    if twice:
        raise InputError(f"two joints would be called '{twice[0]}'; give every joint a name of its own")
    body = motion.known_body
    return replace(
        motion,
        skeleton=Skeleton(theirs, motion.skeleton.parents),
        body=replace(body, model=replace(body.model, joint_names=theirs)),
    )
