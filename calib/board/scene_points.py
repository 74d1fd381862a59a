"""Places of cameras from points of the scene whose positions were measured, and where each camera sees them.

A YAML file names points and pixels (``points: {corner: [x, y, z], …}``, ``pixels: {cam01: {corner: [u, v], …}, …}``),
a CSV has one row a sighting: ``camera, x, y, z, u, v``. Lengths are metres, the world is the points' own.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from calib.board.bundle import CAMERA, Adjusted, Freedom, Problem, adjust
from calib.board.gauge import CameraCovariance, camera_covariance
from calib.board.lens import NUMBERS, Lens, undistorted
from calib.board.scene import Poses, Scene, Sightings
from refit_mv.errors import InputError
from refit_mv.files import read_text
from refit_mv.strict_yaml import read_yaml

# Four points place a camera whose lens is known; more tell how well.
FEWEST = 4
_COLUMNS = ("camera", "x", "y", "z", "u", "v")


@dataclass(frozen=True, eq=False)
class ScenePoints:
    """``points`` (metres) and ``pixels`` of each camera, row by row."""

    points: Mapping[str, Float[np.ndarray, "point 3"]]
    pixels: Mapping[str, Float[np.ndarray, "point 2"]]


@dataclass(frozen=True, eq=False)
class PlacedByScene:
    """Cameras by name, in the order of ``adjusted.scene``."""

    names: tuple[str, ...]
    adjusted: Adjusted
    seen: Sightings
    known: CameraCovariance


def read_scene_points(path: Path) -> ScenePoints:
    """Measured points of a scene, from YAML or CSV.

    Raises:
        InputError: another form, a pixel of a point that is not listed, too few points in a camera.
    """
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _yaml_rows(path)
    points = {name: np.array([row[:3] for row in own], float) for name, own in rows.items()}
    pixels = {name: np.array([row[3:] for row in own], float) for name, own in rows.items()}
    few = [f"{name} {len(own)}" for name, own in points.items() if len(own) < FEWEST]
    if few or not points:
        raise InputError(f"{path}: a camera needs {FEWEST} points or more, got {', '.join(few) or 'none'}")
    if not all(np.isfinite(each).all() for each in (*points.values(), *pixels.values())):
        raise InputError(f"{path}: a coordinate is no finite number")
    return ScenePoints(points, pixels)


def _yaml_rows(path: Path) -> dict[str, list[list[float]]]:
    content = read_yaml(path, "list of scene points")
    points = content.get("points") if isinstance(content, dict) else None
    pixels = content.get("pixels") if isinstance(content, dict) else None
    if not isinstance(points, dict) or not isinstance(pixels, dict):
        raise InputError(f"{path}: expected points: {{name: [x, y, z]}} and pixels: {{camera: {{name: [u, v]}}}}")
    rows: dict[str, list[list[float]]] = {}
    for camera, own in pixels.items():
        for name, pixel in own.items() if isinstance(own, dict) else ():
            if name not in points:
                raise InputError(f"{path}: camera {camera} sees '{name}', which is not among the points")
            rows.setdefault(str(camera), []).append([*_numbers(path, points[name], 3), *_numbers(path, pixel, 2)])
    return rows


def _numbers(path: Path, value: object, count: int) -> list[float]:
    if (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
    ):
        return [float(each) for each in value]
    raise InputError(f"{path}: expected {count} numbers, got {str(value)[:60]}")


def _csv_rows(path: Path) -> dict[str, list[list[float]]]:
    reader = csv.DictReader(read_text(path, "list of scene points").splitlines(), skipinitialspace=True)
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing; expected {', '.join(_COLUMNS)}")
    rows: dict[str, list[list[float]]] = {}
    for line, row in enumerate(reader, 2):
        try:
            rows.setdefault(str(row["camera"]).strip(), []).append([float(row[name]) for name in _COLUMNS[1:]])
        except (TypeError, ValueError):
            raise InputError(f"{path}, line {line}: expected numbers for x, y, z, u, v") from None
    return rows


def place_by_scene(given: ScenePoints, lenses: Mapping[str, Lens]) -> PlacedByScene:
    """Every camera's pose in the world of the points.

    Raises:
        InputError: a camera without a lens, or points that do not place it.
    """
    names = tuple(given.points)
    missing = [name for name in names if name not in lenses]
    if missing:
        raise InputError(f"no lens of camera {', '.join(missing)}; known are {', '.join(lenses) or 'none'}")
    most = max(len(own) for own in given.points.values())
    count = len(names)
    points, pixels = np.zeros((count, most, 3)), np.zeros((count, most, 2))
    seen = np.zeros((count, most), bool)
    rotations, translations = [], []
    for row, name in enumerate(names):
        size = len(given.points[name])
        points[row, :size], pixels[row, :size], seen[row, :size] = given.points[name], given.pixels[name], True
        rotation, translation = _pose(name, lenses[name], given.points[name], given.pixels[name])
        rotations.append(rotation)
        translations.append(translation)
    sightings = Sightings(np.arange(count), np.zeros(count, np.int64), points, pixels, seen)
    scene = Scene(
        tuple(lenses[name].model for name in names),
        np.array([lenses[name].numbers for name in names]),
        Poses(np.array(rotations), np.array(translations)),
        Poses(np.eye(3)[None], np.zeros((1, 3))),
    )
    free = np.zeros((count, CAMERA), bool)
    free[:, NUMBERS:] = True
    adjusted = adjust(scene, Problem(sightings, Freedom(free, np.zeros(1, bool)), None))
    known = camera_covariance(adjusted.scene.cameras, adjusted.covariance, "world")
    return PlacedByScene(names, adjusted, sightings, known)


def _pose(name: str, lens: Lens, points: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    plane = undistorted(lens, pixels)
    usable = np.isfinite(plane).all(-1)
    found = False
    turn = shift = np.zeros(3)
    if usable.sum() >= FEWEST:
        found, turn, shift = cv2.solvePnP(points[usable], plane[usable], np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        raise InputError(f"camera {name}: its points do not place it; are they all on one line?")
    return cv2.Rodrigues(turn)[0], np.array(shift, float).ravel()
