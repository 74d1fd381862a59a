"""From a foreign skeleton, as BVH files bring them, to rotations of SMPL's.

Every joint's world rotation *relative to the file's own T-pose* is carried to SMPL's T-pose. What the file's T-pose
lacks (arms a few degrees off horizontal, or 45° down in an A-pose) is made up limb by limb with the smallest rotation
between the bone's direction there and in SMPL's T-pose, so that arms and thighs end up pointing exactly where the
file's point.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.model import PosedSkeleton
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import align, angle_between, geodesic, nearest_rotation
from refit_mv.motion.joint_tables import TABLES, JointTable, missing_joints, plain_name

# Bones whose direction the file's skeleton and SMPL's share, and where SMPL's T-pose has them.
LIMB_BONES = (
    ("left_shoulder", "left_elbow", (1.0, 0.0, 0.0)),
    ("left_elbow", "left_wrist", (1.0, 0.0, 0.0)),
    ("left_hip", "left_knee", (0.0, -1.0, 0.0)),
    ("left_knee", "left_ankle", (0.0, -1.0, 0.0)),
    ("right_shoulder", "right_elbow", (-1.0, 0.0, 0.0)),
    ("right_elbow", "right_wrist", (-1.0, 0.0, 0.0)),
    ("right_hip", "right_knee", (0.0, -1.0, 0.0)),
    ("right_knee", "right_ankle", (0.0, -1.0, 0.0)),
)
# A first frame this close to a T-pose (mean over the limb bones) is a calibration pose and no part of the movement.
T_POSE = np.deg2rad(12.0)
# Joints of a moving person turn by less than this (20°) from one frame to the next, at 30 Hz and more.
SMEARED = np.deg2rad(20.0)
# An A-pose (arms 45-60° down, legs straight) is 22-30° on the mean; farther off, twists of the limbs would be guesses.
FARTHEST_REFERENCE = np.deg2rad(45.0)


@dataclass(frozen=True, eq=False)
class _Source:
    """A BVH skeleton seen through a joint table."""

    index: dict[str, int]
    spine: list[int]
    neck: list[int]


@dataclass(frozen=True, eq=False)
class _Reference:
    """The pose that stands for SMPL's T-pose: positions, rotations, and the person's own axes (left, up, forward as
    columns).
    """

    positions: Float[Tensor, "joint 3"]
    rotations: Float[Tensor, "joint 3 3"]
    world_from_person: Float[Tensor, "3 3"]
    deviation: float


def _match(path: Path, joint_names: tuple[str, ...]) -> _Source:
    ranked = sorted(
        ((missing_joints(table, joint_names), table.vocabulary, table) for table in TABLES),
        key=lambda item: len(item[0]),
    )
    missing, vocabulary, table = ranked[0]
    if missing:
        raise InputError(
            f"{path}: the BVH skeleton lacks {', '.join(missing[:6])} in its nearest known vocabulary,"
            f" {vocabulary}; rename its joints to Mixamo's or SMPL's names"
        )
    return _source(joint_names, table)


def _source(joint_names: tuple[str, ...], table: JointTable) -> _Source:
    place: dict[str, int] = {}
    for joint, name in enumerate(joint_names):
        place.setdefault(plain_name(name), joint)
    return _Source(
        index={joint: place[word] for joint, word in table.joints.items() if word in place},
        spine=[place[word] for word in table.spine if word in place],
        neck=[place[word] for word in table.neck if word in place],
    )


def _reference(source: _Source, pose: PosedSkeleton) -> _Reference:
    """Judge the first frame of ``pose`` as a T-pose."""
    at = {joint: pose.positions[0, index] for joint, index in source.index.items()}
    across = at["left_hip"] - at["right_hip"] + at["left_shoulder"] - at["right_shoulder"]
    trunk = at["left_shoulder"] + at["right_shoulder"] - at["left_ankle"] - at["right_ankle"]
    # The person stands along one of the file's axes: the nearest one is truly vertical, the trunk itself leans a
    # little.
    up = torch.nn.functional.one_hot(trunk.abs().argmax(), 3).to(trunk) * trunk[trunk.abs().argmax()].sign()
    left = torch.nn.functional.normalize(across - (across @ up) * up, dim=0)
    world_from_person = torch.stack([left, up, torch.linalg.cross(left, up)], dim=-1)
    angles = []
    for start, end, direction in LIMB_BONES:
        bone = torch.nn.functional.normalize(world_from_person.T @ (at[end] - at[start]), dim=0)
        angles.append(float(torch.rad2deg(torch.arccos((bone @ bone.new_tensor(direction)).clamp(-1, 1)))))
    return _Reference(pose.positions[0], pose.rotations[0], world_from_person, float(np.deg2rad(np.mean(angles))))


def _along_chain(rotations: list[Tensor], share: float) -> Tensor:
    """Geodesic interpolation in a chain of world rotations, evenly spaced from 0 (first) to 1 (last)."""
    place = share * (len(rotations) - 1)
    before = min(int(place), len(rotations) - 2)
    return geodesic(rotations[before], rotations[before + 1], rotations[before].new_tensor([place - before]))


def _world_rotations(
    source: _Source, pose: PosedSkeleton, reference: _Reference, rest: Mapping[str, Float[Tensor, "3"]]
) -> Float[Tensor, "frame 24 3 3"]:
    """world_from_joint of SMPL's joints (the world still being the file's)."""

    def carried(index: int) -> Tensor:
        return pose.rotations[:, index] @ reference.rotations[index].T @ reference.world_from_person

    completion = {}
    for start, end, _ in LIMB_BONES:
        bone = reference.positions[source.index[end]] - reference.positions[source.index[start]]
        completion[start] = align(rest[end] - rest[start], reference.world_from_person.T @ bone)
    for side in ("left", "right"):
        # A knee that is straight in the file's T-pose is straight in SMPL's, though the line through the joints'
        # centres is not: in the cgspeed skeleton the ankle lies 7° behind it, and with that taken for bending, walkers
        # would never stretch a leg.
        completion[f"{side}_knee"] = completion[f"{side}_hip"]
        # In the file's T-pose the hand continues the forearm; feet stand flat on the floor, so they need no completion.
        completion[f"{side}_wrist"] = completion[f"{side}_elbow"]

    world: dict[str, Tensor] = {"pelvis": carried(source.index["pelvis"])}
    spine = [world["pelvis"], *(carried(index) for index in source.spine)]
    for number in (1, 2, 3):
        world[f"spine{number}"] = _along_chain(spine, number / 3)
    if "head" in source.index:
        head = carried(source.index["head"])
        world["neck"] = carried(source.neck[0]) if source.neck else _along_chain([world["spine3"], head], 0.5)
        world["head"] = head
    elif source.neck:
        world["neck"] = carried(source.neck[0])
        world["head"] = carried(source.neck[-1])
    for joint, parent in zip(SMPL_JOINT_NAMES, SMPL_PARENTS, strict=True):
        if joint in world:
            continue
        if joint in source.index:
            rotation = carried(source.index[joint])
            world[joint] = rotation @ completion[joint] if joint in completion else rotation
        else:
            world[joint] = world[SMPL_JOINT_NAMES[parent]]
    return torch.stack([world[joint] for joint in SMPL_JOINT_NAMES], dim=1)


def _leg_length(joints: Mapping[str, Float[Tensor, "3"]]) -> float:
    length = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (joints[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        length += float((hip - knee).norm() + (knee - ankle).norm()) / 2
    return length


def _local(world: Float[Tensor, "frame 24 3 3"]) -> Float[Tensor, "frame 24 3 3"]:
    parents = list(SMPL_PARENTS[1:])
    return torch.cat([world[:, :1], world[:, parents].transpose(-1, -2) @ world[:, 1:]], dim=1)


def retarget(
    path: Path,
    joint_names: tuple[str, ...],
    pose: PosedSkeleton,
    bare: PosedSkeleton,
    rest: Mapping[str, Float[Tensor, "3"]],
) -> tuple[Float[Tensor, "frame 3"], Float[Tensor, "frame 24 3 3"]]:
    """The pelvis (metres, y up) and SMPL's local rotations of a figure whose joints at ``rest``, in a T-pose, are where
    ``rest`` says.

    Joints are told by name. The T-pose is the first frame of ``pose`` or the ``bare`` skeleton, whichever is the better
    one; a first frame that is a T-pose is dropped. Lengths of any unit are scaled by the legs. Either y or z may be up.

    Raises:
        InputError: a skeleton of unknown names, no T-pose or A-pose to start from, legs without length.
    """
    source = _match(path, joint_names)
    first, bare_pose = _reference(source, pose), _reference(source, bare)
    reference = first if first.deviation < bare_pose.deviation else bare_pose
    if not reference.deviation < FARTHEST_REFERENCE:
        raise InputError(
            f"{path}: neither the first frame nor the bare skeleton is a T-pose or A-pose (limbs"
            f" {np.rad2deg(reference.deviation):.0f}° off); put a T-pose in frame 1"
        )
    legs = _leg_length({joint: reference.positions[index] for joint, index in source.index.items()})
    if not legs > 0:
        raise InputError(f"{path}: the skeleton's legs have no length, so its unit cannot be told")
    world = _world_rotations(source, pose, reference, rest)
    # The file's vertical becomes y by the smallest turn, so headings stay as they are in a y-up file.
    world_from_file = align(reference.world_from_person[:, 1], legs * reference.positions.new_tensor([0.0, 1.0, 0.0]))
    world = nearest_rotation(world_from_file @ world)
    hips = (pose.positions[:, source.index["left_hip"]] + pose.positions[:, source.index["right_hip"]]) / 2
    above_hips = rest["pelvis"] - (rest["left_hip"] + rest["right_hip"]) / 2
    pelvis = hips @ world_from_file.T * (_leg_length(rest) / legs) + world[:, 0] @ above_hips
    rotations = _local(world)
    start = _first_moving_frame(rotations) if first.deviation < T_POSE else 0
    return pelvis[start:], rotations[start:]


def _first_moving_frame(rotations: Float[Tensor, "frame 24 3 3"]) -> int:
    """Where the movement begins in a file whose first frame is a T-pose; a filter may have smeared that pose into its
    neighbour.
    """
    if len(rotations) < 2:
        return 0
    leap = len(rotations) > 2 and float(angle_between(rotations[1], rotations[2]).max()) > SMEARED
    return 2 if leap else 1
