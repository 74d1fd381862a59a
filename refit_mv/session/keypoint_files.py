"""Two-dimensional keypoints in JSON files, one file per view and frame: OpenPose's format and EasyMocap's.

OpenPose: ``{"people": [{"pose_keypoints_2d": [x, y, confidence, …]}]}`` (its documentation, "Output", JSON-UI format),
which Pose2Sim and rtmlib users write too, with all whole-body points in the one list. EasyMocap: ``{"height", "width",
"annots": [{"personID", "bbox", "keypoints": [[x, y, c], …]}]}``. To add a format, add a parser and a row to
``FORMATS``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set, keypoint_sets_of_length
from refit_mv.errors import InputError
from refit_mv.session.frame_files import FrameFiles, list_frame_files


@dataclass(frozen=True)
class KeypointFormat:
    """How one tool writes a frame.

    ``people_key`` marks the format at the top of the JSON and holds the people; ``points_key`` holds a person's points.
    ``sets`` says which keypoint set a number of points means where the format itself settles it.
    """

    name: str
    people_key: str
    points_key: str
    sets: tuple[tuple[int, str], ...] = ()


OPENPOSE = KeypointFormat("OpenPose JSON", "people", "pose_keypoints_2d")
EASYMOCAP = KeypointFormat("EasyMocap annots", "annots", "keypoints", ((25, "BODY_25"),))
FORMATS = (OPENPOSE, EASYMOCAP)


@dataclass(frozen=True)
class KeypointSource:
    """The keypoint files of one view; ``keypoints`` names their set where a record beside them says it."""

    files: FrameFiles
    format: KeypointFormat
    keypoints: str | None = None


def _load(path: str) -> dict[str, object]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise InputError(f"cannot read keypoint file {path}: {error.strerror}") from None
    advice = "detect again, or delete the file (a missing file counts as nobody detected)"
    if not data.strip():
        raise InputError(f"keypoint file {path} is empty; {advice}")
    try:
        content = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        where = f"at byte {error.pos} of {len(data)}" if isinstance(error, json.JSONDecodeError) else "unreadable text"
        raise InputError(f"keypoint file {path} is not valid JSON ({where}; cut off?); {advice}") from None
    if not isinstance(content, dict):
        raise InputError(
            f"keypoint file {path} holds a {type(content).__name__}, expected an object with the key 'people' or "
            "'annots'"
        )
    return content


def read_people(path: str, kind: KeypointFormat) -> list[Float[np.ndarray, "joint 3"]]:
    """The people of one file, each as rows of x, y (pixels) and confidence; values are as in the file.

    Raises:
        InputError: unreadable, cut off, of another format, or with anything but numbers where points should be.
    """
    people = _load(path).get(kind.people_key)
    if not isinstance(people, list):
        raise InputError(
            f"keypoint file {path} has no list '{kind.people_key}', which {kind.name} files have; is it from "
            "another tool?"
        )
    arrays: list[np.ndarray] = []
    for person in people:
        points = person.get(kind.points_key) if isinstance(person, dict) else None
        if not isinstance(points, list):
            raise InputError(
                f"keypoint file {path}: a person without a list '{kind.points_key}'; is it from another tool?"
            )
        if not points:
            continue  # OpenPose writes people of whom only a hand or a face was found
        try:
            values = np.array(points)
        except ValueError:
            values = np.array(None)
        if values.dtype.kind not in "iuf":
            raise InputError(
                f"keypoint file {path}: '{kind.points_key}' must hold numbers only (x, y, confidence for every point)"
            )
        if values.size % 3 or (values.ndim == 2 and values.shape[1] != 3) or values.ndim > 2:
            raise InputError(
                f"keypoint file {path}: '{kind.points_key}' has {values.size} numbers, expected x, y, confidence "
                "for every point"
            )
        arrays.append(values.reshape(-1, 3))
    return arrays


def open_keypoints(folder: Path, keypoints: str | None = None) -> KeypointSource:
    """The keypoint files of one view's folder; their format is told by the first file.

    Raises:
        InputError: no folder, no JSON files, or a first file of no known format.
    """
    files = list_frame_files(folder, (".json",), "keypoint")
    first = _load(files.path(0))
    for kind in FORMATS:
        if kind.people_key in first:
            return KeypointSource(files, kind, keypoints)
    raise InputError(
        f"keypoint file {files.path(0)} has the keys {', '.join(list(first)[:5]) or 'none'}; expected one of "
        + ", ".join(f"'{kind.people_key}' ({kind.name})" for kind in FORMATS)
    )


def settle_keypoint_set(count: int, source: KeypointSource, wanted: str | None, example: str) -> KeypointSet:
    """The keypoint set of files with ``count`` points per person: as asked for, as recorded, as the format says, or by
    the number alone.

    Raises:
        InputError: the set asked for has another number of points, no set has that number, or several have.
    """
    name = wanted or source.keypoints or dict(source.format.sets).get(count)
    candidates = keypoint_sets_of_length(count)
    listed = " or ".join(candidate.name for candidate in candidates)
    if name is not None:
        chosen = keypoint_set(name)
        if len(chosen.keypoint_names) != count:
            hint = f"; give --keypoints {listed}" if candidates else ""
            raise InputError(
                f"{example} has {count} points per person, but keypoint set {chosen.name} has "
                f"{len(chosen.keypoint_names)}{hint}"
            )
        return chosen
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(
            f"{example} has {count} points per person, which is no known keypoint set; give --keypoints or "
            "convert the files"
        )
    raise InputError(
        f"{example} has {count} points per person, as {listed} have; say which: "
        + " or ".join(f"--keypoints {candidate.name}" for candidate in candidates)
    )
