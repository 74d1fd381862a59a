"""Skin weights for SMPL's 24 joints, a sparse joint regressor, and the shape space of the open body."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.optimize import nnls

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.sides import mirrored_order

LEFT_RIGHT_JOINTS = np.array(mirrored_order(SMPL_JOINT_NAMES))
TORSO_BONES = ("root", "pelvis", "spine", "breast")
TRUNK_JOINTS = (
    "pelvis",
    "spine1",
    "spine2",
    "spine3",
    "neck",
    "left_collar",
    "left_hip",
    "left_shoulder",
)
SPINE = ("pelvis", "spine1", "spine2", "spine3")
# Half the height over which one spine joint takes over from the next (m).
SPINE_BLEND = 0.045
# SMPL allows any number; four is what graphics engines and glTF take.
MOST_WEIGHTS = 4
WEIGHT_STEPS = 1024
MOST_REGRESSOR_VERTICES = 32


def joint_of_bone(bone: str) -> dict[str, float]:
    """Which of SMPL's joints a MakeHuman limb or head bone follows, with shares. Torso bones are divided by height
    instead.
    """
    stem, _, suffix = bone.partition(".")
    side = {"L": "left_", "R": "right_"}.get(suffix, "")
    if stem.startswith("upperleg"):
        return {f"{side}hip": 1.0}
    if stem.startswith("lowerleg"):
        return {f"{side}knee": 1.0}
    if stem == "foot":
        return {f"{side}ankle": 1.0}
    if stem.startswith("toe"):
        return {f"{side}foot": 1.0}
    if stem in ("clavicle", "shoulder01"):
        return {f"{side}collar": 1.0}
    if stem.startswith("upperarm"):
        return {f"{side}shoulder": 1.0}
    if stem.startswith("lowerarm"):
        return {f"{side}elbow": 1.0}
    # SMPL's hand joint bends the four fingers; palm and thumb follow the wrist.
    if stem.startswith(("finger2", "finger3", "finger4", "finger5")):
        return {f"{side}hand": 1.0}
    if stem in ("wrist", "finger1-1", "finger1-2", "finger1-3") or stem.startswith("metacarpal"):
        return {f"{side}wrist": 1.0}
    # The neck joint sits half-way up MakeHuman's neck: its lowest bone belongs half to the chest.
    if stem == "neck01":
        return {"neck": 0.5, "spine3": 0.5}
    if stem.startswith("neck"):
        return {"neck": 1.0}
    return {"head": 1.0}


def vertex_adjacency(vertices: int, triangles: Int[np.ndarray, "face 3"]) -> sparse.csr_matrix:
    """Row-stochastic neighbour averaging."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    matrix = sparse.csr_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(vertices, vertices))
    return sparse.csr_matrix(sparse.diags(1.0 / np.asarray(matrix.sum(1))[:, 0]) @ matrix)


def relax_creases(
    vertices: Float[np.ndarray, "sample vertex 3"],
    weights: Float[np.ndarray, "vertex joint"],
    neighbours: sparse.csr_matrix,
) -> Float[np.ndarray, "sample vertex 3"]:
    """Smooth the creases that lifting and straightening the arms left at shoulders and elbows (Taubin's two steps, so
    that they do not shrink).

    The same linear map for every person, so nothing of the shape space is lost.
    """
    index = {name: number for number, name in enumerate(SMPL_JOINT_NAMES)}
    mask = np.zeros(vertices.shape[1])
    for side in ("left", "right"):
        upper = weights[:, index[f"{side}_shoulder"]]
        trunk = weights[:, index[f"{side}_collar"]] + weights[:, index["spine3"]]
        mask += 4.0 * upper * (trunk + weights[:, index[f"{side}_elbow"]])
    mask = np.clip(2.0 * mask, 0.0, 1.0)
    for _ in range(2):
        mask = 0.5 * mask + 0.5 * (neighbours @ mask)
    relaxed = vertices.copy()
    for person in relaxed:
        for _ in range(10):
            for step in (0.5, -0.4):
                person += (step * mask)[:, None] * (neighbours @ person - person)
    return relaxed


def skin_weights(
    bone_weights: Float[np.ndarray, "vertex bone"],
    bone_names: tuple[str, ...],
    points: Float[np.ndarray, "vertex 3"],
    joints: Float[np.ndarray, "joint 3"],
    neighbours: sparse.csr_matrix,
    mirror: Int[np.ndarray, " vertex"],
) -> Float[np.ndarray, "vertex joint"]:
    """MakeHuman's weights gathered onto SMPL's joints, smoothed, at most four a vertex, in steps of 1/1024, summing to
    one exactly.
    """
    index = {name: number for number, name in enumerate(SMPL_JOINT_NAMES)}
    weights = np.zeros((len(points), len(SMPL_JOINT_NAMES)))
    torso = np.zeros(len(points))
    for column, bone in enumerate(bone_names):
        if bone.startswith(TORSO_BONES):
            torso += bone_weights[:, column]
            continue
        for joint, share in joint_of_bone(bone).items():
            weights[:, index[joint]] += share * bone_weights[:, column]
    heights = [joints[index[name], 1] for name in SPINE[1:]]
    passed = [np.ones(len(points))]
    passed += [_smooth_step((points[:, 1] - height) / SPINE_BLEND) for height in heights] + [np.zeros(len(points))]
    for place, name in enumerate(SPINE):
        weights[:, index[name]] += torso * (passed[place] - passed[place + 1])
    for _ in range(3):
        weights = 0.5 * weights + 0.5 * (neighbours @ weights)
    weights = 0.5 * (weights + weights[mirror][:, LEFT_RIGHT_JOINTS])
    steps = np.stack(
        [_few_steps(row, vertex == partner) for vertex, (row, partner) in enumerate(zip(weights, mirror, strict=True))]
    )
    right = np.flatnonzero(points[:, 0] < points[mirror, 0])
    steps[right] = steps[mirror[right]][:, LEFT_RIGHT_JOINTS]
    return steps / WEIGHT_STEPS


def _few_steps(weights: Float[np.ndarray, " joint"], middle: bool) -> Float[np.ndarray, " joint"]:
    """The largest four weights as whole numbers that sum to ``WEIGHT_STEPS``; on the midline left and right joints are
    taken together, or neither.
    """
    kept = np.zeros_like(weights)
    room = MOST_WEIGHTS
    for joint in np.argsort(-weights, kind="stable"):
        group = {int(joint), int(LEFT_RIGHT_JOINTS[joint])} if middle else {int(joint)}
        if weights[joint] <= 0.0 or kept[joint] > 0.0 or len(group) > room:
            continue
        room -= len(group)
        kept[list(group)] = weights[list(group)]
    steps = np.round(kept / kept.sum() * WEIGHT_STEPS)
    # What rounding leaves goes to the largest; on the midline to a joint that has no partner.
    takers = np.flatnonzero(kept * ((np.arange(len(kept)) == LEFT_RIGHT_JOINTS) | (not middle)))
    steps[takers[np.argmax(kept[takers])]] += WEIGHT_STEPS - steps.sum()
    return steps


def _smooth_step(value: Float[np.ndarray, " vertex"]) -> Float[np.ndarray, " vertex"]:
    ramp = np.clip(0.5 * (value + 1.0), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


@dataclass(frozen=True)
class ShapeSpace:
    """Mean and directions, scaled so that the sample's coefficients have unit variance; joints follow the same
    coefficients.
    """

    mean: Float[np.ndarray, "vertex 3"]
    directions: Float[np.ndarray, "vertex 3 shape"]
    joint_mean: Float[np.ndarray, "joint 3"]
    joint_directions: Float[np.ndarray, "joint 3 shape"]
    coefficients: Float[np.ndarray, "sample shape"]
    explained: float


def shape_space(
    vertices: Float[np.ndarray, "sample vertex 3"],
    joints: Float[np.ndarray, "sample joint 3"],
    areas: Float[np.ndarray, " vertex"],
    components: int,
) -> ShapeSpace:
    """Principal components of surface and joints together, the surface by area and the joints with the weight of a
    third of it, so that bone lengths, which motion capture lives by, are not crowded out by waistlines.
    """
    samples = len(vertices)
    mean, joint_mean = vertices.mean(0), joints.mean(0)
    surface = (vertices - mean) * np.sqrt(areas / areas.sum())[:, None]
    bones = (joints - joint_mean) * np.sqrt(0.5 / joints.shape[1])
    features = np.concatenate([surface.reshape(samples, -1), bones.reshape(samples, -1)], axis=1)
    left, scale, _ = np.linalg.svd(features, full_matrices=False)
    coefficients = left[:, :components] * np.sqrt(samples)
    # Signed so that a positive coefficient makes the person taller: reproducible where an SVD is not.
    heights = vertices[..., 1].max(1) - vertices[..., 1].min(1)
    coefficients *= np.where(coefficients.T @ (heights - heights.mean()) < 0, -1.0, 1.0)
    directions = np.einsum("sk,svc->vck", coefficients, vertices - mean) / samples
    joint_directions = np.einsum("sk,sjc->jck", coefficients, joints - joint_mean) / samples
    explained = float(np.sum(scale[:components] ** 2) / np.sum(scale**2))
    return ShapeSpace(mean, directions, joint_mean, joint_directions, coefficients, explained)


def regressor_row(
    target: Float[np.ndarray, "3 term"],
    terms: Float[np.ndarray, "vertex 3 term"],
    candidates: Int[np.ndarray, " candidate"],
    mirror: Int[np.ndarray, " vertex"] | None = None,
) -> Float[np.ndarray, " vertex"]:
    """Non-negative weights of at most 32 vertices, summing to one, whose combination follows ``target`` in the mean and
    in every shape direction.

    Args:
        target, terms: the mean and each direction, as columns.
        mirror: for a point on the midline; each vertex is then used together with its partner.
    """
    most = MOST_REGRESSOR_VERTICES
    columns = terms[candidates]
    if mirror is not None:
        columns = 0.5 * (columns + terms[mirror[candidates]])
        most //= 2
    chosen = np.arange(len(candidates))
    # The mean counts thrice: the T-pose must be exact; a shape may bend it by a hair.
    importance = np.append(3.0, np.ones(target.shape[1] - 1))
    columns, target = columns * importance, target * importance
    sum_weight = 10.0
    right = np.append(target.reshape(-1), sum_weight)
    solution = np.zeros(0)
    for keep in (len(chosen), most + 6, most):
        matrix = np.concatenate(
            [
                columns[chosen].reshape(len(chosen), -1).T,
                np.full((1, len(chosen)), sum_weight),
            ]
        )
        solution, _ = nnls(matrix, right, maxiter=200 * len(chosen))
        support = np.argsort(-solution, kind="stable")[: most if keep == most else keep]
        support = np.sort(support[solution[support] > 1e-4])
        chosen, solution = chosen[support], solution[support]
        if len(chosen) <= most:
            break
        chosen = chosen[np.argsort(-solution, kind="stable")[: max(most, keep if keep < len(candidates) else most + 6)]]
    row = np.zeros(len(terms))
    np.add.at(row, candidates[chosen], solution)
    if mirror is not None:
        row = 0.5 * (row + row[mirror])
    return row / row.sum()


def joint_regressor(
    space: ShapeSpace,
    weights: Float[np.ndarray, "vertex joint"],
    mirror: Int[np.ndarray, " vertex"],
) -> Float[np.ndarray, "joint vertex"]:
    """One sparse row per joint; the right side mirrors the left."""
    terms = np.concatenate([space.mean[..., None], space.directions], axis=2)
    targets = np.concatenate([space.joint_mean[..., None], space.joint_directions], axis=2)
    rows = np.zeros((len(SMPL_JOINT_NAMES), len(space.mean)))
    for joint, name in enumerate(SMPL_JOINT_NAMES):
        if name.startswith("right"):
            continue
        # The skin around the joint; inside the trunk it takes front, back and both flanks to follow a joint while the
        # belly grows.
        near = np.argsort(np.linalg.norm(space.mean - space.joint_mean[joint], axis=1), kind="stable")
        near = near[:2000] if name in TRUNK_JOINTS else near[weights[near, joint] > 0.02][:600]
        rows[joint] = regressor_row(targets[joint], terms, near, None if name.startswith("left") else mirror)
        if name.startswith("left"):
            rows[LEFT_RIGHT_JOINTS[joint]] = rows[joint][mirror]
    return rows
