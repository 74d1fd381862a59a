"""The part of a session that a take remembers, as plain values."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.session.session import Session, View

# A text is short where frames count up: it could claim any number of them.
MOST_FRAMES = 10**8


def session_text(session: Session, take: Path) -> dict[str, Any]:
    """Paths inside the session are told from there, and the session from the take where the take lies inside it: both
    may move together.
    """
    root, folder = session.path.resolve(), take.resolve()
    inside = folder.is_relative_to(root)
    return {
        "path": "/".join(".." for _ in folder.relative_to(root).parts) if inside else str(root),
        "layout": session.layout,
        "calibration": _told(session.calibration, root),
        "up": session.up,
        "views": [
            {
                "video": _told(view.video, root),
                "images": _told(view.images, root),
                "upright": view.upright,
                **_camera_text(session.rig[view.name]),
            }
            for view in session.views
        ],
        "warnings": list(session.warnings),
    }


def read_session(text: dict[str, Any], take: Path) -> Session:
    """What :func:`session_text` told; its views have no keypoint files.

    Raises:
        ValueError: it is something else.
    """
    _check(text)
    root = take / text["path"]

    def found(told: str | None) -> Path | None:
        return None if told is None else root / told

    up = text["up"]
    return Session(
        path=root,
        layout=text["layout"],
        calibration=root / text["calibration"],
        rig=CameraRig(tuple(_camera(view) for view in text["views"])),
        views=tuple(
            View(view["name"], found(view["video"]), found(view["images"]), upright=view["upright"])
            for view in text["views"]
        ),
        timestamps=None,
        up=None if up is None else (up[0], up[1], up[2]),
        warnings=tuple(text["warnings"]),
    )


def _check(text: dict[str, Any]) -> None:
    """Refuse what would be taken as it stands and is of another kind. Views' names become names of files."""
    names, up = [view["name"] for view in text["views"]], text["up"]
    for name in names:
        if not isinstance(name, str) or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"a view's name is {name!r:.40}")
    words = (text["layout"], *text["warnings"])
    if not isinstance(text["warnings"], list) or not all(isinstance(word, str) for word in words):
        raise ValueError("layout and warnings are no text")
    if not all(isinstance(view["upright"], bool) for view in text["views"]):
        raise ValueError("upright is neither true nor false")
    if up is not None and not (len(up) == 3 and np.isfinite(np.array(up, dtype=np.float64)).all() and any(up)):
        raise ValueError(f"up is {up!r:.40}")


def _told(path: Path | None, root: Path) -> str | None:
    if path is None:
        return None
    full = path.resolve()
    return str(full.relative_to(root)) if full.is_relative_to(root) else str(full)


def _camera_text(camera: Camera) -> dict[str, Any]:
    return {
        "name": camera.name,
        "size": camera.size,
        "lens": camera.lens,
        "matrix": camera.matrix.tolist(),
        "distortion": camera.distortion.tolist(),
        "rotation": camera.cam_from_world.rotation.tolist(),
        "translation": camera.cam_from_world.translation.tolist(),
    }


def _camera(text: dict[str, Any]) -> Camera:
    rotation, translation = (torch.tensor(text[key], dtype=torch.float64) for key in ("rotation", "translation"))
    return Camera(
        name=text["name"],
        size=None if text["size"] is None else (text["size"][0], text["size"][1]),
        matrix=np.array(text["matrix"], dtype=np.float64),
        distortion=np.array(text["distortion"], dtype=np.float64),
        cam_from_world=RigidTransform(rotation, translation),
        lens=text["lens"],
    )


def runs(numbers: Int[np.ndarray, " frame"]) -> list[list[int]]:
    """Numbers that mostly count up, as [first, how many, step] for each stretch."""
    found: list[list[int]] = []
    for number in numbers.tolist():
        if found:
            first, count, step = found[-1]
            if count == 1:
                found[-1] = [first, 2, number - first]
                continue
            if number == first + count * step:
                found[-1][1] += 1
                continue
        found.append([number, 1, 1])
    return found


def from_runs(stretches: Sequence[Sequence[int]]) -> Int[np.ndarray, " frame"]:
    """The numbers behind :func:`runs`."""
    counts = [count for _, count, _ in stretches]
    if any(count < 1 for count in counts) or sum(counts) > MOST_FRAMES:
        raise ValueError(f"a stretch without frames, or more than {MOST_FRAMES:.0e} frames")
    each = (range(first, first + count * step, step) if step else [first] * count for first, count, step in stretches)
    return np.array(list(chain.from_iterable(each)), dtype=np.int64)
