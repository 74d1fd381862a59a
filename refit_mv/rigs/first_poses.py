"""A rig from nothing but lenses: how cameras stand to each other, from one person's keypoints over time.

Two views see every keypoint of every frame alike, as if it were one rigid cloud: the essential matrix tells how they
stand to each other (Nistér, PAMI 2004), their points where every further camera stands (perspective-n-point). The
length of a metre remains open.
"""

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
import torch
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.geometry.triangulation import triangulate
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.freedoms import with_pose

# Rays beyond this slope are of no use to methods that think in flat pictures.
STEEPEST = 3.0
# Detectors err by so much, radians, as seen from the cameras of a room.
THRESHOLD = 0.006
FEWEST_POINTS = 60
# As many points as tell a pose.
MOST_POINTS = 4000
# Points of a pair seen under less parallax than this (sine) say nothing of depth.
LEAST_PARALLAX = 0.1
CONFIDENCE = 0.999


def first_poses(rig: CameraRig, people: Sequence[Evidence]) -> CameraRig:
    """The same lenses where the keypoints have them: the first camera of the best pair at the origin, the pair one unit
    apart.

    Raises:
        InputError: a camera that shares too little with the others.
    """
    flat, seen = _flat(rig, people)
    pairs = [
        (support, pair, pose)
        for pair in combinations(range(len(rig)), 2)
        if (found := _pair(flat, seen, *pair)) is not None
        for support, pose in [found]
    ]
    if not pairs:
        raise InputError(
            "no two views share enough keypoints to tell how their cameras stand; record somebody who walks about "
            "where views overlap"
        )
    _, (first, second), pose = max(pairs, key=lambda found: found[0])
    poses = {first: RigidTransform.identity(), second: pose}
    while len(poses) < len(rig):
        points, known = _points(flat, seen, poses)
        left = [view for view in range(len(rig)) if view not in poses]
        shared = {view: int((known & seen[:, view]).sum()) for view in left}
        view = max(left, key=lambda each: shared[each])
        if shared[view] < FEWEST_POINTS:
            raise InputError(
                f"camera '{rig.names[view]}' shares too few keypoints with the others ({shared[view]} points; at least "
                f"{FEWEST_POINTS} are needed): nothing tells where it stands"
            )
        poses[view] = _resected(points, known & seen[:, view], flat[:, view], rig.names[view])
    return CameraRig(tuple(with_pose(camera, poses[view]) for view, camera in enumerate(rig)))


def _flat(rig: CameraRig, people: Sequence[Evidence]) -> tuple[Float[np.ndarray, "point view 2"], np.ndarray]:
    """Every landmark of every frame as slopes x/z and y/z in every view, and where it is known."""
    slopes, known = [], []
    for evidence in people:
        direction, valid = camera_bearings(rig.stacked(), evidence.pixels)
        depth = direction[..., 2]
        flat = direction[..., :2] / depth.clamp_min(1e-3)[..., None]
        fine = valid & (evidence.confidence > 0) & (depth > 0) & (flat.abs().amax(-1) < STEEPEST)
        slopes.append(flat.transpose(1, 2).flatten(0, 1))
        known.append(fine.transpose(1, 2).flatten(0, 1))
    return torch.cat(slopes).numpy(), torch.cat(known).numpy()


def _some(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(1, len(rows) // MOST_POINTS)]


def _pair(flat: np.ndarray, seen: np.ndarray, first: int, second: int) -> tuple[float, RigidTransform] | None:
    """How the second camera stands to the first, and how well that is told: points that agree and are seen under some
    parallax.
    """
    rows = _some(np.flatnonzero(seen[:, first] & seen[:, second]))
    if len(rows) < FEWEST_POINTS:
        return None
    one, other = flat[rows, first], flat[rows, second]
    cv2.setRNGSeed(0)
    essential, inside = cv2.findEssentialMat(one, other, np.eye(3), cv2.RANSAC, CONFIDENCE, THRESHOLD)
    if essential is None or essential.shape != (3, 3):
        return None
    _, rotation, move, inside = cv2.recoverPose(essential, one, other, np.eye(3), mask=inside)
    agreeing = inside.ravel() > 0
    rays = (
        np.concatenate([one, np.ones((len(one), 1))], 1),
        np.concatenate([other, np.ones((len(other), 1))], 1) @ rotation,
    )
    normed = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in rays]
    parallax = np.linalg.norm(np.cross(*normed), axis=1)
    pose = RigidTransform(torch.from_numpy(rotation), torch.from_numpy(move.ravel()))
    return float(np.minimum(parallax, 0.5)[agreeing & (parallax > LEAST_PARALLAX)].sum()), pose


def _points(
    flat: np.ndarray, seen: np.ndarray, poses: dict[int, RigidTransform]
) -> tuple[Float[np.ndarray, "point 3"], np.ndarray]:
    """Where the points are, by the cameras that stand, and which of them two see under parallax."""
    views = sorted(poses)
    rotation = torch.stack([poses[view].rotation for view in views])
    center = torch.stack([poses[view].inverse().translation for view in views])
    slopes = torch.from_numpy(flat[:, views]).transpose(0, 1)
    rays = torch.nn.functional.normalize(torch.cat([slopes, torch.ones_like(slopes[..., :1])], -1), dim=-1) @ rotation
    weight = torch.from_numpy(seen[:, views]).T.double()
    found = triangulate(center, rays, weight)
    return found.points.numpy(), ((found.support >= 2) & (found.parallax > LEAST_PARALLAX)).numpy()


def _resected(points: np.ndarray, known: np.ndarray, flat: np.ndarray, name: str) -> RigidTransform:
    rows = _some(np.flatnonzero(known))
    cv2.setRNGSeed(0)
    done, turn, move, _ = cv2.solvePnPRansac(
        points[rows], flat[rows], np.eye(3), None, reprojectionError=2 * THRESHOLD, iterationsCount=500
    )
    if not done:
        raise InputError(f"camera '{name}': its keypoints fit no place among the others; are its pictures in step?")
    rotation, _ = cv2.Rodrigues(turn)
    return RigidTransform(torch.from_numpy(rotation), torch.from_numpy(move.ravel()))
