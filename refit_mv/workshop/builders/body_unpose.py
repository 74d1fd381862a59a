"""From MakeHuman's rest pose to SMPL's: the 24 joints and the exact T-pose.

Arms lie along +-x with straight elbows, palms down; legs hang straight down; feet point along +z with their soles as
flat as they were.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.workshop.builders.body_rig import LEFT_RIGHT_JOINTS
from refit_mv.workshop.builders.body_source import HumanSample, HumanSource

# Where SMPL's template has its pelvis, near enough: a body of either kind stands at the same height for the same
# ``trans``.
PELVIS_AT = np.array([0.0, -0.22, 0.03])

Vectors = Float[np.ndarray, "sample 3"]
Rotations = Float[np.ndarray, "sample 3 3"]

# MakeHuman's hip joints lie 11 cm from the midline, SMPL's 7 and anatomy's about 9; brought in this far, thighs of the
# mean body do not touch.
HIP_INWARD = 0.88
# Lifting an arm from MakeHuman's 50 degrees to the horizontal turns the collar bone too (scapulohumeral rhythm,
# damped); without it the shoulder pinches.
COLLAR_LIFT = np.deg2rad(8.0)

# Joints, each with the one before it on the limb, that sit amid a ring of skin; the ring's half width and what is still
# the same limb (m).
RINGED_JOINTS = {"knee": "hip", "elbow": "shoulder", "ankle": "knee"}
RING_HALF_WIDTH = 0.015
RING_RADIUS = 0.12

FINGERS = ("finger2-1", "finger3-1", "finger4-1", "finger5-1")
TOES = ("toe1-1", "toe2-1", "toe3-1", "toe4-1", "toe5-1")


def joint_sites(
    names: tuple[str, ...], heads: Float[np.ndarray, "sample bone 3"]
) -> Float[np.ndarray, "sample joint 3"]:
    """SMPL's 24 joints in MakeHuman's rest pose, at the heights on the spine where SMPL has them."""

    def bone(name: str) -> Vectors:
        return heads[:, names.index(name)]

    hips = 0.5 * (bone("upperleg01.L") + bone("upperleg01.R"))
    site = {
        "pelvis": hips + 0.15 * (bone("neck02") - hips),
        "spine1": 0.4 * bone("spine03") + 0.6 * bone("spine02"),
        "spine2": 0.4 * bone("spine02") + 0.6 * bone("spine01"),
        "spine3": bone("spine01"),
        "neck": bone("neck02"),
        "head": bone("head"),
    }
    for side, suffix in (("left", ".L"), ("right", ".R")):
        site[f"{side}_hip"] = bone(f"upperleg01{suffix}") * np.array([HIP_INWARD, 1.0, 1.0])
        site[f"{side}_knee"] = bone(f"lowerleg01{suffix}")
        site[f"{side}_ankle"] = bone(f"foot{suffix}")
        site[f"{side}_foot"] = np.mean([bone(toe + suffix) for toe in TOES], axis=0)
        site[f"{side}_collar"] = 0.5 * (bone(f"clavicle{suffix}") + bone(f"shoulder01{suffix}"))
        site[f"{side}_shoulder"] = bone(f"upperarm01{suffix}")
        site[f"{side}_elbow"] = bone(f"lowerarm01{suffix}")
        site[f"{side}_wrist"] = bone(f"wrist{suffix}")
        site[f"{side}_hand"] = np.mean([bone(finger + suffix) for finger in FINGERS], axis=0)
    return np.stack([site[name] for name in SMPL_JOINT_NAMES], axis=1)


def follow_skin(
    source: HumanSource, sample: HumanSample, sites: Float[np.ndarray, "sample joint 3"]
) -> Float[np.ndarray, "sample joint 3"]:
    """Knees, elbows and ankles where the ring of skin around them went. MakeHuman's shape targets move the helpers that
    mark the joints less well than the skin: in the average adult the knee's helper has slipped 21 mm up the thigh, with
    the ring it is half-way between hip and ankle, as in Winter's tables.
    """
    base = joint_sites(source.bone_names, source.bone_heads[None])[0]
    index = {name: number for number, name in enumerate(SMPL_JOINT_NAMES)}
    corrected = sites.copy()
    for end, start in RINGED_JOINTS.items():
        for side in ("left", "right"):
            centre, before = base[index[f"{side}_{end}"]], base[index[f"{side}_{start}"]]
            along = (centre - before) / np.linalg.norm(centre - before)
            away = source.template - centre
            ring = (np.abs(away @ along) < RING_HALF_WIDTH) & (np.linalg.norm(away, axis=1) < RING_RADIUS)
            moved = (sample.vertices[:, ring] - source.template[ring]).mean(1)
            corrected[:, index[f"{side}_{end}"]] = centre + moved
    return corrected


def frame_rotation(
    along: Vectors,
    beside: Vectors,
    target_along: Float[np.ndarray, "3"],
    target_beside: Float[np.ndarray, "3"],
) -> Rotations:
    """Rotations that carry ``along`` onto ``target_along`` exactly and ``beside`` into the half plane of
    ``target_beside``.
    """

    def basis(first: Vectors, second: Vectors) -> Rotations:
        first = first / np.linalg.norm(first, axis=-1, keepdims=True)
        second = second - np.sum(first * second, axis=-1, keepdims=True) * first
        second = second / np.linalg.norm(second, axis=-1, keepdims=True)
        return np.stack([first, second, np.cross(first, second)], axis=-1)

    source = basis(along, beside)
    target = basis(target_along[None], target_beside[None])
    return target @ np.swapaxes(source, -1, -2)


def twist_about(axis: Float[np.ndarray, "3"], angle: Float[np.ndarray, " sample"]) -> Rotations:
    cross = np.cross(np.eye(3), axis)
    sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    return np.eye(3) + sine * cross + (1.0 - cosine) * (cross @ cross)


class Segments:
    """Rigid motions of MakeHuman's bones: turn, then move. Bones that are never put anywhere keep still."""

    def __init__(self, names: tuple[str, ...], samples: int) -> None:
        self.names = names
        self.turns = np.tile(np.eye(3), (samples, len(names), 1, 1))
        self.moves = np.zeros((samples, len(names), 3))

    def put(
        self,
        stems: tuple[str, ...],
        suffix: str,
        turn: Rotations,
        pivot: Vectors,
        place: Vectors,
    ) -> None:
        """Every bone of that side whose name begins with a stem: ``pivot`` goes to ``place`` and everything turns about
        it.
        """
        move = place - np.einsum("sij,sj->si", turn, pivot)
        for index, name in enumerate(self.names):
            if name.startswith(stems) and name.endswith(suffix):
                self.turns[:, index], self.moves[:, index] = turn, move


def t_pose_segments(
    names: tuple[str, ...],
    heads: Float[np.ndarray, "sample bone 3"],
    sites: Float[np.ndarray, "sample joint 3"],
) -> tuple[Segments, Float[np.ndarray, "sample joint 3"]]:
    """How each bone moves into the T-pose, and the 24 joints there."""
    joint: dict[str, Vectors] = {name: sites[:, index] for index, name in enumerate(SMPL_JOINT_NAMES)}
    posed = {name: value.copy() for name, value in joint.items()}
    segments = Segments(names, len(sites))
    up, forward = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])

    def travel(turn: Rotations, start: str, end: str) -> None:
        posed[end] = posed[start] + np.einsum("sij,sj->si", turn, joint[end] - joint[start])

    for side, suffix, outward in (("left", ".L", 1.0), ("right", ".R", -1.0)):
        out = np.array([outward, 0.0, 0.0])
        shoulder, elbow, wrist, hand = (f"{side}_{name}" for name in ("shoulder", "elbow", "wrist", "hand"))
        upper, fore, palm = (
            joint[elbow] - joint[shoulder],
            joint[wrist] - joint[elbow],
            joint[hand] - joint[wrist],
        )
        lift = twist_about(forward, np.full(len(sites), outward * COLLAR_LIFT))
        inner = heads[:, names.index(f"clavicle{suffix}")]
        segments.put(("clavicle", "shoulder01"), suffix, lift, inner, inner)
        for name in (f"{side}_collar", shoulder):
            posed[name] = inner + np.einsum("sij,sj->si", lift, joint[name] - inner)
        # The elbow of the rest pose is bent by about 50 degrees, which tells its hinge; straight arms with palms down
        # bend about the vertical.
        hinge = np.cross(upper, fore)
        down = -outward * up
        turn_upper = frame_rotation(upper, hinge, out, down)
        turn_fore = frame_rotation(fore, hinge, out, down)
        across = heads[:, names.index(f"finger2-1{suffix}")] - heads[:, names.index(f"finger5-1{suffix}")]
        turn_hand = frame_rotation(palm, across, out, forward)
        # What the hand turns about the forearm beyond the forearm itself is spread along it, as the radius does.
        beyond = turn_hand @ np.swapaxes(turn_fore, -1, -2)
        twist = np.arctan2(beyond[:, 2, 1], beyond[:, 1, 1]) * outward
        segments.put(("upperarm",), suffix, turn_upper, joint[shoulder], posed[shoulder])
        travel(turn_upper, shoulder, elbow)
        for bone, share in (("lowerarm01", 0.2), ("lowerarm02", 0.7)):
            segments.put(
                (bone,),
                suffix,
                twist_about(out, share * twist) @ turn_fore,
                joint[elbow],
                posed[elbow],
            )
        travel(turn_fore, elbow, wrist)
        segments.put(
            ("wrist", "finger", "metacarpal"),
            suffix,
            turn_hand,
            joint[wrist],
            posed[wrist],
        )
        travel(turn_hand, wrist, hand)

        hip, knee, ankle, foot = (f"{side}_{name}" for name in ("hip", "knee", "ankle", "foot"))
        ahead = np.broadcast_to(forward, joint[hip].shape)
        turn_thigh = frame_rotation(joint[knee] - joint[hip], ahead, -up, forward)
        turn_shin = frame_rotation(joint[ankle] - joint[knee], ahead, -up, forward)
        toes = (joint[foot] - joint[ankle]) * np.array([1.0, 0.0, 1.0])
        turn_foot = frame_rotation(toes, np.broadcast_to(up, toes.shape), forward, up)
        segments.put(("upperleg",), suffix, turn_thigh, joint[hip], posed[hip])
        travel(turn_thigh, hip, knee)
        segments.put(("lowerleg",), suffix, turn_shin, joint[knee], posed[knee])
        travel(turn_shin, knee, ankle)
        segments.put(("foot", "toe"), suffix, turn_foot, joint[ankle], posed[ankle])
        travel(turn_foot, ankle, foot)
    return segments, np.stack([posed[name] for name in SMPL_JOINT_NAMES], axis=1)


@dataclass(frozen=True)
class UnposedSample:
    """People in the T-pose, their pelvis joints at one place: skin, SMPL's joints, and the heads of MakeHuman's bones
    carried along. Metres.
    """

    vertices: Float[np.ndarray, "sample vertex 3"]
    joints: Float[np.ndarray, "sample joint 3"]
    bone_heads: Float[np.ndarray, "sample bone 3"]


def symmetric(people: UnposedSample, bone_names: tuple[str, ...], mirror: Int[np.ndarray, " vertex"]) -> UnposedSample:
    """The mean of everyone and their mirror image. MakeHuman's skin is symmetric to the last bit but its bones are not,
    by up to 2 mm.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    other_side = {"L": "R", "R": "L"}
    bones = []
    for name in bone_names:
        stem, _, side = name.partition(".")
        bones.append(bone_names.index(f"{stem}.{other_side[side]}" if side else name))
    return UnposedSample(
        0.5 * (people.vertices + people.vertices[:, mirror] * flip),
        0.5 * (people.joints + people.joints[:, LEFT_RIGHT_JOINTS] * flip),
        0.5 * (people.bone_heads + people.bone_heads[:, bones] * flip),
    )


def unpose(source: HumanSource, sample: HumanSample) -> UnposedSample:
    """Carry everyone from MakeHuman's rest pose into the T-pose by linear blend skinning with MakeHuman's own bones and
    weights.
    """
    sites = follow_skin(source, sample, joint_sites(source.bone_names, sample.bone_heads))
    segments, joints = t_pose_segments(source.bone_names, sample.bone_heads, sites)
    vertices = np.empty_like(sample.vertices)
    for index, points in enumerate(sample.vertices):
        turn = np.tensordot(source.skin_weights, segments.turns[index], axes=1)
        vertices[index] = np.einsum("vij,vj->vi", turn, points) + source.skin_weights @ segments.moves[index]
    heads = np.einsum("sbij,sbj->sbi", segments.turns, sample.bone_heads) + segments.moves
    origin = joints[:, :1] - PELVIS_AT
    return UnposedSample(vertices - origin, joints - origin, heads - origin)
