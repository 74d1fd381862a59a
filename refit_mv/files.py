"""Files that are either absent or complete under their name, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from refit_mv.errors import InputError


@contextmanager
def complete_or_absent(path: Path, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path beside ``path`` to write to, renamed into place when the block ends well and removed when
    it does not.

    Makes the folder if need be. The temporary name keeps the suffix, by which some writers choose the format.
    ``durable`` also waits for the disk, so that the file survives a power cut; without it, only a kill.

    Raises:
        InputError: no such folder can be made, no space, no permission.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}; free some space or choose another folder") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
