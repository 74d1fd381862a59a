"""What one calibration file format is: a name, a way to recognise it, a way to read it and, for some, to write it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refit_mv.geometry.camera import Camera, CameraRig


@dataclass(frozen=True, eq=False)
class FileRig:
    """What a file says, its lengths still in the file's own unit.

    ``units`` is the unit where the format or the file itself settles it, None where neither says. ``hint`` is what
    the file holds that speaks for a unit without settling it, for the message that asks the user. ``custom`` is set
    where ``units`` is only what the format's own makers use: the widest baseline in metres that makes it believable.
    ``up`` is the world's up direction where the format or the file defines it. ``sections`` are the
    cameras' names by the names of the file's sections, where these are names too.
    """

    cameras: tuple[Camera, ...]
    units: str | None = None
    hint: str | None = None
    warnings: tuple[str, ...] = ()
    custom: tuple[float, float] | None = None
    up: tuple[float, float, float] | None = None
    sections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TextFile:
    """A file to be written."""

    path: Path
    text: str


def only(path: Path) -> tuple[Path, ...]:
    """The files of a calibration that is in one file."""
    return (path,)


@dataclass(frozen=True)
class CalibrationFormat:
    """``recognises`` looks at the text alone; ``read`` also gets the path, for formats that are spread over several
    files: ``parts`` names all that are read together with one of them.

    What can be written has a ``key``, the word by which it is asked for, and ``claims`` the paths whose name alone
    asks for it. ``write(rig, target, up)`` gives the files that hold the rig, in metres, and raises InputError where
    the format cannot hold it. ``holds_up``: whether the world's up direction is among what is written.
    """

    name: str
    recognises: Callable[[str], bool]
    read: Callable[[Path, str], FileRig]
    parts: Callable[[Path], tuple[Path, ...]] = only
    key: str = ""
    claims: Callable[[Path], bool] = lambda _path: False
    write: Callable[[CameraRig, Path, tuple[float, float, float] | None], tuple[TextFile, ...]] | None = None
    holds_up: bool = False
