"""Folders with one file per frame, numbered in the file name: ``000012.jpg``, ``cam01.0012.json``,
``cam01_000000000012_keypoints.json``."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from refit_mv.errors import InputError

# The last group of digits counts the frame; OpenPose appends "_keypoints".
NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d+)(?:_keypoints)?$")
# Files named unlike the rest are strays (Pose2Sim's own demo has two) as long as they are few; more than this share may
# be a second recording.
STRAY_SHARE = 0.1
# Longer numbers than 64 bits hold count nothing that frames could be paired by.
MOST_DIGITS = 18


def series_and_number(stem: str) -> tuple[str, int | None]:
    """What stands before the frame number in a name without its ending, and the number; None where there is none.

    Raises:
        InputError: a number that is too long to count frames.
    """
    match = NUMBERED.match(stem)
    if match is None:
        return stem, None
    digits = match["number"].lstrip("0") or "0"
    if len(digits) > MOST_DIGITS:
        raise InputError(f"the number in {stem[:60]} has {len(digits)} digits: it counts no frames; renumber")
    return match["prefix"], int(digits)


@dataclass(frozen=True)
class FrameFiles:
    """The files of a folder by frame number, ascending."""

    folder: Path
    numbers: tuple[int, ...]
    names: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def path(self, position: int) -> str:
        """Path of the file at a position from 0 (text: for a hundred thousand small files Path objects cost as much as
        the reading)."""
        return f"{self.folder}{os.sep}{self.names[position]}"


def list_frame_files(folder: Path, suffixes: Sequence[str], what: str) -> FrameFiles:
    """Files of ``folder`` that end in one of ``suffixes`` (lower case, with the dot), by the frame number in their
    names.

    ``what`` names the contents in messages ("keypoint", "image"). Files with other endings are ignored.

    Raises:
        InputError: no such folder, no such file in it, names without a number, two files of one frame, two series of
        names.
    """
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    except OSError as error:
        raise InputError(f"cannot read {what} folder {folder}: {error.strerror}") from None
    names = [name for name in entries if name.lower().endswith(tuple(suffixes)) and not name.startswith(".")]
    if not names:
        seen = f"it has {len(entries)} other files, such as {entries[0]}" if entries else "it is empty"
        raise InputError(f"no {what} files ({', '.join(suffixes)}) in {folder}: {seen}")
    series: dict[str, list[tuple[int, str]]] = {}
    unnumbered: list[str] = []
    for name in names:
        prefix, number = series_and_number(name.rsplit(".", 1)[0])
        if number is None:
            unnumbered.append(name)
        else:
            series.setdefault(prefix, []).append((number, name))
    if not series:
        raise InputError(
            f"{what} files in {folder} carry no frame number: {unnumbered[0]}; expected names such as "
            f"cam01_000012{suffixes[0]}"
        )
    main = max(series, key=lambda prefix: len(series[prefix]))
    strays = unnumbered + [name for prefix, files in series.items() if prefix != main for _, name in files]
    if len(strays) > STRAY_SHARE * len(names):
        raise InputError(
            f"{folder} mixes differently named {what} files: {series[main][0][1]} and {strays[0]} ({len(strays)} "
            f"of {len(names)});"
            " keep one recording per folder"
        )
    files = sorted(series[main])
    for (number, name), (following, other) in pairwise(files):
        if number == following:
            raise InputError(f"{folder} has frame {number} twice: {name} and {other}; remove one")
    warnings = (
        (f"{folder}: ignored {len(strays)} files named unlike the others: {', '.join(strays[:3])}",) if strays else ()
    )
    return FrameFiles(folder, tuple(number for number, _ in files), tuple(name for _, name in files), warnings)
