"""Put the landmarks onto any body with SMPL's tree: joint centres from its own rig, everything else carried over from
the open body.

A landmark is taken to the other body in the frame of the joint it follows, turned as the bone is turned and scaled as
the bone is long, and then set on the nearest skin that follows the same joint. On SMPL's and SMPL-X's own topologies
the nose, eyes, ears, toes and heels are the vertices that ``smplx`` names.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls

from refit_mv.body.joint_centres import joint_centre_rows
from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.landmarks import JOINT_CENTRES, LANDMARK_NAMES, mixture
from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError

Point = Float[np.ndarray, "3"]

# Along which child a bone points, where a joint has several.
MAIN_CHILD = {"pelvis": "spine1", "spine3": "neck"}
# A landmark deeper under the skin than this is a point inside, such as a knuckle, and stays inside.
INSIDE = 0.003
# smplx's names of vertices on SMPL's and SMPL-X's own meshes.
NAMED_VERTICES = {
    "nose": "nose",
    "left_eye": "leye",
    "right_eye": "reye",
    "left_ear": "lear",
    "right_ear": "rear",
    "left_big_toe": "LBigToe",
    "right_big_toe": "RBigToe",
    "left_small_toe": "LSmallToe",
    "right_small_toe": "RSmallToe",
    "left_heel": "LHeel",
    "right_heel": "RHeel",
}
VERTEX_COUNTS = {6890: "smplh", 10475: "smplx"}


@dataclass(frozen=True)
class RiggedSkin:
    """A body in its T-pose as NumPy arrays, its joints gathered onto SMPL's 24 (finger joints count as the hand, jaw
    and eyes as the head).
    """

    points: Float[np.ndarray, "vertex 3"]
    triangles: Int[np.ndarray, "face 3"]
    joints: Float[np.ndarray, "24 3"]
    weights: Float[np.ndarray, "vertex 24"]


def _gathered_joint(joint_names: tuple[str, ...], parents: tuple[int, ...], joint: int) -> int:
    """The SMPL joint an extra joint counts as: fingers are the hand, anything else its nearest ancestor that SMPL
    has.
    """
    name = joint_names[joint]
    if name in SMPL_JOINT_NAMES:
        return SMPL_JOINT_NAMES.index(name)
    ancestor = parents[joint]
    while joint_names[ancestor] not in SMPL_JOINT_NAMES:
        ancestor = parents[ancestor]
    ancestor_name = joint_names[ancestor]
    return SMPL_JOINT_NAMES.index(ancestor_name.replace("wrist", "hand"))


def rigged_skin(body: BodyModel) -> RiggedSkin:
    """Gather a body's joints and weights onto SMPL's 24. A hand that is no joint of its own sits amid the roots of the
    four fingers.
    """
    points = body.template.numpy()
    own_joints = (body.joint_regressor @ body.template).numpy()
    gathered = np.array([_gathered_joint(body.joint_names, body.parents, joint) for joint in range(body.joint_count)])
    weights = np.zeros((len(points), len(SMPL_JOINT_NAMES)))
    np.add.at(weights.T, gathered, body.skin_weights.numpy().T)
    joints = np.zeros((len(SMPL_JOINT_NAMES), 3))
    for index, name in enumerate(SMPL_JOINT_NAMES):
        if name in body.joint_names:
            joints[index] = own_joints[body.joint_names.index(name)]
        else:
            roots = [f"{name.split('_')[0]}_{finger}1" for finger in ("index", "middle", "ring", "pinky")]
            joints[index] = np.mean([own_joints[body.joint_names.index(root)] for root in roots], axis=0)
    return RiggedSkin(points, body.faces.numpy(), joints, weights)


def _bone(skin: RiggedSkin, joint: int) -> Point:
    """From a joint to its main child; from a last joint to the point of its skin furthest from its parent."""
    name = SMPL_JOINT_NAMES[joint]
    children = [child for child, parent in enumerate(SMPL_PARENTS) if parent == joint]
    if name in MAIN_CHILD:
        return skin.joints[SMPL_JOINT_NAMES.index(MAIN_CHILD[name])] - skin.joints[joint]
    if children:
        return skin.joints[children[0]] - skin.joints[joint]
    own = skin.points[skin.weights[:, joint] > 0.5]
    if name == "head":
        return np.array([0.0, own[:, 1].max() - skin.joints[joint, 1], 0.0])
    reach = np.linalg.norm(own - skin.joints[SMPL_PARENTS[joint]], axis=1)
    return own[np.argmax(reach)] - skin.joints[joint]


def _turn(source: Point, target: Point) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation from one direction to another (Rodrigues)."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    axis, cosine = np.cross(a, b), float(a @ b)
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + cross + cross @ cross / (1.0 + max(cosine, -0.99))


def nearest_on_triangles(point: Point, corners: Float[np.ndarray, "face 3 3"]) -> tuple[int, Point, float]:
    """The nearest triangle, the barycentric coordinates of its nearest point, and the distance (Ericson, "Real-time
    collision detection", 2005, 5.1.5).
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    along, beside, offset = b - a, c - a, point - a
    # Foot of the perpendicular in each plane (normal equations of the two edges); it counts where it falls inside.
    aa, bb, ab = (np.sum(x * y, axis=1) for x, y in ((along, along), (beside, beside), (along, beside)))
    ya, yb = np.sum(offset * along, axis=1), np.sum(offset * beside, axis=1)
    scale = np.maximum(aa * bb - ab * ab, 1e-24)
    u, v = (bb * ya - ab * yb) / scale, (aa * yb - ab * ya) / scale
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    options = [np.where(inside[:, None], np.stack([1.0 - u - v, u, v], axis=1), [1.0, 0.0, 0.0])]
    for one, other in ((0, 1), (1, 2), (2, 0)):
        way = corners[:, other] - corners[:, one]
        part = np.sum((point - corners[:, one]) * way, axis=1) / np.maximum(np.sum(way * way, axis=1), 1e-24)
        part = np.clip(part, 0.0, 1.0)
        weights = np.zeros((len(corners), 3))
        weights[:, one], weights[:, other] = 1.0 - part, part
        options.append(weights)
    candidates = np.stack(options, axis=1)
    distances = np.linalg.norm(np.einsum("fok,fkc->foc", candidates, corners) - point, axis=2)
    face, option = np.unravel_index(np.argmin(distances), distances.shape)
    return int(face), candidates[face, option], float(distances[face, option])


def _surface_row(
    skin: RiggedSkin, point: Point, allowed: Bool[np.ndarray, " vertex"]
) -> tuple[Float[np.ndarray, " vertex"], float]:
    """Barycentric weights of the nearest skin, and how far it is."""
    own = np.flatnonzero(allowed)
    near = own[np.argsort(np.linalg.norm(skin.points[own] - point, axis=1), kind="stable")[:12]]
    faces = skin.triangles[np.isin(skin.triangles, near).any(1) & allowed[skin.triangles].all(1)]
    row = np.zeros(len(skin.points))
    if len(faces) == 0:
        row[near[0]] = 1.0
        return row, float(np.linalg.norm(skin.points[near[0]] - point))
    face, weights, distance = nearest_on_triangles(point, skin.points[faces])
    row[faces[face]] = weights
    return row, distance


def _inside_row(skin: RiggedSkin, point: Point, allowed: Bool[np.ndarray, " vertex"]) -> Float[np.ndarray, " vertex"]:
    """Weights of surrounding vertices whose mean is the point."""
    own = np.flatnonzero(allowed)
    near = own[np.argsort(np.linalg.norm(skin.points[own] - point, axis=1), kind="stable")[:80]]
    matrix = np.concatenate([(skin.points[near] - point).T, np.ones((1, len(near)))])
    solution, _ = nnls(matrix, np.array([0.0, 0.0, 0.0, 1.0]))
    row = np.zeros(len(skin.points))
    row[near] = solution / solution.sum()
    return row


def carried_landmarks(
    source: RiggedSkin,
    source_rows: Float[np.ndarray, "landmark vertex"],
    target: RiggedSkin,
) -> Float[np.ndarray, "landmark target_vertex"]:
    """Each landmark of one body on another; see the module's text."""
    rows = np.zeros((len(source_rows), len(target.points)))
    dominant = target.weights.argmax(1)
    everywhere = np.ones(len(source.points), dtype=bool)
    for index, source_row in enumerate(source_rows):
        joint = int(np.argmax(source_row @ source.weights))
        bone, target_bone = _bone(source, joint), _bone(target, joint)
        point = source_row @ source.points
        scale = np.linalg.norm(target_bone) / np.linalg.norm(bone)
        goal = target.joints[joint] + scale * (_turn(bone, target_bone) @ (point - source.joints[joint]))
        # A landmark at the border of two joints may sit on either's skin.
        allowed = (dominant == joint) | (target.weights[:, joint] > 0.2)
        depth = _surface_row(source, point, everywhere)[1]
        rows[index] = _inside_row(target, goal, allowed) if depth > INSIDE else _surface_row(target, goal, allowed)[0]
    return rows


def joint_centre_landmarks(body: BodyModel) -> dict[str, Float[np.ndarray, " vertex"]]:
    """The landmarks that are joint centres, from the body's own rig."""
    needed = sorted({part for parts in JOINT_CENTRES.values() for part in parts})
    indices = np.array([body.joint_names.index(name) for name in needed])
    found = joint_centre_rows(
        indices,
        body.template.numpy(),
        body.shape_directions.numpy(),
        body.joint_regressor.numpy(),
        body.skin_weights.numpy(),
        body.parents,
    )
    row = dict(zip(needed, found, strict=True))
    return {name: mixture(row, parts) for name, parts in JOINT_CENTRES.items()}


def landmarks_for(body: BodyModel, source: BodyModel) -> Float[np.ndarray, "landmark vertex"]:
    """The whole vocabulary on a body, in the order of ``LANDMARK_NAMES``; ``source`` is the open body."""
    target = rigged_skin(body)
    rows = carried_landmarks(rigged_skin(source), source.landmark_regressor.numpy(), target)
    named: dict[str, Float[np.ndarray, " vertex"]] = dict(joint_centre_landmarks(body))
    topology = VERTEX_COUNTS.get(len(target.points))
    if topology is not None:
        try:
            from smplx.vertex_ids import vertex_ids
        except ImportError:
            raise InputError(
                f"body '{body.name}' has SMPL's own mesh, whose vertices the package smplx names: pip install "
                "'refit-mv[smpl]'"
            ) from None
        for name, smplx_name in NAMED_VERTICES.items():
            named[name] = np.eye(1, len(target.points), vertex_ids[topology][smplx_name])[0]
    for index, name in enumerate(LANDMARK_NAMES):
        if name in named:
            rows[index] = named[name]
    return rows
