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
# So many pairs are tried as beginnings.
MOST_STARTS = 4


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
    pairs.sort(key=lambda found: -found[0])
    built = [_built(flat, seen, pair, pose) for _, pair, pose in pairs[:MOST_STARTS]]
    # From whichever pair the most points of the most cameras meet.
    poses, _ = max(built, key=lambda found: (len(found[0]), found[1]))
    missing = [name for view, name in enumerate(rig.names) if view not in poses]
    if missing:
        raise InputError(
            f"camera '{missing[0]}' shares too few keypoints with the others (at least {FEWEST_POINTS} that two of "
            "them see under parallax are needed): nothing tells where it stands"
        )
    return CameraRig(tuple(with_pose(camera, poses[view]) for view, camera in enumerate(rig)))


def _built(
    flat: np.ndarray, seen: np.ndarray, pair: tuple[int, int], pose: RigidTransform
) -> tuple[dict[int, RigidTransform], int]:
    """All cameras that can be placed from one pair on, and how many rays meet then."""
    poses = {pair[0]: RigidTransform.identity(), pair[1]: pose}
    while True:
        points, known, meeting = _points(flat, seen, poses)
        left = [view for view in range(seen.shape[1]) if view not in poses]
        if not left:
            return poses, meeting
        shared = {view: int((known & seen[:, view]).sum()) for view in left}
        view = max(left, key=lambda each: shared[each])
        placed = None if shared[view] < FEWEST_POINTS else _resected(points, known & seen[:, view], flat[:, view])
        if placed is None:
            return poses, meeting
        poses[view] = placed


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
) -> tuple[Float[np.ndarray, "point 3"], np.ndarray, int]:
    """Where the points are, by the cameras that stand, which of them two see under parallax, and how many rays meet."""
    views = sorted(poses)
    rotation = torch.stack([poses[view].rotation for view in views])
    center = torch.stack([poses[view].inverse().translation for view in views])
    slopes = torch.from_numpy(flat[:, views]).transpose(0, 1)
    rays = torch.nn.functional.normalize(torch.cat([slopes, torch.ones_like(slopes[..., :1])], -1), dim=-1) @ rotation
    weight = torch.from_numpy(seen[:, views]).T.double()
    found = triangulate(center, rays, weight)
    known = ((found.support >= 2) & (found.parallax > LEAST_PARALLAX)).numpy()
    return found.points.numpy(), known, int((found.support * torch.from_numpy(known)).sum())


def _resected(points: np.ndarray, known: np.ndarray, flat: np.ndarray) -> RigidTransform | None:
    """Where a camera stands that sees the points so; None where they fit no place."""
    rows = _some(np.flatnonzero(known))
    cv2.setRNGSeed(0)
    done, turn, move, _ = cv2.solvePnPRansac(
        points[rows], flat[rows], np.eye(3), None, reprojectionError=2 * THRESHOLD, iterationsCount=500
    )
    if not done:
        return None
    rotation, _ = cv2.Rodrigues(turn)
    return RigidTransform(torch.from_numpy(rotation), torch.from_numpy(move.ravel()))
