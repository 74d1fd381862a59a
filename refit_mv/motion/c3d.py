"""Motions as C3D: the body's joints and virtual markers on its skin, for biomechanics and mocap programs.

Format: "The C3D File Format User Guide" (Motion Lab Systems). A file counts its frames with 16 bits.
"""

from pathlib import Path

import numpy as np

from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.files import complete_or_absent
from refit_mv.motion.markers import joints_of, landmarks_of
from refit_mv.motion.motion import Motion

MOST_FRAMES = 65_535
_MILLIMETRES = 1000.0
_UP = {(0.0, 1.0, 0.0): "+Y", (0.0, 0.0, 1.0): "+Z", (1.0, 0.0, 0.0): "+X"}


def write_c3d(path: Path, motion: Motion) -> tuple[Path, ...]:
    """Write a body's joints and markers, in millimetres, frames counted from 1. Motions of more than 65,535 frames
    become several files, ``_part2`` and so on beside the first; each keeps its own time, and the parameter
    ``REFIT:FIRST_FRAME`` says where in the motion it begins.

    Points of frames without a pose of their own are invalid (residual -1), all others have residual 0: a residual is
    one byte, whose place libraries do not agree on, and no place for how uncertain a joint is. ``POINT:Y_SCREEN`` names
    the axis that points up, where it is known.

    Raises:
        InputError: the motion has no body, or the file cannot be written.
    """
    joints, markers = joints_of(motion), landmarks_of(motion, LANDMARK_NAMES)
    names = [*joints.names, *(f"m_{name}" if name in joints.names else name for name in markers.names)]
    positions = _MILLIMETRES * np.concatenate([joints.positions, markers.positions], axis=1)
    residuals = np.where(motion.posed[:, None], 0.0, -1.0) * np.ones(len(names))
    parts = range(0, len(motion), MOST_FRAMES)
    files = []
    for number, start in enumerate(parts, 1):
        rows = slice(start, start + MOST_FRAMES)
        file = path if number == 1 else path.with_name(f"{path.stem}_part{number}{path.suffix}")
        up = None if motion.up is None else _UP.get(motion.up)
        with complete_or_absent(file) as temporary:
            _write(temporary, names, positions[rows], residuals[rows], motion.fps, start, up)
        files.append(file)
    return tuple(files)


def _write(
    path: Path,
    names: list[str],
    positions: np.ndarray,
    residuals: np.ndarray,
    fps: float,
    start: int,
    up: str | None,
) -> None:
    import ezc3d

    file = ezc3d.c3d()
    file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
    file["parameters"]["POINT"]["RATE"]["value"] = [fps]
    file["parameters"]["POINT"]["LABELS"]["value"] = names
    if up is not None:
        file.add_parameter("POINT", "Y_SCREEN", [up])
    file.add_parameter("REFIT", "FIRST_FRAME", [start])
    points = np.ones((4, len(names), len(positions)))
    points[:3] = np.moveaxis(positions, 0, -1).swapaxes(0, 1)
    file["data"]["points"] = points
    file["data"]["meta_points"]["residuals"] = residuals.T[None]
    file["data"]["meta_points"]["camera_masks"] = np.zeros((7, len(names), len(positions)), dtype=bool)
    file.write(str(path))
