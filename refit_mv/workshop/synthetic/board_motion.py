"""How somebody carries a calibration board through a room: between the cameras, and before each of them in turn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, RotationSpline

from calib.board.board import Board
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import camera_bearings

# Frames from one place that the board is brought to until the next.
FRAMES_A_STEP = 3
# Of each camera's turn: so many places between all cameras, then so many before this one.
BETWEEN, BEFORE = 1, 3
# Half the room that the board is carried through between the cameras (metres: x, up, z).
ROOM = (0.8, 0.35, 0.8)
# How far the board is turned away from whom it is shown to (radians, the most), and about the line of sight.
TILT, ROLL = np.deg2rad(45.0), np.deg2rad(30.0)
# How much of a picture's shorter side the board's width fills when it is held before a camera.
FILLED = (0.45, 0.8)


@dataclass(frozen=True)
class BoardPath:
    """``rotation`` and ``translation`` of ``world_from_board`` at any time, counted in frames."""

    rotation: Callable[[Float[np.ndarray, " time"]], Float[np.ndarray, "time 3 3"]]
    translation: Callable[[Float[np.ndarray, " time"]], Float[np.ndarray, "time 3"]]


def carried_board(
    rig: CameraRig, board: Board, frames: int, center: Float[np.ndarray, "3"], rng: np.random.Generator
) -> BoardPath:
    """A smooth path through places that are drawn at random around ``center`` (metres) and before the cameras, which
    must know their pictures' size.
    """
    places = max(-(-frames // FRAMES_A_STEP) + 1, 3)
    turn = rng.uniform(0, 2 * np.pi)
    centers, facing = [], []
    for place in range(places):
        lap, step = divmod(place, BETWEEN + BEFORE)
        if step < BETWEEN:
            # Everybody gets to see the front: the golden angle spreads directions evenly, however many there are.
            turn += np.pi * (3 - np.sqrt(5))
            centers.append(center + rng.uniform(-1, 1, 3) * ROOM)
            facing.append(np.array([np.sin(turn), rng.uniform(-0.4, 0.2), np.cos(turn)]))
        else:
            at, direction = _before(rig.cameras[lap % len(rig)], board, rng)
            centers.append(at)
            facing.append(direction)
    rotations = Rotation.from_matrix(np.stack([_turned(direction, rng) for direction in facing]))
    times = FRAMES_A_STEP * np.arange(places, dtype=np.float64)
    middles, turns = PchipInterpolator(times, np.stack(centers)), RotationSpline(times, rotations)
    half = np.array([*board.size, 0.0]) / 2

    def rotation(time: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time 3 3"]:
        return turns(time).as_matrix()

    def translation(time: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time 3"]:
        return middles(time) - rotation(time) @ half

    return BoardPath(rotation, translation)


def _before(
    camera: Camera, board: Board, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Where to hold the board's middle for it to fill part of a camera's picture somewhere, and the line of sight."""
    assert camera.size is not None
    size = np.array(camera.size)
    pixel = size * rng.uniform(0.05, 0.95, 2)
    bearing, _ = camera_bearings(CameraRig((camera,)).stacked(), torch.from_numpy(pixel[None, None]))
    pose = camera.cam_from_world.inverse()
    sight = (pose.rotation @ bearing[0, 0].double()).numpy()
    distance = max(board.size) * camera.focal / (rng.uniform(*FILLED) * size.min())
    return pose.translation.numpy() + distance * sight, sight


def _turned(direction: Float[np.ndarray, "3"], rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """``world_from_board`` rotation of a board that is read along ``direction``, upright but for a random tilt and
    roll.
    """
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, -1.0, 0.0], z)
    x /= np.linalg.norm(x)
    upright = np.stack([x, np.cross(z, x), z], axis=1)
    away = rng.uniform(0, 2 * np.pi)
    tilt = Rotation.from_rotvec(TILT * np.sqrt(rng.uniform()) * np.array([np.cos(away), np.sin(away), 0.0]))
    roll = Rotation.from_rotvec([0.0, 0.0, rng.uniform(-ROLL, ROLL)])
    return upright @ (tilt * roll).as_matrix()
