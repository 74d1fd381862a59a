"""From a BVH file's skeleton to rotations of SMPL's.

Every joint's world rotation *relative to the file's own T-pose* is carried to SMPL's T-pose. What the file's T-pose
lacks (arms a few degrees off horizontal, or 45° down in an A-pose) is made up limb by limb with the smallest rotation
between the bone's direction there and in SMPL's T-pose, so that arms and thighs end up pointing exactly where the
file's point.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import align, angle_between, exp, log, nearest_rotation
from refit_mv.motion.bvh import BvhClip, BvhPose, pose_bvh, read_bvh_clip
from refit_mv.motion.joint_tables import TABLES, JointTable, missing_joints, plain_name
from refit_mv.motion.motion import Motion
from refit_mv.motion.standard_skeleton import standard_leg_length, standard_rest_joints

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


def _match(path: Path, clip: BvhClip) -> _Source:
    ranked = sorted(
        ((missing_joints(table, clip.joint_names), table.vocabulary, table) for table in TABLES),
        key=lambda item: len(item[0]),
    )
    missing, vocabulary, table = ranked[0]
    if missing:
        raise InputError(
            f"{path}: the BVH skeleton lacks {', '.join(missing[:6])} in its nearest known vocabulary,"
            f" {vocabulary}; rename its joints to Mixamo's or SMPL's names"
        )
    return _source(clip, table)


def _source(clip: BvhClip, table: JointTable) -> _Source:
    place: dict[str, int] = {}
    for joint, name in enumerate(clip.joint_names):
        place.setdefault(plain_name(name), joint)
    return _Source(
        index={joint: place[word] for joint, word in table.joints.items() if word in place},
        spine=[place[word] for word in table.spine if word in place],
        neck=[place[word] for word in table.neck if word in place],
    )


def _reference(source: _Source, pose: BvhPose) -> _Reference:
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
    start, end = rotations[before], rotations[before + 1]
    return start @ exp(log(start.transpose(-1, -2) @ end) * (place - before))


def _world_rotations(source: _Source, pose: BvhPose, reference: _Reference) -> Float[Tensor, "frame 24 3 3"]:
    """world_from_joint of SMPL's joints (the world still being the file's)."""

    def carried(index: int) -> Tensor:
        return pose.rotations[:, index] @ reference.rotations[index].T @ reference.world_from_person

    completion = {}
    for start, end, direction in LIMB_BONES:
        bone = reference.positions[source.index[end]] - reference.positions[source.index[start]]
        person_bone = reference.world_from_person.T @ bone
        completion[start] = align(person_bone.new_tensor(direction), person_bone)
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


def _leg_length(source: _Source, positions: Float[Tensor, "joint 3"]) -> float:
    length = 0.0
    for side in ("left", "right"):
        hip, knee, ankle = (positions[source.index[f"{side}_{part}"]] for part in ("hip", "knee", "ankle"))
        length += float((hip - knee).norm() + (knee - ankle).norm()) / 2
    return length


def _local(world: Float[Tensor, "frame 24 3 3"]) -> Float[Tensor, "frame 24 3 3"]:
    parents = list(SMPL_PARENTS[1:])
    return torch.cat([world[:, :1], world[:, parents].transpose(-1, -2) @ world[:, 1:]], dim=1)


def read_bvh(path: str | Path) -> Motion:
    """A BVH file as a :class:`Motion`.

    Joints are told by name (Daz / Poser as in the cgspeed conversion of CMU, Mixamo, MotionBuilder, SMPL). The T-pose
    is the first frame or the bare skeleton, whichever is the better one; a first frame that is a T-pose is dropped.
    Lengths of any unit are scaled by the person's legs to a stature of 1.70 m. Either y or z may be up in the file.

    Raises:
        InputError: not BVH, broken or truncated, a skeleton of unknown names, no T-pose or A-pose to start from.
    """
    path = Path(path)
    clip = read_bvh_clip(path)
    source = _match(path, clip)
    pose = pose_bvh(clip)
    first, bare = _reference(source, pose), _reference(source, pose_bvh(clip, rest=True))
    reference = first if first.deviation < bare.deviation else bare
    if not reference.deviation < FARTHEST_REFERENCE:
        raise InputError(
            f"{path}: neither the first frame nor the bare skeleton is a T-pose or A-pose (limbs"
            f" {np.rad2deg(reference.deviation):.0f}° off); put a T-pose in frame 1"
        )
    legs = _leg_length(source, reference.positions)
    if not legs > 0:
        raise InputError(f"{path}: the skeleton's legs have no length, so its unit cannot be told")
    world = _world_rotations(source, pose, reference)
    # The file's vertical becomes y by the smallest turn, so headings stay as they are in a y-up file.
    world_from_file = align(reference.world_from_person[:, 1], legs * reference.positions.new_tensor([0.0, 1.0, 0.0]))
    world = nearest_rotation(world_from_file @ world)
    hips = (pose.positions[:, source.index["left_hip"]] + pose.positions[:, source.index["right_hip"]]) / 2
    rest = standard_rest_joints()
    above_hips = rest[0] - (rest[1] + rest[2]) / 2
    pelvis = hips @ world_from_file.T * (standard_leg_length() / legs) + world[:, 0] @ above_hips
    rotations = _local(world)
    start = _first_moving_frame(rotations) if first.deviation < T_POSE else 0
    return Motion(clip.name, clip.fps, pelvis[start:], rotations[start:])


def _first_moving_frame(rotations: Float[Tensor, "frame 24 3 3"]) -> int:
    """Where the movement begins in a file whose first frame is a T-pose; a filter may have smeared that pose into its
    neighbour.
    """
    if len(rotations) < 2:
        return 0
    leap = len(rotations) > 2 and float(angle_between(rotations[1], rotations[2]).max()) > SMEARED
    return 2 if leap else 1
