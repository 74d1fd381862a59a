"""What a motion file cannot say, as JSON beside it: axes, units, rest pose, names, and what is known of every frame."""

import json
from collections import Counter
from itertools import groupby
from pathlib import Path

from refit_mv.files import complete_or_absent
from refit_mv.motion.amass import up_axis_name
from refit_mv.motion.motion import Motion


def sidecar_of(path: Path) -> Path:
    """Where the description of a motion file is: beside it, its whole name and ``.json``."""
    return path.with_name(f"{path.name}.json")


def status_runs(motion: Motion) -> list[list[object]]:
    """[word, how many frames] from the first frame to the last."""
    return [[str(word), sum(1 for _ in same)] for word, same in groupby(motion.status)]


def write_sidecar(path: Path, kind: str, says: str, motion: Motion, rest: str, files: tuple[Path, ...] = ()) -> Path:
    """Describe the file ``path`` of a ``kind`` of format, which ``motion`` was written to as it stands; ``says`` tells
    its units, ``rest`` its rest pose, ``files`` all files where there are several. Returns the description's path.

    Raises:
        InputError: it cannot be written.
    """
    body = motion.known_body
    names = motion.skeleton.joint_names
    text = {
        "file": path.name,
        **({"files": [file.name for file in files]} if len(files) > 1 else {}),
        "format": kind,
        "person": motion.name,
        "units": says,
        "fps": float(motion.fps),
        "frame_count": len(motion),
        "first_frame": int(motion.frame_numbers[0]),
        "last_frame": int(motion.frame_numbers[-1]),
        "world": "the calibration's world, right-handed, turned so that up_axis is up",
        "up": None if motion.up is None else [float(value) for value in motion.up],
        "up_axis": up_axis_name(motion.up),
        "body": body.model.name,
        "shape": [round(float(value), 6) for value in body.shape],
        "rest_pose": f"{rest}; y up, z forward, x to the person's left; every joint unrotated",
        "joint_names": list(names),
        "parents": list(motion.skeleton.parents),
        "rest_joints_m": [[round(float(value), 6) for value in place] for place in body.rest],
        "status_counts": dict(Counter(str(word) for word in motion.status)),
        "status": status_runs(motion),
        "has_pose": [[bool(one), sum(1 for _ in same)] for one, same in groupby(motion.posed.tolist())],
    }
    sidecar = sidecar_of(path)
    with complete_or_absent(sidecar) as temporary:
        temporary.write_text(json.dumps(text, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return sidecar
