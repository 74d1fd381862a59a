"""Files as users give and get them: read when they are plain files of a sane size, and written so that they are either
absent or complete under their name, whatever happens meanwhile.
"""

import itertools
import json
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refit_mv.errors import BusyError, InputError, PassingError

if TYPE_CHECKING:
    import numpy as np

# Far above what any text of ours or of the tools we read holds, far below what fills a machine's memory.
LARGEST_TEXT = 256 * 2**20
# Hours of motion; SMPL-X with all its shapes and expressions has 0.17e9 bytes.
LARGEST_ARCHIVE = 2**32
# What damaged archives, and arrays that lie about their size, make their readers raise.
_UNREADABLE = (
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
_serial = itertools.count()
# Folders that this process has to itself, by :func:`alone_in`.
_held: list[Path] = []


def path_of(given: object, what: str) -> Path:
    """A path that somebody gives as text or as a path; ``what`` it is of is for the message.

    Raises:
        InputError: it is neither.
    """
    if not isinstance(given, str | Path):
        raise InputError(f"{what}: expected a path, got a {type(given).__name__}")
    return Path(given)


def found_at(path: Path) -> os.stat_result | None:
    """What is at ``path``, links followed; None where nothing is. Unlike ``Path.exists`` it has one answer to all else.

    Raises:
        InputError: the system cannot even look: a name too long, a folder on the way that may not be searched.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be looked at ({_reason(error)}); give another path") from None


def regular_file(path: Path, what: str, most_bytes: int = LARGEST_TEXT) -> Path:
    """``path``, if a plain file of at most ``most_bytes`` is there and may be read; ``what`` it should be is for the
    message.

    Raises:
        InputError: nothing there, a folder, a pipe or device (which may never end), too large, no permission.
    """
    found = found_at(path)
    if found is None:
        raise InputError(f"no {what} at {path}: no such file")
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{path} is a folder; give the {what} itself, a file")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is a pipe or device; give the {what} as a plain file")
    if found.st_size > most_bytes:
        raise InputError(f"{path} has {found.st_size:.3g} bytes, more than any {what} needs ({most_bytes:.3g})")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: cannot read the {what} (permission denied)")
    return path


def read_text(path: Path, what: str, most_bytes: int = LARGEST_TEXT) -> str:
    """The UTF-8 text of a plain file, a byte order mark left out.

    Raises:
        InputError: as :func:`regular_file`, or bytes that are no UTF-8.
    """
    regular_file(path, what, most_bytes)
    try:
        # Files that the system makes up while they are read claim a size of 0.
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise InputError(f"{path} goes on after {most_bytes:.3g} bytes, more than any {what} needs")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot read the {what} (byte {error.start} is not UTF-8 text)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read the {what} ({_reason(error)})") from None


def read_json(path: Path, what: str, most_bytes: int = LARGEST_TEXT) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: as :func:`read_text`, or no valid JSON, which numbers of thousands of digits and nesting of
        thousands of levels are not either.
    """
    try:
        return json.loads(read_text(path, what, most_bytes))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot read the {what}: not valid JSON ({_reason(error)})") from None


def read_npz(path: Path, what: str, keys: Collection[str] | None = None) -> "dict[str, np.ndarray]":
    """The arrays of an ``.npz`` archive, of ``keys`` those that are there, or all. Pickled objects are never opened.

    Raises:
        InputError: as :func:`regular_file`, a damaged archive, or one that unpacks to more than any ``what`` needs.
    """
    # The command line's help waits for nothing heavy.
    import numpy as np

    regular_file(path, what, LARGEST_ARCHIVE)
    try:
        with zipfile.ZipFile(path) as archive:
            names = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
        wanted = names if keys is None else [key for key in keys if key in names]
        if sum(names[key] for key in wanted) > LARGEST_ARCHIVE:
            raise InputError(f"{path} unpacks to more than {LARGEST_ARCHIVE:.3g} bytes, more than any {what} needs")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in wanted}
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a {what} ({type(error).__name__}: {_reason(error)[:120]})"
        ) from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name.

    Raises:
        InputError: no folder, or none that may be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({_reason(error)}); give another folder") from None


def made_folder(path: Path, option: str = "--out") -> Path:
    """``path`` as a folder, made if need be; ``option`` is what the user gave it with.

    Raises:
        InputError: a file is there, or no folder can be made or written to.
    """
    found = found_at(path)
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise InputError(f"{option} {path} is a file; give a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    # Python makes a folder's folder first, and so on up to as many levels as it can call itself.
    except (OSError, RecursionError) as error:
        raise InputError(f"cannot create the output folder {path}: {_reason(error)}; give another {option}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to the output folder {path}: permission denied; give another {option}")
    return path


@contextmanager
def alone_in(folder: Path, shared: bool = False) -> Iterator[None]:
    """Keeps other processes that ask the same out of a folder; with ``shared`` only those that want it for themselves.
    Nothing is left there: the lock is the folder's own, and ends with the process, however that ends. File systems
    without locks do without.

    Raises:
        BusyError: another process is there.
    """
    handle = None
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if handle is not None:
            with suppress(OSError):
                try:
                    flock(handle, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
                except BlockingIOError:
                    raise BusyError(
                        f"{folder}: another refit-mv is writing here; wait for it, or give another folder"
                    ) from None
        _held.append(folder)
        try:
            yield
        finally:
            _held.remove(folder)
    finally:
        if handle is not None:
            os.close(handle)


def refuse_leaving(path: Path) -> None:
    """Refuse a file whose folder lies in one that this process holds only by its name: a link on the way leads outside,
    where nobody expects anything to be written.

    Raises:
        InputError: such a link.
    """
    for folder in _held:
        if folder in path.parents and not path.parent.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"cannot write {path}: a link in {folder} leads to {path.parent.resolve()}; remove the link, or give "
                "that folder itself"
            )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around whatever writes ``path``: a disk that refuses is a line that says so.

    Raises:
        PassingError: no space, no permission, a name too long.
    """
    try:
        yield
    except OSError as error:
        told = f"cannot write {path}: {_reason(error)}; free some space or choose another folder"
        raise PassingError(told) from None


@contextmanager
def complete_or_absent(path: Path, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to, renamed into place when the block ends well and removed when
    it does not.

    Makes the folder if need be. The temporary name keeps the suffix, by which some writers choose the format.
    ``durable`` also waits for the disk, so that the file survives a power cut; without it, only a kill.

    Raises:
        InputError: no such folder can be made, no space, no permission.
    """
    refuse_leaving(path)
    there = found_at(path)
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise InputError(f"cannot write {path}: a folder, pipe or device is there; give the name of a file")
    # No longer than the name itself may be, and of one's own: others may write the same file at the same time.
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.{next(_serial)}.tmp{path.suffix}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                _sync(temporary)
            os.replace(temporary, path)
            if durable:
                _sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
