"""Cameras in OpenCV's YAML: one file for all, or one file a camera.

The keys are those of OpenCV's calibration programs (``samples/cpp/tutorial_code/calib3d/camera_calibration``):
``image_width``, ``image_height``, ``camera_matrix``, ``distortion_coefficients``, ``fisheye_model``. Its stereo sample
adds ``R`` (3×3, or a Rodrigues vector) and ``T``, with X_cam = R X + T. One file for all holds these maps in a list
``cameras``, each with its ``name``; a file of one camera may be called after it instead. ``units`` says the unit of
length where the file was written here; OpenCV's own programs leave it open.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from calib import fields, opencv_storage
from calib.file_format import CalibrationFormat, FileRig, TextFile
from calib.file_text import entries, kind_of, read_text
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig

SUFFIXES = (".yml", ".yaml")
_ONE_CAMERA = re.compile(r"^camera_matrix[ \t]*:[ \t]*!!opencv-matrix", re.MULTILINE)
_LISTED = re.compile(r"^[ \t]+(- )?camera_matrix[ \t]*:[ \t]*!!opencv-matrix", re.MULTILINE)


def recognises(text: str) -> bool:
    return _ONE_CAMERA.search(text) is not None or _LISTED.search(text) is not None


def read(path: Path, text: str) -> FileRig:
    """The cameras of one file or, where that holds a single one, of all such files in its folder. Those without a
    position are named in a warning.

    Raises:
        InputError: no camera with a position, one that lacks something, files that contradict each other's unit.
    """
    document = opencv_storage.parse(path, text)
    if "camera_matrix" in document:
        documents = {part: opencv_storage.parse(part, read_text(part)) for part in parts(path)}
        told = {opencv_storage.units(each) for each in documents.values()}
        found = [(part.stem, each) for part, each in documents.items()]
    else:
        told = {opencv_storage.units(document)}
        listed = document.get("cameras")
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise InputError("no camera found; expected camera_matrix, or a list 'cameras' of maps that have it")
        found = [(str(place), each) for place, each in enumerate(listed)]
    fields.camera_count(len(found))
    named = [(fields.camera_name(each.get("name", place)), each) for place, each in found]
    placed = [(name, each) for name, each in named if {"R", "T"} <= set(each)]
    lacking = fields.listed([name for name, each in named if not {"R", "T"} <= set(each)])
    if not placed:
        raise InputError(f"no camera has a position (R and T): {lacking}; calibrate where the cameras stand")
    if len(told) > 1:
        raise InputError(f"its files are in different units: {fields.listed(sorted(map(str, told)))}")
    warnings = (f"no position (R and T) of {lacking}: left out",) if len(placed) < len(named) else ()
    return FileRig(tuple(_camera(name, each) for name, each in placed), units=told.pop(), warnings=warnings)


def parts(path: Path) -> tuple[Path, ...]:
    """All files of one camera each in the folder of one that is; else the file alone."""
    if _ONE_CAMERA.search(read_text(path)) is None:
        return (path,)
    beside = [each for each in entries(path.parent) if each.suffix.lower() in SUFFIXES and kind_of(each) == "file"]
    return tuple(each for each in beside if each == path or _ONE_CAMERA.search(read_text(each)))


def _camera(name: str, node: Mapping[str, object]) -> Camera:
    size = None
    if "image_width" in node and "image_height" in node:
        size = fields.image_size([node["image_width"], node["image_height"]], name, "image_width, image_height")
    fisheye = str(node.get("fisheye_model", "0")).lower() in ("1", "true")
    distortion = np.zeros(0)
    if "distortion_coefficients" in node:
        rows = opencv_storage.matrix_rows(node, "distortion_coefficients", name)
        distortion = fields.coefficients(rows, name, "distortion_coefficients", fisheye)
    translation = fields.numbers(opencv_storage.matrix_rows(node, "T", name), name, "T", (3,))
    return Camera(
        name=name,
        size=size,
        matrix=fields.intrinsic_matrix(opencv_storage.matrix_rows(node, "camera_matrix", name), name, "camera_matrix"),
        distortion=distortion,
        cam_from_world=fields.transform(
            fields.rotation(opencv_storage.matrix_rows(node, "R", name), name, "R"), translation
        ),
        lens="fisheye" if fisheye else "brown_conrady",
    )


def write(rig: CameraRig, target: Path, _up: tuple[float, float, float] | None = None) -> tuple[TextFile, ...]:
    """``rig`` in one file where ``target`` ends in .yml or .yaml, else one file a camera in the folder ``target``.

    Raises:
        InputError: a name that no file can have, or a folder that holds other YAML files, which would be read with
        these.
    """
    if target.suffix.lower() in SUFFIXES:
        blocks = "".join(f"   -\n{_block(camera, '      ')}" for camera in rig)
        return (TextFile(target, f'{opencv_storage.HEADER}units: "m"\ncameras:\n{blocks}'),)
    for camera in rig:
        if set(camera.name) & set('/\\:*?"<>|') or camera.name.startswith(".") or len(camera.name.encode()) > 200:
            raise InputError(
                f"camera '{camera.name}': no file can be called that; rename it (refit-mv calib rename), or write one"
                " file for all: a name that ends in .yml"
            )
    files = [
        TextFile(target / f"{camera.name}.yml", f'{opencv_storage.HEADER}units: "m"\n{_block(camera)}')
        for camera in rig
    ]
    if kind_of(target) == "folder":
        ours = {file.path.name for file in files}
        strange = [each.name for each in entries(target) if each.suffix.lower() in SUFFIXES and each.name not in ours]
        if strange:
            raise InputError(
                f"the folder already holds {fields.listed(strange)}, which would be read with the cameras written now;"
                " give an empty folder"
            )
    return tuple(files)


def _block(camera: Camera, indent: str = "") -> str:
    lens = (
        ""
        if camera.size is None
        else f"{indent}image_width: {camera.size[0]}\n{indent}image_height: {camera.size[1]}\n"
    )
    distortion: Float[np.ndarray, " coefficients"] = camera.distortion if camera.distortion.size else np.zeros(4)
    pose = camera.cam_from_world
    return "".join(
        [
            f"{indent}name: {opencv_storage.quoted(camera.name)}\n",
            lens,
            opencv_storage.matrix_text("camera_matrix", camera.matrix, indent),
            opencv_storage.matrix_text("distortion_coefficients", distortion[:, None], indent),
            f"{indent}fisheye_model: {int(camera.lens == 'fisheye')}\n",
            opencv_storage.matrix_text("R", pose.rotation.double().numpy(), indent),
            opencv_storage.matrix_text("T", pose.translation.double().numpy()[:, None], indent),
        ]
    )


def claims(target: Path) -> bool:
    return target.suffix.lower() in SUFFIXES


FORMAT = CalibrationFormat("OpenCV YAML", recognises, read, parts=parts, key="opencv", claims=claims, write=write)
