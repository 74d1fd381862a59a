"""Rigs around a board that is waved about, with an answer that is known."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from calib.board.board import Board
from calib.board.lens import project
from calib.board.scene import Poses, Scene, Sightings
from refit_mv.geometry.camera import LensModel

SIZE = (1280, 960)
CHARUCO = Board("charuco", 0.09, (7, 5), 0.065)


@dataclass(frozen=True, eq=False)
class MadeRig:
    """The truth, and what noisy cameras made of it."""

    board: Board
    scene: Scene
    seen: Sightings
    sizes: tuple[tuple[int, int], ...]


def looking_at(center: np.ndarray, target: np.ndarray, roll: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    rotation = Rotation.from_rotvec([0, 0, roll]).as_matrix() @ rotation
    return rotation, -rotation @ center


def lens_numbers(model: LensModel, rng: np.random.Generator) -> np.ndarray:
    if model == "fisheye":
        focal, bend = rng.uniform(380, 440), [0.03, -0.01, 0.004, -0.001, 0]
    else:
        focal, bend = rng.uniform(850, 1000), [-0.12, 0.06, 0.0006, -0.0008, -0.01]
    middle = np.array(SIZE) / 2 - 0.5 + rng.uniform(-15, 15, 2)
    return np.array([focal, focal * (1 + rng.normal(0, 0.001)), *middle, *bend])


def made_rig(
    seed: int = 0,
    models: tuple[LensModel, ...] = ("brown_conrady",) * 4,
    frames: int = 40,
    noise: float = 0.2,
    board: Board = CHARUCO,
    arc: float = 1.2,
) -> MadeRig:
    """Cameras 3 m around the middle on ``arc`` of a half turn each side, one in three rolled to portrait."""
    rng = np.random.default_rng(seed)
    rotations, translations = [], []
    for index in range(len(models)):
        angle = arc * np.pi * (index / max(len(models) - 1, 1) - 0.5)
        center = np.array([3 * np.cos(angle), 3 * np.sin(angle), 1.2 + 0.8 * rng.random()])
        rotation, translation = looking_at(center, np.array([0, 0, 1.0]), np.pi / 2 if index % 3 == 2 else 0.0)
        rotations.append(rotation)
        translations.append(translation)
    cameras = Poses(np.array(rotations), np.array(translations))
    # The board faces the cameras' middle, tilted at random, and is carried through the space.
    faces, places = [], []
    middle = board.points.mean(0)
    for _ in range(frames):
        facing = rng.uniform(-0.5, 0.5) * arc * np.pi
        normal = np.array([np.cos(facing), np.sin(facing), 0.2])
        rotation, _ = looking_at(np.zeros(3), -normal / np.linalg.norm(normal), rng.uniform(-0.6, 0.6))
        turned = rotation.T @ Rotation.from_rotvec(rng.normal(0, 0.45, 3)).as_matrix()
        place = np.array([0.3, 0, 1]) + rng.uniform(-1, 1, 3) * [1.0, 1.0, 0.7]
        faces.append(turned)
        places.append(place - turned @ middle)
    boards = Poses(np.array(faces), np.array(places))
    lenses = np.array([lens_numbers(model, rng) for model in models])
    scene = Scene(models, lenses, cameras, boards)
    return MadeRig(board, scene, sightings(scene, board, noise, rng), (SIZE,) * len(models))


def sightings(scene: Scene, board: Board, noise: float, rng: np.random.Generator) -> Sightings:
    """What is inside the picture and faces the camera, at least six corners of it (a marker's four)."""
    rows = []
    for frame in range(len(scene.boards.rotation)):
        for camera, model in enumerate(scene.models):
            pose = scene.cameras[np.array([camera])] @ scene.boards[np.array([frame])]
            p_cam = pose.apply(board.points[None])[0]
            pixels = project(model, scene.lenses[camera], p_cam)
            away = pose.rotation[0, :, 2] @ p_cam.mean(0) / np.linalg.norm(p_cam.mean(0))
            inside = ((pixels > 5) & (pixels < np.array(SIZE) - 5)).all(-1) & (p_cam[:, 2] > 0.3)
            if away > 0.3 and inside.sum() >= min(6, len(board.points)):
                noisy = np.where(inside[:, None], pixels + rng.normal(0, noise, pixels.shape), 0.0)
                rows.append((camera, frame, board.points, noisy, inside))
    return Sightings(*(np.array(column) for column in zip(*rows, strict=True)))
