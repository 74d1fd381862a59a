"""Where the cameras stand, from the frames in which two of them see the board; cameras that share no view are linked
through others.

Each view has several possible poses (the two of a flat board, and the turns of a checkerboard that looks the same
turned). Between two cameras that stand still, the right ones give the same relative pose in every frame, the wrong ones
another in each: the relative pose that most frames agree on is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from calib.board.bundle import Poses
from calib.board.placing import Placings

# Difference of two relative poses beyond which a frame does not agree: radians, and as a share of the board's distance.
AGREEING = 0.1
_HYPOTHESES = 150


@dataclass(frozen=True, eq=False)
class Link:
    """Two cameras that see the board together: ``first_from_second``, in how many frames they agree on it and in how
    many they see it. ``score`` is higher the closer they agree.
    """

    first: int
    second: int
    first_from_second: Poses
    agreeing: int
    common: int
    score: float


@dataclass(frozen=True, eq=False)
class Linked:
    """Poses of the cameras that hang together (cam_from_world, the world being the first of them); ``cameras`` are
    their numbers, ``groups`` all groups of cameras that hang together, the largest first.
    """

    cameras: tuple[int, ...]
    poses: Poses
    links: tuple[Link, ...]
    groups: tuple[tuple[int, ...], ...]


Placed = Mapping[tuple[int, int], Placings]


def link(placings: Placed, cameras: int) -> Linked:
    """Link cameras by the placings of (camera, frame)."""
    links = [
        found
        for first in range(cameras)
        for second in range(first + 1, cameras)
        if (found := pair(placings, first, second)) is not None
    ]
    groups = _groups(links, cameras)
    members = groups[0]
    poses = _chained(links, members)
    return Linked(members, poses, tuple(links), groups)


def pair(placings: Placed, first: int, second: int, shift: int = 0) -> Link | None:
    """How two cameras stand to each other, where they ever see the board together. ``shift`` pairs the second's frames
    that many later, to find out whether they are out of step.
    """
    frames = [frame for camera, frame in placings if camera == first and (second, frame + shift) in placings]
    if not frames:
        return None
    turns, shifts, frame_of, errors, depths = [], [], [], [], []
    for number, frame in enumerate(frames):
        one, other = placings[first, frame], placings[second, frame + shift]
        rows, columns = len(one.error), len(other.error)
        a, b = np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)
        relative = one.poses[a] @ other.poses[b].inverse()
        turns.append(relative.rotation)
        shifts.append(relative.translation)
        frame_of.append(np.full(len(a), number))
        errors.append(one.error[a] / one.error[0] + other.error[b] / other.error[0])
        depths.append(np.full(len(a), (one.poses.translation[0, 2] + other.poses.translation[0, 2]) / 2))
    poses = Poses(np.concatenate(turns), np.concatenate(shifts))
    number, error, depth = np.concatenate(frame_of), np.concatenate(errors), np.concatenate(depths)
    if len(frames) == 1:
        return Link(first, second, poses[error.argmin()[None]], 1, 1, 0.1)
    candidates = np.argsort(error, kind="stable")[:_HYPOTHESES]
    gaps = np.stack([_gap(poses, poses[np.array([row])], depth, number, len(frames)) for row in candidates])
    # One frame always agrees with itself: with few frames the better explained pose decides.
    score = np.exp(-gaps / (AGREEING / 4)).sum(1) - 0.05 * error[candidates]
    best = poses[candidates[[int(score.argmax())]]]
    for _ in range(3):
        best = _mean(poses, best, depth, number)
    gap = _gap(poses, best, depth, number, len(frames))
    return Link(
        first, second, best, int((gap < AGREEING).sum()), len(frames), float(np.exp(-gap / (AGREEING / 4)).sum())
    )


def _distance(poses: Poses, other: Poses, depth: np.ndarray) -> Float[np.ndarray, " pose"]:
    trace = (poses.rotation * other.rotation).sum((-2, -1))
    angle = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    return angle + np.linalg.norm(poses.translation - other.translation, axis=-1) / depth


def _gap(poses: Poses, other: Poses, depth: np.ndarray, number: Int[np.ndarray, " pose"], frames: int) -> np.ndarray:
    """Each frame's smallest distance from a relative pose."""
    gap = np.full(frames, np.inf)
    np.minimum.at(gap, number, _distance(poses, other, depth))
    return gap


def _mean(poses: Poses, near: Poses, depth: np.ndarray, number: np.ndarray) -> Poses:
    """The mean of the frames' best poses near one."""
    distance = _distance(poses, near, depth)
    chosen = []
    for frame in np.unique(number):
        rows = np.flatnonzero(number == frame)
        best = rows[distance[rows].argmin()]
        if distance[best] < AGREEING:
            chosen.append(best)
    if not chosen:
        return near
    rotation = Rotation.from_matrix(poses.rotation[chosen]).mean().as_matrix()
    return Poses(rotation[None], np.median(poses.translation[chosen], axis=0)[None])


def _groups(links: list[Link], cameras: int) -> tuple[tuple[int, ...], ...]:
    group = list(range(cameras))
    for each in links:
        old, new = group[each.second], group[each.first]
        group = [new if member == old else member for member in group]
    found = [tuple(camera for camera in range(cameras) if group[camera] == number) for number in sorted(set(group))]
    return tuple(sorted(found, key=lambda members: (-len(members), members)))


def _chained(links: list[Link], members: tuple[int, ...]) -> Poses:
    """Poses along the best links: the tree that is grown from the first camera by the strongest link each time."""
    poses = {members[0]: Poses(np.eye(3)[None], np.zeros((1, 3)))}
    while len(poses) < len(members):
        best = max(
            (each for each in links if (each.first in poses) != (each.second in poses)), key=lambda each: each.score
        )
        if best.first in poses:
            poses[best.second] = best.first_from_second.inverse() @ poses[best.first]
        else:
            poses[best.first] = best.first_from_second @ poses[best.second]
    chosen = [poses[camera] for camera in members]
    return Poses(np.concatenate([p.rotation for p in chosen]), np.concatenate([p.translation for p in chosen]))
