"""Two-dimensional keypoints in files: which formats there are, and how a view's files are opened.

Most tools write JSON, one file per view and frame: OpenPose ``{"people": [{"pose_keypoints_2d": [x, y, confidence,
…]}]}`` (its documentation, "Output", JSON-UI format), which Pose2Sim and rtmlib users write too, with all whole-body
points in the one list; EasyMocap ``{"height", "width", "annots": [{"personID", "bbox", "keypoints": [[x, y, c],
…]}]}``. Such a format is a row of ``FORMATS``. Others write a view into one file, and then the format is a module of
``refit_mv.session.keypoints``: one of ``JSON_SERIES``, told by the content, or of ``SERIES``, told by the ending.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set, keypoint_set_names, keypoint_sets_of_length
from refit_mv.errors import InputError
from refit_mv.files import LARGEST_TEXT, regular_file
from refit_mv.session.frame_files import FrameFiles, list_frame_files
from refit_mv.session.keypoints import alphapose, deeplabcut, freemocap, mmpose, opencap
from refit_mv.session.keypoints.people import person_in_triples
from refit_mv.session.keypoints.series import KeypointSeries, KeypointSource

# A thousand whole-body people in one picture take 6 MB.
LARGEST_FRAME = 2**24
# Of pictures, in pixels; a larger number is no size.
LARGEST_SIDE = 100_000


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
JSON_SERIES = (alphapose, mmpose)
SERIES: dict[str, Callable[[Path], KeypointSeries]] = {
    ".csv": deeplabcut.read,
    ".h5": deeplabcut.read,
    ".npy": freemocap.read,
    ".pkl": opencap.read,
    ".pickle": opencap.read,
}


@dataclass(frozen=True)
class FrameKeypoints:
    """A view's keypoints in a file for every frame; ``recorded`` names their set where a record beside them says it.
    ``size`` is that of the pictures, which EasyMocap states.
    """

    files: FrameFiles
    format: KeypointFormat
    recorded: str | None = None
    size: tuple[int, int] | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.files.numbers

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.files.warnings

    @cached_property
    def _positions(self) -> dict[int, int]:
        return {number: position for position, number in enumerate(self.files.numbers)}

    def where(self, number: int) -> str:
        return self.files.path(self._positions[number])

    def people(self, number: int) -> list[np.ndarray]:
        return read_people(self.where(number), self.format)

    def keypoint_set(self, count: int) -> KeypointSet | None:
        name = self.recorded or dict(self.format.sets).get(count)
        return keypoint_set(name) if name is not None else None


def _load(path: str, most_bytes: int = LARGEST_FRAME) -> object:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read() if size <= most_bytes else b"-"
    except (OSError, MemoryError) as error:
        raise InputError(f"cannot read keypoint file {path}: {getattr(error, 'strerror', 'out of memory')}") from None
    if size > most_bytes:
        raise InputError(f"keypoint file {path} has {size:.3g} bytes, more than any needs ({most_bytes:.3g})")
    advice = "detect again, or delete the file (a missing file counts as nobody detected)"
    if not data.strip():
        raise InputError(f"keypoint file {path} is empty; {advice}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        where = f"at byte {error.pos} of {len(data)}" if isinstance(error, json.JSONDecodeError) else "unreadable text"
        raise InputError(f"keypoint file {path} is not valid JSON ({where}; cut off?); {advice}") from None


def read_people(path: str, kind: KeypointFormat) -> list[Shaped[np.ndarray, "joint 3"]]:
    """The people of one file, each as rows of x, y (pixels) and confidence; values are as in the file, but for points
    with NaN, which are 0, 0, 0 as missing points are. Entries that show nobody are left out: ``{}``, which stands in
    Pose2Sim's ``pose-associated`` for people whom this view does not see, null, no points, NaN alone.

    Raises:
        InputError: unreadable, cut off, of another format, or with anything but numbers where points should be.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise InputError(f"keypoint file {path} holds a {type(content).__name__}, expected an object with {_keys()}")
    people = content.get(kind.people_key, ())
    if people is None:
        return []
    if not isinstance(people, list):
        raise InputError(
            f"keypoint file {path} has no list '{kind.people_key}', which {kind.name} files have; is it from "
            "another tool?"
        )
    found = []
    for person in people:
        if person is None or person == {}:
            continue
        points = person.get(kind.points_key, "") if isinstance(person, dict) else ""
        if points is None or points == []:
            continue  # OpenPose writes people of whom only a hand or a face was found
        if not isinstance(points, list):
            raise InputError(
                f"keypoint file {path}: a person without a list '{kind.points_key}'; is it from another tool?"
            )
        rows = person_in_triples(points, path, f"'{kind.points_key}'")
        if rows is not None:
            found.append(rows)
    return found


def _keys() -> str:
    return "the key " + " or ".join(f"'{kind.people_key}' ({kind.name})" for kind in FORMATS)


def _json_series(content: object, path: Path) -> KeypointSeries | None:
    reader = next((each for each in JSON_SERIES if each.recognises(content)), None)
    return reader.read(content, path) if reader is not None else None


def _open_file(path: Path) -> KeypointSource:
    """A view's keypoints in one file."""
    if path.parent.is_file():
        return freemocap.read(path.parent, int(path.name))
    reader = SERIES.get(path.suffix.lower())
    if reader is not None:
        return reader(path)
    series = _json_series(_load(str(regular_file(path, "keypoint file", LARGEST_TEXT)), LARGEST_TEXT), path)
    if series is None:
        raise InputError(
            f"keypoint file {path} is of no known kind; expected AlphaPose's or MMPose's results of one view, or a "
            f"folder with a file for every frame ({_keys()})"
        )
    return series


def _scanned(folder: Path) -> Iterator[str]:
    """Paths of the plain files in a folder as they come: there may be a hundred thousand."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry.path for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read keypoint folder {folder}: {error.strerror}") from None


def open_keypoints(place: Path, keypoints: str | None = None) -> KeypointSource:
    """The keypoints of one view: of a folder with a JSON file for every frame, their format told by the first, or with
    one of all frames; or of such a file itself. ``keypoints`` names the set of files that do not name their points.

    Raises:
        InputError: nothing there, nothing readable, or a first file of no known format.
    """
    if not place.is_dir():
        return _open_file(place)
    few = list(islice((path for path in _scanned(place) if path.lower().endswith(".json")), 2))
    if len(few) == 1:
        series = _json_series(_load(few[0], LARGEST_TEXT), Path(few[0]))
        if series is not None:
            return series
    files = list_frame_files(place, (".json",), "keypoint")
    first = _load(files.path(0))
    if not isinstance(first, dict):
        raise InputError(
            f"keypoint file {files.path(0)} holds a {type(first).__name__}, expected an object with {_keys()}"
        )
    for kind in FORMATS:
        if kind.people_key in first:
            return FrameKeypoints(files, kind, keypoints, _stated_size(first))
    raise InputError(
        f"keypoint file {files.path(0)} has the keys {', '.join(list(first)[:5])[:100] or 'none'}; expected {_keys()}"
    )


def _stated_size(first: dict[str, object]) -> tuple[int, int] | None:
    width, height = first.get("width"), first.get("height")
    if not (isinstance(width, int) and isinstance(height, int)):
        return None
    return (width, height) if min(width, height) > 0 and max(width, height) <= LARGEST_SIDE else None


def settle_keypoint_set(count: int, source: KeypointSource, wanted: str | None, example: str) -> KeypointSet:
    """The keypoint set of files with ``count`` points per person: as asked for, as recorded, as the files say, or by
    the number alone.

    Raises:
        InputError: the set asked for has another number of points, no set has that number, or several have.
    """
    chosen = keypoint_set(wanted) if wanted is not None else source.keypoint_set(count)
    candidates = keypoint_sets_of_length(count)
    listed = " or ".join(candidate.name for candidate in candidates)
    if chosen is not None:
        if len(chosen) != count:
            hint = f"; give --keypoints {listed}" if candidates else ""
            raise InputError(
                f"{example} has {count} points per person, but keypoint set {chosen.name} has {len(chosen)}{hint}"
            )
        return chosen
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        known = sorted({len(each) for each in map(keypoint_set, keypoint_set_names())})
        raise InputError(
            f"{example} has {count} points per person, which is no known keypoint set: they have "
            f"{', '.join(map(str, known))} points; leave points out, or add the set (docs/extending.md)"
        )
    raise InputError(
        f"{example} has {count} points per person, as {listed} have; say which: "
        + " or ".join(f"--keypoints {candidate.name}" for candidate in candidates)
    )
