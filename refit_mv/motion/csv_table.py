"""Motions as a table, for spreadsheets and statistics: a line a frame, joints in the world, and how sure they are.

Format: RFC 4180, with a head line; decimal points, commas, UTF-8.
"""

from pathlib import Path

import numpy as np

from refit_mv.files import complete_or_absent
from refit_mv.motion.motion import Motion


def write_csv(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's joints: ``frame`` (the recording's number), ``time_s`` from 0, ``status``, and for each joint
    ``_x_m``, ``_y_m``, ``_z_m``, and where that is known ``_sigma_m`` (standard deviation per axis) and ``_seen``
    (1, or 0 where it is inferred from the others). Cells of frames without a pose of their own are empty.

    Raises:
        InputError: the motion has no body, or the file cannot be written.
    """
    joints, record, names = motion.joints, motion.record, motion.skeleton.joint_names
    parts, endings, kinds = [joints], ["x_m", "y_m", "z_m"], ["%.6f"] * 3
    if record is not None and record.joint_sigma is not None:
        parts, endings, kinds = [*parts, record.joint_sigma[..., None]], [*endings, "sigma_m"], [*kinds, "%.6f"]
    if record is not None and record.joint_seen is not None:
        parts, endings, kinds = [*parts, record.joint_seen[..., None]], [*endings, "seen"], [*kinds, "%d"]
    values = np.concatenate(parts, axis=-1).reshape(len(motion), -1).tolist()
    columns = [f"{name}_{ending}" for name in names for ending in endings]
    line, empty = ",".join(kinds * len(names)), "," * (len(columns) - 1)
    rows = (
        f"{number},{frame / motion.fps:.9f},{status},{line % tuple(values[frame]) if posed else empty}"
        for frame, (number, status, posed) in enumerate(
            zip(motion.frame_numbers.tolist(), motion.status, motion.posed, strict=True)
        )
    )
    with complete_or_absent(path) as temporary:
        # A NaN among known numbers is an empty cell as well.
        text = "\r\n".join([",".join(["frame", "time_s", "status", *columns]), *rows, ""]).replace("nan", "")
        temporary.write_bytes(text.encode())
    return (path,)
