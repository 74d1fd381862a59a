"""Where a session's calibration lies when nobody says: in the folder itself, or one or two levels up as in Pose2Sim's
batch layout."""

import os
from collections.abc import Mapping
from pathlib import Path

from calib.file_text import LARGEST_FILE_BYTES
from calib.reading import files_of, is_calibration, may_belong, preferred
from refit_mv.errors import InputError

LEVELS_UP = 2
# File names by which tools write calibrations; EasyMocap's pair of files is named by its first.
PATTERNS = (
    "[Cc]alib*.toml",
    "*_calibration.toml",
    "camera_array*.toml",
    "*.qca.txt",
    "*.xcp",
    "calibration*.json",
    "[Cc]alib*.y*ml",
    "intri.yml",
)
# Names that other files have too: looked into before they count.
VAGUE_NAMES = ("config.toml",)
FOLDERS = ("*[Cc]alib*", "cameras")


def _candidates(folder: Path) -> list[Path]:
    places = [folder, *(path for pattern in FOLDERS for path in sorted(folder.glob(pattern)) if os.path.isdir(path))]
    named = {path for place in places for pattern in PATTERNS for path in place.glob(pattern) if os.path.isfile(path)}
    vague = {path for place in places for name in VAGUE_NAMES if is_calibration(path := place / name)}
    return preferred(sorted(named | vague))


def _levels(session: Path) -> list[Path]:
    here = session.resolve()
    return [here, *here.parents][: LEVELS_UP + 1]


def has_calibration(session: Path) -> bool:
    """Whether :func:`find_calibration` finds any file at all."""
    return any(_candidates(level) for level in _levels(session))


def find_calibration(session: Path) -> Path:
    """The one calibration file of a session, nearest level first.

    Raises:
        InputError: none found, or several on the nearest level that has any.
    """
    for level in _levels(session):
        found = _candidates(level)
        if len(found) > 1:
            listed = ", ".join(str(path.relative_to(level)) for path in found[:5])
            raise InputError(f"{level} has {len(found)} calibration files: {listed}; say which with --calib")
        if found:
            return found[0]
    raise InputError(
        f"no calibration found in {session} or {LEVELS_UP} levels above (looked for {', '.join(PATTERNS[:5])} "
        "there and in calibration folders);"
        " give --calib FILE"
    )


def calibration_files(session: Path, calib: Path | None = None) -> tuple[Path, ...]:
    """The files that tell the cameras of a session, or of ``calib``; none where they have to be guessed.

    Raises:
        InputError: several that may be meant, or one that cannot be read.
    """
    if calib is None and not has_calibration(session):
        return ()
    return files_of(find_calibration(session) if calib is None else calib)


def to_fetch(files: Mapping[str, int], asked: str | None) -> list[str]:
    """Of ``files`` (their lengths by name) those that have to lie beside a calibration that is called ``asked``, or in
    a folder that holds one (None), when it is read elsewhere.
    """
    wanted = []
    for name, size in files.items():
        folder, _, last = name.rpartition("/")
        inside = not folder or (asked is None and "/" not in folder and "calib" in folder.lower())
        if inside and size <= LARGEST_FILE_BYTES and may_belong(last, asked):
            wanted.append(name)
    return wanted
