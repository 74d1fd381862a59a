"""COLMAP's model in text: ``cameras.txt`` (lenses), ``images.txt`` (poses) and ``points3D.txt`` in one folder.

As its documentation has it (colmap.github.io, "Output Format" and "Camera Models"): an image's quaternion w x y z and
translation map world to camera, and the middle of the upper left pixel is (0.5, 0.5), half a pixel from OpenCV's.
Lenses OPENCV, FULL_OPENCV and OPENCV_FISHEYE are OpenCV's with 4, 8 and, for fisheyes, 4 coefficients; the simpler ones
are these with zeros. A model has no unit of length: a comment ``# units: m`` says it in files written here.

A camera of a rig is an image called after it, ``left.png``, or a folder of images that all have one pose,
``left/000123.png``.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from calib import fields
from calib.file_format import CalibrationFormat, FileRig, TextFile
from calib.file_text import kind_of, read_text
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig, LensModel

# From OpenCV's pixel centres at whole numbers to COLMAP's at halves.
HALF_PIXEL = 0.5
# Images of a camera that stands still have one pose, but for digits that were rounded: radians and units of length.
SAME_POSE = 1e-4
# What of a model is read.
FILES = ("cameras.txt", "images.txt")
# For every lens that is OpenCV's or a simpler one: how many focal lengths, the lens, and OpenCV's places of the
# coefficients.
_MODELS: dict[str, tuple[int, LensModel, tuple[int, ...]]] = {
    "SIMPLE_PINHOLE": (1, "brown_conrady", ()),
    "PINHOLE": (2, "brown_conrady", ()),
    "SIMPLE_RADIAL": (1, "brown_conrady", (0,)),
    "RADIAL": (1, "brown_conrady", (0, 1)),
    "OPENCV": (2, "brown_conrady", (0, 1, 2, 3)),
    "FULL_OPENCV": (2, "brown_conrady", (0, 1, 2, 3, 4, 5, 6, 7)),
    "SIMPLE_RADIAL_FISHEYE": (1, "fisheye", (0,)),
    "RADIAL_FISHEYE": (1, "fisheye", (0, 1)),
    "OPENCV_FISHEYE": (2, "fisheye", (0, 1, 2, 3)),
}
_CAMERA_LINE = re.compile(r"^\d+ [A-Z_]+ \d+ \d+ [\d.+-]")


@dataclass(frozen=True, eq=False)
class _Lens:
    size: tuple[int, int]
    matrix: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    lens: LensModel


def recognises(text: str) -> bool:
    if text.startswith(("# Camera list with one line", "# Image list with two lines")):
        return True
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return _CAMERA_LINE.match(first) is not None


def read(path: Path, text: str) -> FileRig:
    """The cameras of the model that ``path`` belongs to.

    Raises:
        InputError: the other file is missing, a lens that is not OpenCV's, a line that lacks something, or images of
        one camera with several poses.
    """
    texts = {each.name.lower(): read_text(each) for each in parts(path)}
    lacking = [name for name in ("cameras.txt", "images.txt") if name not in texts]
    if lacking:
        raise InputError(f"COLMAP keeps poses in images.txt and lenses in cameras.txt: {lacking[0]} must lie beside it")
    lenses = dict(_lens(line) for line in texts["cameras.txt"].splitlines() if line.strip() and line[0] != "#")
    cameras: dict[str, Camera] = {}
    for line in _image_lines(texts["images.txt"]):
        camera = _camera(line, lenses)
        known = cameras.setdefault(camera.name, camera)
        if known is not camera and _apart(known, camera) > SAME_POSE:
            raise InputError(
                f"camera '{camera.name}': its images have several poses; only cameras that stand still are supported"
            )
        fields.camera_count(len(cameras))
    if not cameras:
        raise InputError("images.txt holds no image, and so no pose of a camera")
    told = re.search(r"^# units: (\S+)", texts["images.txt"], re.MULTILINE)
    return FileRig(tuple(cameras.values()), units=None if told is None else told[1])


def _lens(line: str) -> tuple[str, _Lens]:
    number, *rest = line.split()
    if len(rest) < 3:
        raise InputError(f"cameras.txt: a camera has an id, a lens, its size and numbers, got {fields.short(line)}")
    if rest[0] not in _MODELS:
        raise InputError(
            f"camera {number[:20]}: lens {fields.short(rest[0])} is not read; known are {', '.join(_MODELS)}"
        )
    focals, lens, places = _MODELS[rest[0]]
    given = fields.numbers(rest[3:], number, rest[0], (focals + 2 + len(places),))
    distortion = np.zeros(0 if not places else 8 if max(places) > 3 else 4)
    distortion[list(places)] = given[focals + 2 :]
    center_x, center_y = given[focals : focals + 2] - HALF_PIXEL
    matrix = [[given[0], 0, center_x], [0, given[focals - 1], center_y], [0, 0, 1]]
    size = fields.image_size(rest[1:3], number)
    return number, _Lens(size, fields.intrinsic_matrix(matrix, number, rest[0]), distortion, lens)


def _image_lines(text: str) -> list[str]:
    """Every other line: the one after an image's holds its points, and is empty where there are none."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    while lines and not lines[0].strip():
        lines.pop(0)
    return [line for line in lines[::2] if line.strip()]


def _camera(line: str, lenses: dict[str, _Lens]) -> Camera:
    words = line.split()
    if len(words) != 10:
        raise InputError(f"images.txt: an image has an id, 7 numbers, a camera and a name, got {fields.short(line)}")
    image = PurePosixPath(words[9])
    name = fields.camera_name(image.parts[-2] if len(image.parts) > 1 else image.stem)
    if words[8] not in lenses:
        raise InputError(f"camera '{name}': images.txt names lens {words[8][:20]}, which cameras.txt does not hold")
    given = fields.numbers(words[1:8], name, "pose", (7,))
    found = lenses[words[8]]
    rotation = fields.quaternion(given[:4], name, "quaternion", "wxyz")
    return Camera(name, found.size, found.matrix, found.distortion, fields.transform(rotation, given[4:]), found.lens)


def _apart(one: Camera, other: Camera) -> float:
    turned = float(rotations.angle_between(one.cam_from_world.rotation, other.cam_from_world.rotation))
    return max(turned, float(torch.linalg.norm(one.center - other.center)))


def parts(path: Path) -> tuple[Path, ...]:
    """cameras.txt and images.txt beside ``path``, as far as they are there."""
    beside = (path.with_name(name) for name in FILES)
    return tuple(each for each in beside if kind_of(each) == "file")


def write(rig: CameraRig, target: Path, _up: tuple[float, float, float] | None = None) -> tuple[TextFile, ...]:
    """The three files of a model with one image a camera, ``<name>.png``, and no points, in the folder ``target`` or,
    where that is the name of one of them, beside it.

    Raises:
        InputError: a camera without a size, a skewed one, one with 5 or 12 coefficients that are needed, a name with
        blanks or slashes, or points that would be lost.
    """
    folder = target.parent if claims(target) else target
    cameras, images = [], []
    for place, camera in enumerate(rig, 1):
        model, parameters = _parameters(camera)
        if camera.size is None:
            raise InputError(f"camera '{camera.name}': COLMAP needs the pictures' size, which is not known")
        if re.search(r"[\s/]", camera.name):
            raise InputError(
                f"camera '{camera.name}': COLMAP's names have no blanks and no slashes; rename it first: refit-mv calib"
                " rename"
            )
        cameras.append(f"{place} {model} {camera.size[0]} {camera.size[1]} {_row(parameters)}")
        pose = camera.cam_from_world
        x, y, z, w = Rotation.from_matrix(pose.rotation.double().numpy()).as_quat()
        translation = pose.translation.double().numpy()
        images.append(f"{place} {_row([w, x, y, z, *translation])} {place} {camera.name}.png\n")
    points = folder / "points3D.txt"
    if kind_of(points) == "file" and any(line.strip() and line[0] != "#" for line in read_text(points).splitlines()):
        raise InputError("the folder's points3D.txt holds points of another model; give an empty folder")
    return (
        TextFile(folder / "cameras.txt", f"{_LENSES_HEAD.format(len(rig))}{chr(10).join(cameras)}\n"),
        TextFile(folder / "images.txt", f"{_IMAGES_HEAD.format(len(rig))}{chr(10).join(images)}\n"),
        TextFile(points, _POINTS_HEAD),
    )


_LENSES_HEAD = """# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
# Number of cameras: {}
"""
_IMAGES_HEAD = """# Image list with two lines of data per image:
#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME
#   POINTS2D[] as (X, Y, POINT3D_ID)
# Number of images: {}, mean observations per image: 0
# units: m
"""
_POINTS_HEAD = """# 3D point list with one line of data per point:
#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)
# Number of points: 0, mean track length: 0
"""


def _parameters(camera: Camera) -> tuple[str, list[float]]:
    """The simplest of COLMAP's lenses that is this camera's, and its parameters."""
    if camera.matrix[0, 1] != 0:
        raise InputError(f"camera '{camera.name}': COLMAP's lenses have no skew, this one {camera.matrix[0, 1]:g}")
    shared = [camera.matrix[0, 0], camera.matrix[1, 1], *(camera.matrix[:2, 2] + HALF_PIXEL)]
    given = camera.distortion
    if camera.lens == "fisheye":
        return "OPENCV_FISHEYE", [*shared, *(given if given.size else np.zeros(4))]
    if given[8:].any():
        raise InputError(
            f"camera '{camera.name}': COLMAP's lenses have 8 of OpenCV's distortion coefficients, this one a thin prism"
            " too (12); write --to anipose or opencv"
        )
    padded = np.pad(given[:8], (0, 8 - given[:8].size))
    if padded[4:].any():
        return "FULL_OPENCV", [*shared, *padded]
    return ("OPENCV", [*shared, *padded[:4]]) if given.any() else ("PINHOLE", shared)


def _row(values: list[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def claims(target: Path) -> bool:
    return target.name.lower() in ("cameras.txt", "images.txt")


FORMAT = CalibrationFormat("COLMAP text", recognises, read, parts=parts, key="colmap", claims=claims, write=write)
