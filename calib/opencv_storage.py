"""OpenCV's FileStorage in YAML: matrices with their rows and columns, read and written as text.

``%YAML:1.0`` is OpenCV's own dialect. With its first line dropped, it is YAML; every scalar is left a string, so that a
camera called 01 stays 01 (cv2.FileStorage makes the number 1 of it).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from calib import fields, yaml_text
from calib.file_text import shown
from refit_mv.errors import InputError

HEADER = "%YAML:1.0\n---\n"


def parse(path: Path, text: str) -> dict[str, object]:
    """The names and values of a file; ``path`` is for messages.

    Raises:
        InputError: not YAML, or none that a calibration needs.
    """
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    return yaml_text.parse(body, f"an OpenCV YAML file ({shown(Path(path.name))})")


def matrix_rows(document: Mapping[str, object], key: str, camera: str) -> object:
    """The rows of one ``!!opencv-matrix``, as lists of strings.

    Raises:
        InputError: no such matrix, or one whose numbers are not as many as it says.
    """
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


def matrix_text(key: str, values: Float[np.ndarray, "row column"], indent: str = "") -> str:
    """A matrix as FileStorage writes it, its numbers in full."""
    rows, columns = values.shape
    numbers = ", ".join(repr(float(value)) for value in values.ravel())
    lines = (
        f"{key}: !!opencv-matrix",
        f"   rows: {rows}",
        f"   cols: {columns}",
        "   dt: d",
        f"   data: [ {numbers} ]",
    )
    return "".join(f"{indent}{line}\n" for line in lines)


def quoted(text: str) -> str:
    """A string that YAML and FileStorage read back as it is."""
    return json.dumps(text, ensure_ascii=False)


def units(document: Mapping[str, object]) -> str | None:
    """What a file says of its unit of length.

    Raises:
        InputError: it says something that is no word.
    """
    told = document.get("units")
    if told is not None and not isinstance(told, str):
        raise InputError(f'units must be a name like "mm" or a number of metres, got {fields.short(told)}')
    return told
