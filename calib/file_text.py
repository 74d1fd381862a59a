"""The text of a file that a user gave: whatever lies at the path, an answer or one line about what is wrong with it."""

import os
import stat
from pathlib import Path

from refit_mv.errors import InputError

# Panoptic's 521 cameras take 0.5 MB; a file far beyond that is a video or a model given by mistake.
LARGEST_FILE_BYTES = 20_000_000
_LONGEST_SHOWN = 200


def shown(path: Path) -> str:
    """``path`` as it can be printed: bytes that are no UTF-8 escaped, the middle of what is endless left out."""
    text = os.fsencode(path).decode("utf-8", errors="backslashreplace")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:80]}…{text[-80:]}"


def kind_of(path: Path) -> str:
    """What lies at ``path``: "file", "folder", "nothing", or "other" for pipes and devices.

    Raises:
        InputError: it cannot even be looked at: a name too long, a folder that may not be entered.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as problem:
        raise InputError(f"calibration {shown(path)}: cannot be read: {_reason(problem)}") from None
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"


def entries(folder: Path) -> list[Path]:
    """What lies in ``folder``, sorted.

    Raises:
        InputError: the folder may not be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as problem:
        raise InputError(f"calibration folder {shown(folder)}: cannot be read: {_reason(problem)}") from None


def read_text(path: Path) -> str:
    """The text of a plain file in UTF-8 or, with its mark, UTF-16; what is neither becomes question marks, so that the
    error is about the calibration.

    Raises:
        InputError: no plain file, empty, enormous, or not to be read.
    """
    kind = kind_of(path)
    if kind != "file":
        what = {"nothing": "no such file or folder", "folder": "is a folder"}.get(kind, "is a pipe or a device")
        raise InputError(f"calibration {shown(path)}: {what}; give a calibration file")
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise InputError(f"calibration {shown(path)}: {size / 1e6:.0f} MB is no calibration file")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)  # what the system makes up on reading claims to be empty
    except OSError as problem:
        raise InputError(f"calibration {shown(path)}: cannot be read: {_reason(problem)}") from None
    if len(content) > LARGEST_FILE_BYTES:
        raise InputError(
            f"calibration {shown(path)}: more than {LARGEST_FILE_BYTES / 1e6:.0f} MB is no calibration file"
        )
    if not content.strip():
        raise InputError(f"calibration {shown(path)}: the file is empty")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _reason(problem: Exception) -> str:
    return getattr(problem, "strerror", None) or " ".join(str(problem).split())
