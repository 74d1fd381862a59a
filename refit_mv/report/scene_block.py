"""A scene as a page carries it: a header, and one block of bytes that holds its arrays, rounded to what eyes can tell
and packed.

Lengths are rounded to 0.1 mm, rotations to 0.01°, pixels to an eighth of one. A person's frame takes some 1.7 kB before
packing, 0.5 kB without what was seen of them.
"""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.geometry.rotations import quaternion
from refit_mv.report.scene import Scene, ScenePerson
from refit_mv.status import STATUS_CODES

# Tenths of millimetres; 3.2 m either way.
LENGTH = 1e4
MOST_16_BIT = 32767
# A share of the picture's width or height; twice the picture either way.
SHARE = 16384
KINDS = {"float32": "f4", "int32": "i4", "uint32": "u4", "int16": "i2", "uint16": "u2", "uint8": "u1"}
# On the dark ground of the view.
STATUS_COLOURS = {
    "fitted": "#2f9a63",
    "classic": "#2f97ab",
    "bridged": "#7d97de",
    "uncertain": "#e0a53a",
    "failed": "#e2564b",
    "absent": "#3a3f48",
}


@dataclass(frozen=True, eq=False)
class ScenePicture:
    """What a camera (its place among the cameras) saw from frame ``row`` of the scene on; ``jpeg`` are its bytes."""

    view: int
    row: int
    jpeg: bytes


class _Block:
    """Arrays one after the other, each where its numbers may begin."""

    def __init__(self) -> None:
        self.places: dict[str, list[str | int]] = {}
        self.bytes = bytearray()

    def add(self, name: str, array: np.ndarray) -> None:
        self.bytes += b"\0" * (-len(self.bytes) % 4)
        self.places[name] = [KINDS[array.dtype.name], len(self.bytes), array.size]
        self.bytes += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def _whole(values: Float[np.ndarray, "*shape"], scale: float | int) -> np.ndarray:
    """Scaled and rounded to 16 bits; what is not known is 0."""
    return np.nan_to_num(values * scale).round().clip(-MOST_16_BIT, MOST_16_BIT).astype(np.int16)


def packed(scene: Scene, pictures: Sequence[ScenePicture] = (), evidence: bool = True) -> tuple[dict[str, Any], str]:
    """The header, ready for JSON, and the block as base64 of gzip. Without ``evidence`` keypoints and rays stay out."""
    block = _Block()
    block.add("numbers", scene.frame_numbers.astype(np.int32))
    block.add("rows", scene.rows.astype(np.int32))
    skin = scene.skin
    block.add("faces", skin.faces.astype(np.uint16 if skin.joints.shape[0] <= 2**16 else np.uint32))
    block.add("skin.joints", skin.joints.astype(np.uint8))
    block.add("skin.weights", _weights(skin.weights))
    for place, person in enumerate(scene.people):
        _add_person(block, f"p{place}.", person, scene, evidence)
    return _header(scene, block, pictures), base64.b64encode(gzip.compress(bytes(block.bytes), 9, mtime=0)).decode()


def _weights(weights: Float[np.ndarray, "vertex influence"]) -> np.ndarray:
    """In 255ths that sum to 255, the largest taking what rounding left: a body does not shrink."""
    whole = (255 * weights).round().astype(np.int64)
    whole[:, 0] += 255 - whole.sum(1)
    return whole.astype(np.uint8)


def _add_person(block: _Block, name: str, person: ScenePerson, scene: Scene, evidence: bool) -> None:
    pelvis = np.nan_to_num(person.positions[:, 0])
    block.add(f"{name}vertices", _whole(person.rest_vertices, LENGTH))
    block.add(f"{name}rest", person.rest_joints.astype(np.float32))
    block.add(f"{name}status", np.array([STATUS_CODES.index(word) for word in person.status], dtype=np.uint8))
    block.add(f"{name}pelvis", pelvis.astype(np.float32))
    turns = quaternion(torch.from_numpy(np.nan_to_num(person.rotations))).numpy()
    block.add(f"{name}turn", _whole(turns, MOST_16_BIT))
    rows, columns = np.triu_indices(3)
    block.add(f"{name}spread", _whole(person.spread[..., rows, columns], LENGTH))
    block.add(f"{name}seen", person.seen.astype(np.uint8))
    if person.soles is not None:
        block.add(f"{name}foot", _whole(person.soles.points - pelvis[:, None], LENGTH))
        contacts = person.soles.contacts
        touch = 255 * np.nan_to_num(contacts.probability.astype(np.float64))
        block.add(f"{name}touch", touch.round().astype(np.uint8))
        block.add(f"{name}held", contacts.held.astype(np.uint8))
    if evidence:
        sizes = np.array([camera.size for camera in scene.cameras], dtype=np.float64)
        block.add(f"{name}points", _whole(person.landmarks - pelvis[:, None], LENGTH))
        block.add(f"{name}uv", _whole((person.pixels + 0.5) / sizes[:, None], SHARE))
        block.add(f"{name}rays", _whole(person.rays, MOST_16_BIT))
        block.add(f"{name}confidence", np.ceil(255 * person.confidence.clip(0, 1)).astype(np.uint8))


def _header(scene: Scene, block: _Block, pictures: Sequence[ScenePicture]) -> dict[str, Any]:
    eye, middle = scene.vantage()
    return {
        "title": scene.title,
        "fps": float(scene.fps),
        "every": int(scene.rows[1] - scene.rows[0]) if len(scene) > 1 else 1,
        "up": scene.up.tolist(),
        "floor": scene.floor,
        "floorKnown": scene.floor_known,
        "grid": int(np.ceil(1.5 * np.linalg.norm(eye - middle))),
        "middle": middle.tolist(),
        "eye": eye.tolist(),
        "joints": list(scene.skin.joint_names),
        "parents": list(scene.skin.parents),
        "statuses": [str(word) for word in STATUS_CODES],
        "statusColours": [STATUS_COLOURS[word] for word in STATUS_CODES],
        "people": [{"mark": p.mark, "colour": list(p.colour)} for p in scene.people],
        "cameras": [
            {
                "name": camera.name,
                "size": list(camera.size),
                "center": camera.center.tolist(),
                "axes": camera.world_from_cam.T.tolist(),
                "matrix": camera.matrix.tolist(),
                "corners": camera.corners().tolist(),
            }
            for camera in scene.cameras
        ],
        "pictures": [
            {
                "view": each.view,
                "row": each.row,
                "uri": f"data:image/jpeg;base64,{base64.b64encode(each.jpeg).decode()}",
            }
            for each in pictures
        ],
        "arrays": block.places,
    }
