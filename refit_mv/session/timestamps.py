"""``timestamps.csv``: when each camera took each of its frames (columns ``cam_id, frame_time``, as Caliscope
writes; ``frame_time_history.csv`` with ``port, frame_time`` in its older versions and in pyxy3d).

The older files' ``frame_index`` counts since the camera was switched on and is not read: a video's frame *k* is the
camera's row *k*, as both programs have it (pyxy3d, recorded_stream.py; Caliscope, frame_timestamps.py).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.files import found_at, regular_file

# Caliscope's older files say port.
CAMERA_COLUMNS = ("cam_id", "port")
TIME_COLUMN = "frame_time"
# The newer name first.
NAMES = ("timestamps.csv", "frame_time_history.csv")
FOLDERS = ("", "videos")
# Seconds since 1970 are below 1e10; up to here a time still resolves a hundredth of a millisecond.
LATEST = 1e11
# A table whose span could hold this many times its frames does not count seconds of one recording.
LARGEST_SPREAD = 10
SPREAD_ALLOWANCE = 1000
# Rates of cameras that film people, in frames per second. Times in milliseconds or nanoseconds fall far outside.
PLAUSIBLE_FPS = (1.0, 2000.0)


@dataclass(frozen=True, eq=False)
class Timestamps:
    """Seconds at which each camera's frames were taken, ascending; frame ``k`` of a camera's video is entry ``k``.
    Clocks are shared."""

    path: Path
    times: Mapping[str, Float[np.ndarray, " frame"]]


def find_timestamps(session: Path) -> Path | None:
    """A session's table, None where there is none.

    Raises:
        InputError: the system cannot look there.
    """
    for name in NAMES:
        for folder in FOLDERS:
            path = session / folder / name
            if found_at(path) is not None:
                return path
    return None


def read_timestamps(path: Path) -> Timestamps:
    """Read a timestamp table.

    Raises:
        InputError: columns missing, no rows, a cell that is no time, times that run backwards or are not in seconds.
    """
    rows: dict[str, list[float]] = {}
    regular_file(path, "table of time stamps")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            camera_column = next((name for name in CAMERA_COLUMNS if name in columns), None)
            if camera_column is None or TIME_COLUMN not in columns:
                raise InputError(
                    f"{path} has the columns {', '.join(columns)[:80] or 'none'}; expected cam_id, frame_time"
                )
            for line, row in enumerate(reader, start=2):
                camera, text = (row[camera_column] or "").strip(), (row[TIME_COLUMN] or "").strip()
                try:
                    time = float(text)
                except ValueError:
                    time = np.nan
                if not abs(time) <= LATEST or not camera:
                    raise InputError(
                        f"{path}, line {line}: frame_time must be a time in seconds, got '{text[:40]}' (camera "
                        f"'{camera[:40]}')"
                    )
                rows.setdefault(camera, []).append(time)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if not rows:
        raise InputError(f"{path} has no rows; delete it to pair frames by their numbers")
    times = {camera: np.array(values) for camera, values in rows.items()}
    for camera, values in times.items():
        if len(values) < 2:
            raise InputError(f"{path}: camera {camera} has only {len(values)} frame; a rate needs two")
        steps = np.diff(values)
        if (steps <= 0).any():
            first = int(np.flatnonzero(steps <= 0)[0])
            raise InputError(
                f"{path}: camera {camera} runs backwards or repeats at its frame {first + 1} ({values[first]} "
                f"then {values[first + 1]})"
            )
        rate = 1 / float(np.median(steps))
        span = float(values[-1] - values[0])
        if not PLAUSIBLE_FPS[0] <= rate <= PLAUSIBLE_FPS[1]:
            raise InputError(
                f"{path}: camera {camera} would run at {rate:.4g} frames per second; frame_time must be in seconds"
            )
        if span * rate > LARGEST_SPREAD * len(values) + SPREAD_ALLOWANCE:
            raise InputError(
                f"{path}: camera {camera} took {len(values)} frames in {span:.4g} s at {rate:.4g} frames per second: "
                "most of the time is missing; check for a wrong row, or split the recording"
            )
    return Timestamps(path, times)
