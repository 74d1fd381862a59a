"""The TOML that Anipose began and Pose2Sim, Caliscope and FreeMoCap share; also what this software writes by default.

One table a camera: ``name``, ``size`` [width, height], ``matrix`` 3×3, ``distortions`` (OpenCV's order), ``rotation``
(Rodrigues, world to camera) and ``translation``, with X_cam = R X + t; ``fisheye = true`` where the coefficients
follow ``cv2.fisheye``. The format does not say its unit: here ``[metadata] units`` does, and ``up`` says which way the
world's up is, where that is known by definition.

Caliscope (formerly pyxy3d) keeps them in ``[cameras.1]`` of ``camera_array.toml``, earlier in ``[cam_1]`` of
``config.toml``, among tables of other things: ``stereo_1_2`` has a rotation and a translation and is no camera. What it
has not calibrated it leaves out or writes as "null".
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from calib import fields
from calib.file_format import CalibrationFormat, FileRig, TextFile
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig

CAMERA_KEYS = ("matrix", "distortions", "rotation", "translation")
# Python's reader takes seconds for a key of some ten thousand parts.
DEEPEST_KEY = 100
_UNSET = ("null", "None", "", [], None)


def recognises(text: str) -> bool:
    has_table = re.search(r"^[ \t]*\[[^\[\]\n]+\]", text, re.MULTILINE) is not None
    return has_table and re.search(r"^[ \t]*(matrix|distortions)[ \t]*=", text, re.MULTILINE) is not None


def read(path: Path, text: str) -> FileRig:
    """Cameras of a TOML file that have a pose; the others are named in a warning.

    Raises:
        InputError: not TOML, no camera in it, or a camera that lacks something or has it in another form.
    """
    document = _parse(text)
    tables = _camera_tables(document)
    fields.camera_count(len(tables))
    if not tables:
        raise InputError(
            f"no camera found; expected tables with {', '.join(CAMERA_KEYS)},"
            f" got: {fields.listed(document) if document else 'nothing but comments'}"
        )
    left_out = {section: reason for section, table in tables.items() if (reason := _uncalibrated(table))}
    if len(left_out) == len(tables):
        raise InputError(
            f"none of its {len(tables)} cameras is calibrated ({_reasons(left_out, tables)}); finish the calibration"
        )
    cameras = {section: _camera(section, table) for section, table in tables.items() if section not in left_out}
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    units = metadata.get("units")
    if units is not None and (isinstance(units, bool) or not isinstance(units, str | int | float)):
        raise InputError(f'[metadata] units must be a name like "mm" or a number of metres, got {fields.short(units)}')
    square = metadata.get("charuco_square_size")
    return FileRig(
        cameras=tuple(cameras.values()),
        units=None if units is None else str(units),
        hint=f"its metadata says charuco_square_size = {fields.short(square)}, in the unit of the file"
        if square is not None
        else None,
        warnings=(f"cameras left out: {_reasons(left_out, tables)}",) if left_out else (),
        up=_up(metadata.get("up")),
        sections={section: camera.name for section, camera in cameras.items()},
    )


def _parse(text: str) -> dict[str, object]:
    for part in re.finditer(r"[^,\n={}\[\]#]+", text):
        if part[0].count(".") > DEEPEST_KEY and ".." not in part[0]:
            raise InputError("not valid TOML: a key of more than a hundred parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError("not valid TOML: nested too deeply") from None
    except ValueError as problem:  # also integers of thousands of digits, and dates that do not exist
        raise InputError(f"not valid TOML: {' '.join(str(problem).split())[:200]}") from None


def _camera_tables(document: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """Tables that describe cameras by their sections' names, at the top or one level down (``[cameras.0]``)."""
    found: dict[str, Mapping[str, object]] = {}
    for section, table in document.items():
        if not isinstance(table, dict) or section == "metadata":
            continue
        if _describes_camera(table):
            found[section] = table
        else:
            found |= {
                name: inner for name, inner in table.items() if isinstance(inner, dict) and _describes_camera(inner)
            }
    return found


def _describes_camera(table: Mapping[str, object]) -> bool:
    """A lens, or Caliscope's number of a camera beside its size; a pose alone may be of anything (``stereo_1_2``)."""
    return "matrix" in table or "distortions" in table or ("size" in table and ("cam_id" in table or "port" in table))


def _uncalibrated(table: Mapping[str, object]) -> str | None:
    """Why a camera has to be left out, where its calibration was never made; None where it was."""
    unset = {key for key in CAMERA_KEYS if table.get(key) in _UNSET}
    if table.get("ignore") is True:
        return "set to be ignored"
    if unset >= {"matrix", "distortions"} or any(key in unset and key in table for key in ("matrix", "distortions")):
        return "lens not calibrated"
    return "no pose" if unset >= {"rotation", "translation"} else None


def _reasons(left_out: Mapping[str, str], tables: Mapping[str, Mapping[str, object]]) -> str:
    named = {reason: [] for reason in left_out.values()}
    for section, reason in left_out.items():
        named[reason].append(_name(section, tables[section]))
    return "; ".join(f"{fields.listed(names)} ({reason})" for reason, names in named.items())


def _name(section: str, table: Mapping[str, object]) -> str:
    given = table.get("name", "")
    return fields.camera_name(section if given == "" else given)


def _up(given: object) -> tuple[float, float, float] | None:
    if given is None:
        return None
    vector = fields.numbers(given, "metadata", "up", (3,))
    length = float(np.linalg.norm(vector))
    if length == 0:
        raise InputError("[metadata] up must be a direction, got zeros")
    x, y, z = (vector / length).tolist()
    return x, y, z


def _camera(section: str, table: Mapping[str, object]) -> Camera:
    name = _name(section, table)
    if table.get("moving") is True:
        raise InputError(f"camera '{name}': moving = true; only cameras that stand still are supported")
    fisheye = table.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise InputError(f"camera '{name}': 'fisheye' must be true or false, got {fields.short(fisheye)}")
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


def write(rig: CameraRig, target: Path, up: tuple[float, float, float] | None = None) -> tuple[TextFile, ...]:
    """``rig`` as TOML in metres, with ``up`` where that is known by definition. Numbers are written in full, so that
    reading gives the same rig (to 1e-12).

    Sections are numbered with leading zeros (cam_00 … cam_11): aniposelib sorts them as text. A camera without
    distortion is written with zeros, as every reader of this format expects a list.
    """
    digits = max(len(str(len(rig) - 1)), 1)
    blocks = [table(f"cam_{index:0{digits}d}", camera) for index, camera in enumerate(rig)]
    return (TextFile(target, "\n".join([*blocks, metadata(up)])),)


def metadata(up: tuple[float, float, float] | None) -> str:
    """The table that says the unit and, where it is known by definition, which way is up."""
    known = "" if up is None else f"up = {_row(np.array(up))}\n"
    return f'[metadata]\nunits = "m"\n{known}'


def table(section: str, camera: Camera, more: Sequence[str] = ()) -> str:
    """One camera's table, with ``more`` lines that only one of the family's tools has."""
    fisheye = camera.lens == "fisheye"
    distortion = camera.distortion if camera.distortion.size else np.zeros(4 if fisheye else 5)
    vector = rotations.log(camera.cam_from_world.rotation.double()).numpy()
    translation = camera.cam_from_world.translation.double().numpy()
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped too.
    lines = [
        f"[{section}]",
        f"name = {json.dumps(camera.name, ensure_ascii=False).replace(chr(127), chr(92) + 'u007f')}",
        *more,
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


def claims(target: Path) -> bool:
    return target.suffix.lower() == ".toml"


FORMAT = CalibrationFormat("Anipose TOML", recognises, read, key="anipose", claims=claims, write=write, holds_up=True)
