"""EasyMocap's pair of OpenCV FileStorage files: ``intri.yml`` (K_, dist_, H_, W_) and ``extri.yml`` (R_ or Rot_, T_).

``%YAML:1.0`` is OpenCV's own dialect. With its first line dropped, it is YAML; every scalar is left a string, so that a
camera called 01 stays 01 (cv2.FileStorage makes the number 1 of it). X_cam = R X + T; EasyMocap's documentation asks
for metres, and its files do not say so. The two files need not hold the same cameras: those in both are read.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from calib import fields, yaml_text
from calib.file_format import CalibrationFormat, FileRig
from calib.file_text import kind_of, read_text, shown
from calib.natural_order import natural_key
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera

# R_ and Rot_ of one camera are the same rotation twice; beyond this many radians (about 0.06 degrees) the file
# contradicts itself.
SAME_ROTATION = 1e-3


def recognises(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("%YAML") or "!!opencv-matrix" in text


def read(path: Path, text: str) -> FileRig:
    """Cameras of the pair that ``path`` belongs to, or of the one file where everything is in one. A camera of which
    only one of the two knows is left out with a warning.

    Raises:
        InputError: the other file is missing, no camera is in both, or a camera's matrices are missing or malformed.
    """
    document = _parse(path, text)
    partner = partner_of(path)
    if partner is not None and kind_of(partner) == "file":
        document |= _parse(partner, read_text(partner))
    with_lens = _cameras_with(document, "K_")
    with_place = _cameras_with(document, "R_") | _cameras_with(document, "Rot_")
    if not with_lens or not with_place:
        lacking = "intrinsics (K_…)" if not with_lens else "positions (R_… and T_…)"
        other = partner.name if partner is not None else "intri.yml or extri.yml"
        raise InputError(
            f"no camera {lacking} found; EasyMocap keeps them in {other}, which must lie in the same folder"
        )
    warnings = tuple(
        f"no {what} for {fields.listed(sorted(names, key=natural_key))}: left out"
        for what, names in (
            ("position in extri.yml", with_lens - with_place),
            ("intrinsics in intri.yml", with_place - with_lens),
        )
        if names
    )
    complete = sorted(with_lens & with_place)
    if not complete:
        raise InputError(f"no camera has both intrinsics and a position: {'; '.join(warnings)}")
    fields.camera_count(len(complete))
    return FileRig(tuple(_camera(fields.camera_name(name), document) for name in complete), warnings=warnings)


def partner_of(path: Path) -> Path | None:
    """extri.yml for intri.yml and the other way round, whatever stands around the word; None for other names."""
    for word, other in (("intri", "extri"), ("extri", "intri")):
        if word in path.name.lower():
            return path.with_name(re.sub(word, other, path.name, flags=re.IGNORECASE))
    return None


def _parse(path: Path, text: str) -> dict[str, object]:
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    return yaml_text.parse(body, f"an OpenCV YAML file ({shown(Path(path.name))})")


def _cameras_with(document: Mapping[str, object], prefix: str) -> set[str]:
    """Cameras of which there is such a matrix, whether ``names`` lists them or not."""
    return {key.removeprefix(prefix) for key in document if key.startswith(prefix)}


def _camera(name: str, document: Mapping[str, object]) -> Camera:
    size = None
    if f"W_{name}" in document and f"H_{name}" in document:
        size = fields.image_size([document[f"W_{name}"], document[f"H_{name}"]], name, f"W_{name}, H_{name}")
    distortion_key = f"dist_{name}" if f"dist_{name}" in document else f"D_{name}"
    distortion = document.get(distortion_key)
    return Camera(
        name=name,
        size=size,
        matrix=fields.intrinsic_matrix(_matrix(document, f"K_{name}", name), name, f"K_{name}"),
        distortion=np.zeros(0)
        if distortion is None
        else fields.coefficients(_matrix(document, distortion_key, name), name, distortion_key),
        cam_from_world=fields.transform(
            _rotation(document, name), fields.numbers(_matrix(document, f"T_{name}", name), name, f"T_{name}", (3,))
        ),
    )


def _rotation(document: Mapping[str, object], name: str) -> Float[np.ndarray, "3 3"]:
    found = [
        fields.rotation(_matrix(document, key, name), name, key)
        for key in (f"Rot_{name}", f"R_{name}")
        if key in document
    ]
    if len(found) == 2:
        apart = float(rotations.angle_between(torch.from_numpy(found[0]), torch.from_numpy(found[1])))
        if apart > SAME_ROTATION:
            raise InputError(
                f"camera '{name}': R_{name} and Rot_{name} differ by {np.degrees(apart):.2f} degrees;"
                " one of them is out of date"
            )
    return found[0]


def _matrix(document: Mapping[str, object], key: str, camera: str) -> object:
    """The rows of one ``!!opencv-matrix``, as lists of strings."""
    node = document.get(key)
    if not isinstance(node, dict) or not isinstance(node.get("data"), list):
        raise InputError(
            f"camera '{camera}': '{key}' is {'missing' if node is None else 'not an !!opencv-matrix with data'}"
        )
    # OpenCV writes NaN as .Nan and infinity as .Inf, which Python does not read.
    data = [
        item.lstrip("+").replace(".Nan", "nan").replace(".Inf", "inf") if isinstance(item, str) else item
        for item in node["data"]
    ]
    rows, columns = (
        fields.number(fields.required(node, side, camera), camera, f"{key} {side}") for side in ("rows", "cols")
    )
    rows, columns = int(rows), int(columns)
    if rows < 1 or rows * columns != len(data):
        raise InputError(f"camera '{camera}': '{key}' says {rows}×{columns} but holds {len(data)} numbers")
    return [data[row * columns : (row + 1) * columns] for row in range(rows)]


FORMAT = CalibrationFormat("EasyMocap yml", recognises, read)
