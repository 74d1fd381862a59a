"""Where the cameras stand, from the frames in which two of them see the board; cameras that share no view are linked
through others.

Each view has several possible poses (the two of a flat board, and the turns of a checkerboard that looks the same
turned). Every pair of them, and the way that the board's middle took through both cameras' space (which all of a view's
poses agree on), is a guess at how the cameras stand; the guess under which most frames show the board where the other
camera sees it is taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calib.board.placing import Placings
from calib.board.scene import Poses

# Of the picture's diagonal: a frame in which the board is further from where the other camera has it does not agree.
AGREEING = 0.02
# Guesses from single frames that are tried.
_GUESSES = 60
# Frames from which the board's way through space is worth a guess.
_WAY = 4


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
    views = [(placings[first, frame], placings[second, frame + shift]) for frame in frames]
    guesses = _from_frames(views)
    way = _from_way(views)
    if way is not None:
        guesses = Poses(
            np.concatenate([guesses.rotation, way.rotation]), np.concatenate([guesses.translation, way.translation])
        )
    size = np.array(views[0][1].lens.size, float)
    near = AGREEING * float(np.hypot(*size)) / 2
    misses = np.stack([_misses(guesses, one, other, 20 * near) for one, other in views], -1)
    score = (1 / (1 + (misses / near) ** 2)).sum(-1)
    best = int(score.argmax())
    agreeing = int((misses[best] < 2 * near).sum())
    return Link(first, second, guesses[best : best + 1], agreeing, len(frames), float(score[best]))


def _from_frames(views: list[tuple[Placings, Placings]]) -> Poses:
    """first_from_second by each frame's pairs of poses, those of the best explained frames."""
    turns, shifts, errors = [], [], []
    for one, other in views:
        a, b = (grid.ravel() for grid in np.mgrid[: len(one.error), : len(other.error)])
        relative = one.poses[a] @ other.poses[b].inverse()
        turns.append(relative.rotation)
        shifts.append(relative.translation)
        errors.append(one.error[a] + other.error[b])
    chosen = np.argsort(np.concatenate(errors), kind="stable")[:_GUESSES]
    return Poses(np.concatenate(turns)[chosen], np.concatenate(shifts)[chosen])


def _from_way(views: list[tuple[Placings, Placings]]) -> Poses | None:
    """first_from_second that lays the board's middles in one camera's space onto those in the other's (Kabsch 1976),
    the worse fitting half left out at the end; None where they are few, or nearly on a line.
    """
    if len(views) < _WAY:
        return None
    middle = [view.poses.apply(view.points.mean(0)[None, None])[0, 0] for pair in views for view in pair]
    target, source = np.array(middle[::2]), np.array(middle[1::2])
    chosen = np.arange(len(views))
    for _ in range(4):
        rotation, translation, spread = _laid_onto(source[chosen], target[chosen])
        if spread < 0.05:
            return None
        off = np.linalg.norm(source @ rotation.T + translation - target, axis=-1)
        chosen = np.argsort(off)[: max(_WAY, round(0.6 * len(views)))]
    return Poses(rotation[None], translation[None])


def _laid_onto(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotation and translation, and how wide the points are (second singular value over the first)."""
    left, values, right = np.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    turned = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = left @ turned @ right
    return rotation, target.mean(0) - rotation @ source.mean(0), float(values[1] / max(values[0], 1e-12))


def _misses(guesses: Poses, one: Placings, other: Placings, most: float) -> Float[np.ndarray, " guess"]:
    """By how much one camera's board misses what the other sees (pixels), and the other way, for the best of the poses
    of each: the larger of both."""
    there = np.stack([other.misses(guesses.inverse() @ _all(pose, guesses), most).min(-1) for pose in _each(one)])
    back = np.stack([one.misses(guesses @ _all(pose, guesses), most).min(-1) for pose in _each(other)])
    return np.maximum(there.min(0), back.min(0))


def _each(placings: Placings) -> list[Poses]:
    return [placings.poses[row : row + 1] for row in range(len(placings.error))]


def _all(pose: Poses, like: Poses) -> Poses:
    return pose[np.zeros(len(like.rotation), int)]


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
