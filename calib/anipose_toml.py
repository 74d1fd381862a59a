"""The TOML that Anipose began and Pose2Sim, Caliscope and FreeMoCap share; also the format this software writes.

One table a camera: ``name``, ``size`` [width, height], ``matrix`` 3×3, ``distortions`` (OpenCV's order), ``rotation``
(Rodrigues, world to camera) and ``translation``, with X_cam = R X + t; ``fisheye = true`` where the coefficients
follow ``cv2.fisheye``. The format does not say its unit: here ``[metadata] units`` does.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from calib import fields
from calib.file_format import CalibrationFormat, FileRig
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig

CAMERA_KEYS = ("matrix", "distortions", "rotation", "translation")


def recognises(text: str) -> bool:
    has_table = re.search(r"^\s*\[[^\[\]\n]+\]", text, re.MULTILINE) is not None
    return has_table and re.search(r"^\s*(matrix|distortions|rotation|translation)\s*=", text, re.MULTILINE) is not None


def read(path: Path, text: str) -> FileRig:
    """Cameras of a TOML file.

    Raises:
        InputError: not TOML, no camera in it, or a camera that lacks something or has it in another form.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise InputError(f"not valid TOML: {problem}") from None
    tables = _camera_tables(document)
    if not tables:
        raise InputError(
            f"no camera found; expected tables with {', '.join(CAMERA_KEYS)},"
            f" got: {', '.join(document) or 'nothing but comments'}"
        )
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    units = metadata.get("units")
    if units is not None and not isinstance(units, str | int | float):
        raise InputError(f'[metadata] units must be a name like "mm" or a number of metres, got {units!r}')
    square = metadata.get("charuco_square_size")
    return FileRig(
        cameras=tuple(_camera(section, table) for section, table in tables),
        units=None if units is None else str(units),
        hint=f"its metadata says charuco_square_size = {square}, in the unit of the file"
        if square is not None
        else None,
    )


def _camera_tables(document: Mapping[str, object]) -> list[tuple[str, dict[str, object]]]:
    """Tables that describe cameras and their section names, at the top or one level down (``[cameras.0]``)."""
    found: list[tuple[str, dict[str, object]]] = []
    for section, table in document.items():
        if not isinstance(table, dict) or section == "metadata":
            continue
        if any(key in table for key in CAMERA_KEYS):
            found.append((section, table))
            continue
        found += [(name, inner) for name, inner in table.items() if isinstance(inner, dict) and "matrix" in inner]
    return found


def _camera(section: str, table: Mapping[str, object]) -> Camera:
    name = str(table.get("name", section))
    if table.get("moving") is True:
        raise InputError(f"camera '{name}': moving = true; only cameras that stand still are supported")
    fisheye = table.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise InputError(f"camera '{name}': 'fisheye' must be true or false, got {fisheye!r}")
    size = table.get("size")
    return Camera(
        name=name,
        size=None if size is None else fields.image_size(size, name),
        matrix=fields.intrinsic_matrix(fields.required(table, "matrix", name), name, "matrix"),
        distortion=fields.coefficients(fields.required(table, "distortions", name), name, "distortions", fisheye),
        cam_from_world=fields.transform(
            fields.rotation(fields.required(table, "rotation", name), name, "rotation"),
            fields.numbers(fields.required(table, "translation", name), name, "translation", (3,)),
        ),
        lens="fisheye" if fisheye else "brown_conrady",
    )


def write_rig(rig: CameraRig, path: Path) -> None:
    """Write ``rig`` as TOML in metres. Numbers are written in full, so that reading gives the same rig (to 1e-12).

    Sections are numbered with leading zeros (cam_00 … cam_11): aniposelib sorts them as text. A camera without
    distortion is written with zeros, as every reader of this format expects a list.

    Raises:
        InputError: the file cannot be written there.
    """
    digits = max(len(str(len(rig) - 1)), 1)
    blocks = [_block(f"cam_{index:0{digits}d}", camera) for index, camera in enumerate(rig)]
    text = "\n".join([*blocks, '[metadata]\nunits = "m"\n'])
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise InputError(
            f"{path}: cannot write the calibration: {problem.strerror}; give a file in a folder that exists"
        ) from None


def _block(section: str, camera: Camera) -> str:
    fisheye = camera.lens == "fisheye"
    distortion = camera.distortion if camera.distortion.size else np.zeros(4 if fisheye else 5)
    vector = rotations.log(camera.cam_from_world.rotation.double()).numpy()
    translation = camera.cam_from_world.translation.double().numpy()
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped too.
    lines = [
        f"[{section}]",
        f"name = {json.dumps(camera.name, ensure_ascii=False).replace(chr(127), chr(92) + 'u007f')}",
    ]
    if camera.size is not None:
        lines.append(f"size = [{camera.size[0]}, {camera.size[1]}]")
    lines += [
        f"matrix = [{', '.join(_row(row) for row in camera.matrix)}]",
        f"distortions = {_row(distortion)}",
        f"rotation = {_row(vector)}",
        f"translation = {_row(translation)}",
    ]
    if fisheye:
        lines.append("fisheye = true")
    return "\n".join(lines) + "\n"


def _row(values: np.ndarray) -> str:
    return f"[{', '.join(repr(float(value)) for value in values)}]"


FORMAT = CalibrationFormat("Anipose TOML", recognises, read)
