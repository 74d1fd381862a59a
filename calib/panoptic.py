"""CMU Panoptic Studio ``calibration_*.json``: K, distCoef, R, t with X_cam = R X + t, in centimetres. Other programs
write the same layout in metres or millimetres.

Format: "cameras": [{"name", "type", "resolution", "K", "distCoef", "R", "t"}, …] as the Panoptic Toolbox reads it
(Joo et al., "Panoptic Studio", ICCV 2015).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from calib import fields
from calib.file_format import CalibrationFormat, FileRig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera

# Metres between the two cameras furthest apart that centimetres are believed to give: the studio is 5.5 m wide, and a
# rig in metres or millimetres comes out a hundred times smaller or ten times larger.
BELIEVED_BASELINE_M = (0.3, 10.0)


def recognises(text: str) -> bool:
    return (
        text.lstrip("\ufeff \t\r\n").startswith("{")
        and re.search(r'"cameras"\s*:', text) is not None
        and '"distCoef"' in text
    )


def read(path: Path, text: str) -> FileRig:
    """All cameras of the file: hd, vga and kinect alike; sessions match them by name.

    Raises:
        InputError: not JSON of that form, or a camera that lacks something.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:  # also integers of thousands of digits
        raise InputError(f"not valid JSON: {problem}") from None
    entries = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise InputError('"cameras" must be a list of cameras with name, K, distCoef, R and t')
    fields.camera_count(len(entries))
    cameras = tuple(_camera(index, entry) for index, entry in enumerate(entries))
    return FileRig(cameras, units="cm", custom=BELIEVED_BASELINE_M)


def _camera(index: int, entry: Mapping[str, object]) -> Camera:
    name = fields.camera_name(entry.get("name", index))
    size = entry.get("resolution")
    return Camera(
        name=name,
        size=None if size is None else fields.image_size(size, name, "resolution"),
        matrix=fields.intrinsic_matrix(fields.required(entry, "K", name), name, "K"),
        distortion=fields.coefficients(fields.required(entry, "distCoef", name), name, "distCoef"),
        cam_from_world=fields.transform(
            fields.rotation(fields.required(entry, "R", name), name, "R"),
            fields.numbers(fields.required(entry, "t", name), name, "t", (3,)),
        ),
    )


FORMAT = CalibrationFormat("CMU Panoptic json", recognises, read)
