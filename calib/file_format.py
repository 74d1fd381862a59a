"""What one calibration file format is to the reader: a name, a way to recognise it, and a way to read it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refit_mv.geometry.camera import Camera


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
class CalibrationFormat:
    """``recognises`` looks at the text alone; ``read`` also gets the path, for formats that are spread over two
    files."""

    name: str
    recognises: Callable[[str], bool]
    read: Callable[[Path, str], FileRig]
