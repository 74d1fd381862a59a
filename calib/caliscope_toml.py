"""Caliscope's ``camera_array.toml``: the tables of :mod:`calib.anipose_toml`, which reads them, as ``[cameras.3]``.

Caliscope knows its cameras by whole numbers (``load_camera_array`` in its ``persistence.py``), in metres. ``error`` and
``grid_count`` are left out as it leaves out what it does not know; the key ``name`` and the table ``metadata``, which
it passes over, bring names and unit back here.
"""

import re
from pathlib import Path

from calib import anipose_toml
from calib.file_format import CalibrationFormat, TextFile
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

MOST_COEFFICIENTS = 5


def write(rig: CameraRig, target: Path, up: tuple[float, float, float] | None = None) -> tuple[TextFile, ...]:
    """``rig`` as Caliscope keeps it. A camera's number is the one its name ends in, where these are all different
    (cam_3 and 3 are 3), else its place.

    Raises:
        InputError: a camera without a size, or with more than five distortion coefficients.
    """
    ends = [re.search(r"(\d{1,9})$", camera.name) for camera in rig]
    numbers = [int(end[1]) for end in ends if end is not None]
    if len(set(numbers)) < len(rig):
        numbers = list(range(len(rig)))
    blocks = []
    for number, camera in zip(numbers, rig, strict=True):
        if camera.size is None:
            raise InputError(f"camera '{camera.name}': Caliscope needs the pictures' size, which is not known")
        if camera.distortion.size > MOST_COEFFICIENTS:
            raise InputError(
                f"camera '{camera.name}': Caliscope's lenses have {MOST_COEFFICIENTS} distortion coefficients, this one"
                f" {camera.distortion.size}; write --to anipose or opencv"
            )
        more = (f"cam_id = {number}", "rotation_count = 0", "ignore = false")
        blocks.append(anipose_toml.table(f"cameras.{number}", camera, more))
    return (TextFile(target, "\n".join([*blocks, anipose_toml.metadata(up)])),)


def claims(target: Path) -> bool:
    return target.name.lower() == "camera_array.toml"


FORMAT = CalibrationFormat(
    "Caliscope TOML",
    lambda _text: False,
    anipose_toml.read,
    key="caliscope",
    claims=claims,
    write=write,
    holds_up=True,
)
