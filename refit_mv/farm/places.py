"""Where takes lie and go to: a folder of this machine, or whatever fsspec reaches (``s3://…``, ``sftp://…``).

A file is either there whole or not at all: object stores promise that themselves, everywhere else a file is written
under another name and renamed. What was sent is compared in length, and what arrives as well.
"""

import fnmatch
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from refit_mv.errors import InputError, PassingError
from refit_mv.farm.packages import needed
from refit_mv.files import complete_or_absent, found_at

# Stores in which a file appears when its last byte has arrived.
WHOLE_OR_ABSENT = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "memory"})
_serial = itertools.count()


@dataclass(frozen=True)
class Place:
    """A folder or a file by its address."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def remote(self) -> bool:
        """Whether it is reached through fsspec."""
        return "://" in self.url and not self.url.startswith("file://")

    @property
    def path(self) -> Path:
        """Of a place on this machine."""
        return Path(self.url.removeprefix("file://"))

    @property
    def absolute(self) -> "Place":
        """The same place for processes that are elsewhere."""
        return self if self.remote else Place(str(self.path.absolute()))

    @property
    def name(self) -> str:
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Place":
        """The folder that it lies in."""
        return Place(self.url.rstrip("/").rpartition("/")[0]) if self.remote else Place(str(self.path.parent))

    def __truediv__(self, name: str) -> "Place":
        return Place(f"{self.url.rstrip('/')}/{name}")

    @cached_property
    def _reached(self) -> tuple[Any, str]:
        """The file system, and the address as it has it."""
        fsspec = needed("fsspec", self.url)
        try:
            system, path = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise InputError(f"{self.url}: {error}; run: pip install 'refit-mv[farm]'") from None
        except ValueError as error:
            raise InputError(f"{self.url}: {error}") from None
        except Exception as error:
            raise _unreached(self.url, error) from None
        return system, path.rstrip("/")

    def files(self) -> dict[str, str]:
        """All files below, by their relative names, each with a word that changes with it.

        Raises:
            PassingError: the place cannot be reached.
        """
        if not self.remote:
            return dict(sorted(_below(self.path)))
        system, path = self._reached
        try:
            system.invalidate_cache()
            found = system.find(path, detail=True)
        except Exception as error:
            raise _unreached(self.url, error) from None
        return {name[len(path) :].lstrip("/"): _stamp(entry) for name, entry in sorted(found.items())}

    def listed(self) -> dict[str, str | None]:
        """What lies in a store's folder itself, by name: files with what :meth:`files` says of them, folders with None.

        Raises:
            PassingError: the place cannot be reached.
        """
        system, path = self._reached
        try:
            system.invalidate_cache()
            found = system.ls(path, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise _unreached(self.url, error) from None
        return {
            str(entry["name"]).rstrip("/").rpartition("/")[2]: _stamp(entry) if entry["type"] == "file" else None
            for entry in found
        }

    def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is none."""
        if not self.remote:
            target = self.path / name
            return target.read_bytes() if found_at(target) is not None else None
        system, path = self._reached
        try:
            return system.cat_file(f"{path}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _unreached(f"{self.url}/{name}", error) from None

    def fetch(self, names: Mapping[str, str], folder: Path) -> None:
        """Files into a folder of this machine. ``names`` are those of :meth:`files`, or of some of them.

        Raises:
            PassingError: the connection broke, or the disk is full.
        """
        system, path = self._reached
        for name, stamp in names.items():
            # A name that climbs out of the folder is nobody's file.
            if ".." in Path(name).parts:
                raise InputError(f"{self.url}: has a file named {name}; rename it")
            with complete_or_absent(folder / name, durable=False) as temporary:
                try:
                    system.get_file(f"{path}/{name}", str(temporary))
                except Exception as error:
                    raise _unreached(f"{self.url}/{name}", error) from None
                size = temporary.stat().st_size
                if str(size) != stamp.partition(" ")[0]:
                    raise PassingError(f"{self.url}/{name}: {size} bytes arrived of {stamp.partition(' ')[0]}")

    def send(self, folder: Path, names: Iterable[str]) -> None:
        """Files of this machine to the place, one after the other.

        Raises:
            PassingError: the connection broke, or there is no space.
        """
        system, path = self._reached
        whole = bool(
            WHOLE_OR_ABSENT & set(system.protocol if isinstance(system.protocol, tuple) else [system.protocol])
        )
        for name in names:
            target = f"{path}/{name}"
            parent, _, last = target.rpartition("/")
            first = target if whole else f"{parent}/.{last}.{os.getpid()}.{next(_serial)}.tmp"
            try:
                if not whole:
                    system.makedirs(parent, exist_ok=True)
                system.put_file(str(folder / name), first)
                system.invalidate_cache(parent)
                arrived = system.info(first)["size"]
                if arrived == (folder / name).stat().st_size and not whole:
                    system.mv(first, target)
            except Exception as error:
                raise _unreached(f"{self.url}/{name}", error) from None
            if arrived != (folder / name).stat().st_size:
                raise PassingError(f"{self.url}/{name}: {arrived} bytes arrived of {(folder / name).stat().st_size}")

    def remove(self, names: Iterable[str]) -> None:
        """Delete files, where they are still there."""
        system, path = self._reached
        for name in names:
            try:
                system.rm_file(f"{path}/{name}")
            except FileNotFoundError:
                continue
            except Exception as error:
                raise _unreached(f"{self.url}/{name}", error) from None


def matching(pattern: str) -> list[Place]:
    """The folders that a word names: itself, or with ``*`` in it all that match.

    Raises:
        InputError: nothing matches.
        PassingError: the place cannot be reached.
    """
    place = Place(pattern.rstrip("/") or "/")
    if not any(sign in pattern for sign in "*?["):
        return [place]
    if place.remote:
        system, path = place._reached
        try:
            found = [system.unstrip_protocol(each) for each in system.glob(path)]
        except Exception as error:
            raise _unreached(pattern, error) from None
    else:
        found = [str(each) for each in _expanded(place.path) if each.is_dir()]
    if not found:
        raise InputError(f"{pattern}: no folder matches; check the pattern, and quote it if it is a store's")
    return [Place(each.rstrip("/")) for each in sorted(found)]


def _expanded(pattern: Path) -> list[Path]:
    """Folders of this machine that a pattern matches, level by level."""
    found = [Path(pattern.anchor) if pattern.anchor else Path()]
    for part in pattern.parts[1:] if pattern.anchor else pattern.parts:
        if not any(sign in part for sign in "*?["):
            found = [each / part for each in found]
        else:
            found = [
                each / name
                for each in found
                if each.is_dir()
                for name in sorted(os.listdir(each))
                if fnmatch.fnmatchcase(name, part) and not name.startswith(".")
            ]
    return [each for each in found if each.exists()]


def _below(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative names of this machine's files, and what changes with them. A night's takes have hundreds of thousands:
    each is asked for once. Links to folders are followed, to each folder once and to none that the take lies in.
    """
    if folder.is_file():
        found = folder.stat()
        yield ".", f"{found.st_size} {found.st_mtime_ns}"
        return
    if not folder.is_dir():
        return
    here = folder.resolve()
    seen = {_identity(each) for each in here.parents}
    # Folders that are still to be looked into, as prefixes of names: links after all that is here itself.
    open_folders, links = [""], list[str]()
    while open_folders or links:
        prefix = open_folders.pop() if open_folders else links.pop(0)
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / prefix) as entries:
            if (who := _identity(folder / prefix)) in seen:
                continue
            seen.add(who)
            found_links = []
            for entry in entries:
                if entry.is_dir():
                    (found_links if entry.is_symlink() else open_folders).append(f"{prefix}{entry.name}/")
                    continue
                with suppress(FileNotFoundError):
                    found = entry.stat()
                    if not stat.S_ISDIR(found.st_mode):
                        yield prefix + entry.name, f"{found.st_size} {found.st_mtime_ns}"
            # In an order that the disk does not choose: of two to one folder, the first counts.
            links = sorted(links + found_links) if found_links else links


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _stamp(entry: Mapping[str, Any]) -> str:
    """Length first; what else tells two contents apart, as far as the store says it."""
    told = next((entry[key] for key in ("ETag", "md5Hash", "mtime", "LastModified") if entry.get(key)), "")
    return f"{entry['size']} {told}"


def _unreached(where: str, error: Exception) -> PassingError:
    said = " ".join(str(error).split()) or type(error).__name__
    return PassingError(f"{where}: {said[:200]}; check the address, the credentials and the network")


def sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
