"""A rig in metres to calibration files of any format that has a writer."""

from collections.abc import Sequence
from pathlib import Path

from calib import anipose_toml, caliscope_toml, colmap_text, easymocap_yml, opencv_yaml
from calib.file_format import CalibrationFormat, TextFile
from calib.file_text import kind_of, shown
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.geometry.camera import CameraRig

# A name is given to the first that claims it: camera_array.toml is Caliscope's, any other TOML Anipose's.
WRITERS: tuple[CalibrationFormat, ...] = (
    caliscope_toml.FORMAT,
    anipose_toml.FORMAT,
    easymocap_yml.FORMAT,
    opencv_yaml.FORMAT,
    colmap_text.FORMAT,
)


def writer_of(path: Path, to: str | None = None) -> CalibrationFormat:
    """The format that ``to`` names or, where that is None, the name of ``path``.

    Raises:
        InputError: a word or a name that is not known.
    """
    if to is not None:
        found = next((known for known in WRITERS if known.key == to.strip().lower()), None)
        if found is None:
            raise InputError(f"calibrations are not written as '{to[:40]}'; known are {_keys()}")
        return found
    found = next((known for known in WRITERS if known.claims(path)), None)
    if found is None:
        raise InputError(
            f"{shown(path)}: cannot tell the calibration's format from that name; give one that ends in .toml"
            f" (Anipose), camera_array.toml, .yml (OpenCV), intri.yml or cameras.txt (COLMAP), or --to {_keys(' | ')}"
        )
    return found


def write_rig(
    rig: CameraRig,
    path: Path,
    up: tuple[float, float, float] | None = None,
    to: str | None = None,
    keep: Sequence[Path] = (),
) -> tuple[Path, ...]:
    """Write ``rig`` in metres, each file complete or not at all, and say which files these are.

    Args:
        rig: Cameras, in metres.
        path: A file or, for formats of several files, the folder that they are written to (made if need be, but not the
            folder around it).
        up: The world's up direction where it is known by definition; Anipose's and Caliscope's files hold it.
        to: The format: anipose, caliscope, easymocap, opencv or colmap. None tells it by the name of ``path``.
        keep: Files that may not be overwritten: those that the rig came from.

    Raises:
        InputError: an unknown format, a rig that the format cannot hold, a file of ``keep``, or one that cannot be
        written there.
    """
    path = Path(path)
    chosen = writer_of(path, to)
    if chosen.write is None:
        raise InputError(f"{chosen.name} is read and not written; known are {_keys()}")
    try:
        files = chosen.write(rig, path, up)
    except InputError as problem:
        raise InputError(f"{shown(path)}: not written as {chosen.name}: {problem}") from None
    for file in files:
        _refuse_kept(file.path, keep)
    _make_folder(path, files)
    for file in files:
        with complete_or_absent(file.path) as unfinished:
            unfinished.write_text(file.text, encoding="utf-8", newline="\n")
    return tuple(file.path for file in files)


def check_target(path: Path, keep: Sequence[Path]) -> None:
    """Refuse now, before long work, a file that could not be written when it is done.

    Raises:
        InputError: a file of ``keep``, or one in a folder that is not there.
    """
    _refuse_kept(path, keep)
    _refuse_homeless(path)


def _refuse_kept(path: Path, keep: Sequence[Path]) -> None:
    if any(_same(path, kept) for kept in keep):
        raise InputError(f"{shown(path)} is what was read, and is not overwritten; give another name or folder")


def _refuse_homeless(path: Path) -> None:
    if kind_of(path.parent) != "folder":
        raise InputError(
            f"cannot write the calibration {shown(path)}: {shown(path.parent)} is no folder; give a file in a folder"
            " that exists"
        )


def _make_folder(path: Path, files: Sequence[TextFile]) -> None:
    """Of what is missing, only the folder that the user named is made: a path mistyped is no new tree of folders."""
    folder = files[0].path.parent
    kind = kind_of(folder)
    if kind == "folder":
        return
    if folder != path or kind != "nothing" or kind_of(path.parent) != "folder":
        _refuse_homeless(files[0].path)
    try:
        folder.mkdir()
    except OSError as problem:
        raise InputError(
            f"cannot write the calibration {shown(path)}: {problem.strerror}; give another folder"
        ) from None


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, links followed."""
    return kind_of(one) == "file" and kind_of(other) == "file" and one.samefile(other)


def _keys(between: str = ", ") -> str:
    return between.join(known.key for known in WRITERS)
