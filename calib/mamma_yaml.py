"""MAMMA's calibration YAML: ``cameras`` with ``intrinsics`` [fx, fy, cx, cy], ``resolution``, ``distortion_model`` and
``distortion_coeffs``, ``translation`` and ``rotation_quaternion``, in metres.

As its loader has it (``capture/loaders/yaml_loader.py`` of MAMMA, CVPR 2026): the pose is the camera's in the world
unless ``extrinsics_convention: world2cam`` says otherwise, the quaternion w x y z unless ``quaternion_order: xyzw``
does. ``radtan`` is OpenCV's k1 k2 p1 p2, ``vicon_radial_2`` the lens of Vicon's files.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calib import fields, vicon, yaml_text
from calib.file_format import CalibrationFormat, FileRig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera

CONVENTIONS = {"extrinsics_convention": ("cam2world", "world2cam"), "quaternion_order": ("wxyz", "xyzw")}


def recognises(text: str) -> bool:
    return re.search(r"^cameras[ \t]*:", text, re.MULTILINE) is not None and "rotation_quaternion" in text


def read(path: Path, text: str) -> FileRig:
    """All cameras of the file.

    Raises:
        InputError: not YAML of that form, a convention or a lens that is not known, a camera that lacks something.
    """
    document = yaml_text.parse(text, "a MAMMA calibration in YAML")
    tables = document.get("cameras")
    if not isinstance(tables, dict) or not tables or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError("'cameras' must hold cameras by their names, each with intrinsics, resolution and a pose")
    fields.camera_count(len(tables))
    told = {key: str(document.get(key, known[0])).lower() for key, known in CONVENTIONS.items()}
    for key, known in CONVENTIONS.items():
        if told[key] not in known:
            raise InputError(f"'{key}' must be {' or '.join(known)}, got {fields.short(document[key])}")
    cameras: list[Camera] = []
    warnings: list[str] = []
    for name, table in tables.items():
        camera, notes = _camera(fields.camera_name(name), table, told)
        cameras.append(camera)
        warnings += notes
    return FileRig(tuple(cameras), units="m", warnings=tuple(warnings))


def _camera(name: str, table: Mapping[str, object], told: Mapping[str, str]) -> tuple[Camera, list[str]]:
    def values(key: str, count: int) -> np.ndarray:
        return fields.numbers(fields.required(table, key, name), name, key, (count,))

    if table.get("camera_model", "pinhole") != "pinhole":
        raise InputError(f"camera '{name}': camera_model must be pinhole, got {fields.short(table['camera_model'])}")
    focal_x, focal_y, center_x, center_y = values("intrinsics", 4)
    matrix = fields.intrinsic_matrix([[focal_x, 0, center_x], [0, focal_y, center_y], [0, 0, 1]], name, "intrinsics")
    size = fields.image_size(fields.required(table, "resolution", name), name, "resolution")
    model, notes = fields.required(table, "distortion_model", name), []
    if model == "vicon_radial_2":
        given = values("distortion_coeffs", 5)
        distortion, notes = vicon.lens(name, matrix, size, given[:2], given[2:])
    elif model == "radtan":
        distortion = fields.coefficients(fields.required(table, "distortion_coeffs", name), name, "distortion_coeffs")
    else:
        raise InputError(
            f"camera '{name}': distortion_model must be radtan or vicon_radial_2, got {fields.short(model)}"
        )
    rotation = fields.quaternion(
        values("rotation_quaternion", 4), name, "rotation_quaternion", told["quaternion_order"]
    )
    translation = values("translation", 3)
    if told["extrinsics_convention"] == "cam2world":
        rotation = rotation.T
        translation = -rotation @ translation
    return Camera(name, size, matrix, distortion, fields.transform(rotation, translation)), notes


FORMAT = CalibrationFormat("MAMMA yaml", recognises, read)
