"""Where the landmarks sit on the open body: joint centres, bones of hands and eyes, extreme points of head and feet,
and rays from the skeleton to the skin.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.joint_centres import joint_centre_rows
from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.landmarks import JOINT_CENTRES, LANDMARK_NAMES, mixture
from refit_mv.body.sides import other_side
from refit_mv.workshop.builders.body_rig import ShapeSpace, regressor_row

# Interior points that follow bones of MakeHuman's: BlazePose's knuckles and the whole-body sets' finger roots.
BONE_POINTS = {
    "left_index": "finger2-1.L",
    "left_middle": "finger3-1.L",
    "left_ring": "finger4-1.L",
    "left_pinky": "finger5-1.L",
    "left_thumb": "finger1-2.L",
}

# Surface markers: a point of the skeleton as weights of joints (metres of offset added), and the way out to the skin in
# the rest frame. x is to the person's left, y up, z forward. Only left and middle ones; the right side mirrors.
MARKER_RAYS: dict[str, tuple[dict[str, float], tuple[float, float, float], tuple[float, float, float]]] = {
    "marker_crown": ({"head": 1.0}, (0.0, 0.10, 0.02), (0.0, 1.0, 0.0)),
    "marker_forehead": ({"head": 1.0}, (0.0, 0.10, 0.02), (0.0, 0.12, 1.0)),
    "marker_left_head_front": ({"head": 1.0}, (0.0, 0.09, 0.02), (0.8, 0.05, 0.7)),
    "marker_left_head_back": ({"head": 1.0}, (0.0, 0.09, 0.02), (0.8, 0.05, -0.8)),
    "marker_notch": (
        {"left_collar": 0.5, "right_collar": 0.5},
        (0.0, 0.0, 0.0),
        (0.0, 0.0, 1.0),
    ),
    "marker_left_clavicle": ({"left_collar": 1.0}, (0.0, 0.0, 0.0), (0.1, 0.3, 1.0)),
    "marker_sternum": ({"spine3": 0.6, "neck": 0.4}, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "marker_left_chest": (
        {"spine3": 0.6, "left_shoulder": 0.4},
        (0.0, 0.0, 0.0),
        (0.1, 0.0, 1.0),
    ),
    "marker_navel": ({"spine1": 1.0}, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "marker_c7": ({"neck": 0.8, "spine3": 0.2}, (0.0, 0.0, 0.0), (0.0, -0.1, -1.0)),
    "marker_t8": ({"spine3": 1.0}, (0.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "marker_left_scapula": (
        {"spine3": 0.6, "left_shoulder": 0.4},
        (0.0, 0.0, 0.0),
        (0.1, 0.0, -1.0),
    ),
    "marker_l3": ({"spine1": 1.0}, (0.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "marker_sacrum": ({"pelvis": 1.0}, (0.0, 0.0, 0.0), (0.0, -0.1, -1.0)),
    "marker_left_asis": (
        {"pelvis": 0.5, "left_hip": 0.5},
        (0.05, 0.05, 0.0),
        (0.4, 0.0, 1.0),
    ),
    "marker_left_psis": (
        {"pelvis": 0.5, "left_hip": 0.5},
        (0.0, 0.06, 0.0),
        (0.1, 0.0, -1.0),
    ),
    "marker_left_flank": (
        {"pelvis": 0.4, "spine1": 0.6},
        (0.0, 0.0, 0.0),
        (1.0, 0.0, 0.0),
    ),
    "marker_left_acromion": ({"left_shoulder": 1.0}, (0.0, 0.0, 0.0), (0.1, 1.0, 0.0)),
    "marker_left_deltoid": (
        {"left_shoulder": 0.65, "left_elbow": 0.35},
        (0.0, 0.0, 0.0),
        (0.0, 0.6, 0.8),
    ),
    "marker_left_upper_arm": (
        {"left_shoulder": 0.4, "left_elbow": 0.6},
        (0.0, 0.0, 0.0),
        (0.0, 0.6, -0.8),
    ),
    "marker_left_elbow_outer": ({"left_elbow": 1.0}, (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "marker_left_elbow_inner": ({"left_elbow": 1.0}, (0.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    "marker_left_forearm": (
        {"left_elbow": 0.5, "left_wrist": 0.5},
        (0.0, 0.0, 0.0),
        (0.0, 0.8, -0.6),
    ),
    "marker_left_wrist_thumb": ({"left_wrist": 1.0}, (0.0, 0.0, 0.0), (0.0, 0.2, 1.0)),
    "marker_left_wrist_pinky": ({"left_wrist": 1.0}, (0.0, 0.0, 0.0), (0.0, 0.2, -1.0)),
    "marker_left_hand_index": ({"left_hand": 1.0}, (0.0, 0.0, 0.025), (0.0, 1.0, 0.1)),
    "marker_left_hand_pinky": (
        {"left_hand": 1.0},
        (0.0, 0.0, -0.022),
        (0.0, 1.0, -0.1),
    ),
    "marker_left_thigh_front": (
        {"left_hip": 0.5, "left_knee": 0.5},
        (0.0, 0.0, 0.0),
        (0.1, 0.0, 1.0),
    ),
    "marker_left_thigh_side": (
        {"left_hip": 0.35, "left_knee": 0.65},
        (0.0, 0.0, 0.0),
        (1.0, 0.0, 0.0),
    ),
    "marker_left_knee_outer": ({"left_knee": 1.0}, (0.0, 0.0, 0.0), (1.0, 0.0, 0.1)),
    "marker_left_knee_inner": ({"left_knee": 1.0}, (0.0, 0.0, 0.0), (-1.0, 0.0, 0.1)),
    "marker_left_shin": (
        {"left_knee": 0.6, "left_ankle": 0.4},
        (0.0, 0.0, 0.0),
        (0.3, 0.0, 1.0),
    ),
    "marker_left_calf": (
        {"left_knee": 0.7, "left_ankle": 0.3},
        (0.0, 0.0, 0.0),
        (0.2, 0.0, -1.0),
    ),
    "marker_left_ankle_outer": ({"left_ankle": 1.0}, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
    "marker_left_ankle_inner": ({"left_ankle": 1.0}, (0.0, 0.0, 0.0), (-1.0, 0.0, 0.0)),
    "marker_left_heel": ({"left_ankle": 1.0}, (0.0, -0.03, 0.0), (0.0, 0.0, -1.0)),
    "marker_left_first_toe": (
        {"left_foot": 1.0},
        (-0.025, 0.0, -0.01),
        (-0.2, 1.0, 0.0),
    ),
    "marker_left_fifth_toe": ({"left_foot": 1.0}, (0.03, 0.0, -0.02), (0.3, 1.0, 0.0)),
}


@dataclass(frozen=True)
class LandmarkScene:
    """What landmarks are found on: the mean T-pose with its shape directions, MakeHuman's bones in it, and the rims of
    eyes and mouth.
    """

    space: ShapeSpace
    triangles: Int[np.ndarray, "face 3"]
    mirror: Int[np.ndarray, " vertex"]
    joint_rows: Float[np.ndarray, "joint vertex"]
    weights: Float[np.ndarray, "vertex joint"]
    bone_names: tuple[str, ...]
    bone_weights: Float[np.ndarray, "vertex bone"]
    bone_mean: Float[np.ndarray, "bone 3"]
    bone_directions: Float[np.ndarray, "bone 3 shape"]
    rim: Int[np.ndarray, " rim"]


def ray_row(
    points: Float[np.ndarray, "vertex 3"],
    triangles: Int[np.ndarray, "face 3"],
    origin: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "3"],
) -> Float[np.ndarray, " vertex"]:
    """Barycentric weights of the first place where the ray leaves the skin (Möller & Trumbore, 1997)."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    edge1, edge2 = b - a, c - a
    across = np.cross(direction, edge2)
    scale = np.sum(edge1 * across, axis=1)
    scale = np.where(np.abs(scale) < 1e-15, np.nan, scale)
    offset = origin - a
    u = np.sum(offset * across, axis=1) / scale
    turned = np.cross(offset, edge1)
    v = turned @ direction / scale
    distance = np.sum(edge2 * turned, axis=1) / scale
    outward = np.cross(edge1, edge2) @ direction > 0
    slack = 1e-9
    hit = (u >= -slack) & (v >= -slack) & (u + v <= 1 + slack) & (distance > 1e-4) & outward
    if not hit.any():
        raise ValueError(f"a ray from {origin.round(3)} along {direction.round(3)} meets no skin")
    face = np.flatnonzero(hit)[np.argmin(distance[hit])]
    weights = np.clip([1.0 - u[face] - v[face], u[face], v[face]], 0.0, 1.0)
    row = np.zeros(len(points))
    row[triangles[face]] = weights / weights.sum()
    return row


def _vertex_row(count: int, vertices: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, " vertex"]:
    row = np.zeros(count)
    row[vertices] = 1.0 / len(vertices)
    return row


def _extreme(
    scene: LandmarkScene, bones: tuple[str, ...], axis: int, sign: float, left: bool
) -> Float[np.ndarray, " vertex"]:
    """The vertex furthest along an axis among those that mostly follow the bones."""
    columns = [scene.bone_names.index(bone) for bone in bones]
    share = scene.bone_weights[:, columns].sum(1)
    inside = (share > 0.5) & (scene.space.mean[:, 0] > 1e-4 if left else scene.mirror == np.arange(len(share)))
    chosen = np.flatnonzero(inside)
    return _vertex_row(len(share), chosen[[np.argmax(sign * scene.space.mean[chosen, axis])]])


def _head_rows(scene: LandmarkScene) -> dict[str, Float[np.ndarray, " vertex"]]:
    mean, count = scene.space.mean, len(scene.space.mean)
    eye = scene.bone_mean[scene.bone_names.index("eye.L")]
    head = scene.bone_mean[scene.bone_names.index("head")]
    middle = np.flatnonzero((scene.mirror == np.arange(count)) & (mean[:, 1] > head[1]) & (mean[:, 2] > eye[2]))
    nose = middle[np.argmax(mean[middle, 2])]
    eye_rim = scene.rim[(mean[scene.rim, 1] > mean[nose, 1]) & (mean[scene.rim, 0] > 1e-4)]
    mouth_rim = scene.rim[(mean[scene.rim, 1] < mean[nose, 1]) & (mean[scene.rim, 0] > 1e-4)]
    # COCO's annotators click the middle of the visible ear, which stands 2 cm off the skull and is the widest part of
    # the head below the eyes.
    beside = np.flatnonzero((mean[:, 1] < eye[1]) & (mean[:, 1] > mean[nose, 1] - 0.02) & (mean[:, 2] < eye[2] - 0.03))
    tip = mean[beside[np.argmax(mean[beside, 0])]]
    ear = beside[(mean[beside, 0] > tip[0] - 0.02) & (np.linalg.norm(mean[beside] - tip, axis=1) < 0.04)]
    ear = ear[np.argsort(np.linalg.norm(mean[ear] - mean[ear].mean(0), axis=1), kind="stable")[:12]]
    return {
        "nose": _vertex_row(count, np.array([nose])),
        "left_eye": ray_row(mean, scene.triangles, eye, np.array([0.0, 0.0, 1.0])),
        "left_eye_inner": _vertex_row(count, eye_rim[[np.argmin(mean[eye_rim, 0])]]),
        "left_eye_outer": _vertex_row(count, eye_rim[[np.argmax(mean[eye_rim, 0])]]),
        "left_mouth": _vertex_row(count, mouth_rim[[np.argmax(mean[mouth_rim, 0])]]),
        "left_ear": _vertex_row(count, ear),
        "head_top": _extreme(scene, ("head",), 1, 1.0, left=False),
    }


def joint_centres(scene: LandmarkScene) -> dict[str, Float[np.ndarray, " vertex"]]:
    """Rows that stay at the joints in any pose, mirrored from the left, which makes them exactly symmetric."""
    needed = {part.replace("right_", "left_") for parts in JOINT_CENTRES.values() for part in parts}
    names = [name for name in SMPL_JOINT_NAMES if name in needed]
    indices = np.array([SMPL_JOINT_NAMES.index(name) for name in names])
    found = joint_centre_rows(
        indices, scene.space.mean, scene.space.directions, scene.joint_rows, scene.weights, SMPL_PARENTS
    )
    rows = {}
    for name, row in zip(names, found, strict=True):
        rows[name] = row if name.startswith("left_") else 0.5 * (row + row[scene.mirror])
        rows[other_side(name)] = rows[name][scene.mirror]
    return rows


def open_body_landmarks(scene: LandmarkScene) -> Float[np.ndarray, "landmark vertex"]:
    """One sparse, non-negative row per name of ``LANDMARK_NAMES``; the right side mirrors the left."""
    count = len(scene.space.mean)
    joint = dict(zip(SMPL_JOINT_NAMES, scene.joint_rows, strict=True))
    place = {name: row @ scene.space.mean for name, row in joint.items()}
    centre = joint_centres(scene)
    rows = {name: mixture(centre, parts) for name, parts in JOINT_CENTRES.items()}
    rows |= _head_rows(scene)
    terms = np.concatenate([scene.space.mean[..., None], scene.space.directions], axis=2)
    for name, bone in BONE_POINTS.items():
        index = scene.bone_names.index(bone)
        target = np.concatenate([scene.bone_mean[index][:, None], scene.bone_directions[index]], axis=1)
        near = np.argsort(
            np.linalg.norm(scene.space.mean - scene.bone_mean[index], axis=1),
            kind="stable",
        )[:60]
        rows[name] = regressor_row(target, terms, near)
    rows["left_big_toe"] = _extreme(scene, ("toe1-1.L", "toe1-2.L"), 2, 1.0, left=True)
    rows["left_small_toe"] = _extreme(scene, ("toe5-1.L", "toe5-2.L", "toe5-3.L"), 2, 1.0, left=True)
    rows["left_foot_index"] = _extreme(scene, ("toe2-1.L", "toe2-2.L", "toe2-3.L"), 2, 1.0, left=True)
    rows["left_heel"] = _extreme(scene, ("foot.L",), 2, -1.0, left=True)
    for name, (parts, offset, direction) in MARKER_RAYS.items():
        origin = np.array(offset) + mixture(place, parts)
        rows[name] = ray_row(
            scene.space.mean,
            scene.triangles,
            origin,
            np.array(direction) / np.linalg.norm(direction),
        )
        if other_side(name) == name:
            rows[name] = 0.5 * (rows[name] + rows[name][scene.mirror])
    matrix = np.zeros((len(LANDMARK_NAMES), count))
    for index, name in enumerate(LANDMARK_NAMES):
        matrix[index] = rows[name] if name in rows else rows[other_side(name)][scene.mirror]
    return matrix
