"""A calibration file, or the folder that holds one, to a rig in metres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calib import anipose_toml, colmap_text, easymocap_yml, mamma_yaml, opencv_yaml, panoptic, qualisys, vicon
from calib.file_format import CalibrationFormat
from calib.file_text import entries, kind_of, read_text, shown
from calib.natural_order import natural_key
from calib.units import settle
from calib.up import contradicts
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

# A new format is one module with a FORMAT and one entry here. The least particular signs of recognition come last: any
# OpenCV YAML may be EasyMocap's, any TOML Anipose's.
FORMATS: tuple[CalibrationFormat, ...] = (
    qualisys.FORMAT,
    vicon.FORMAT,
    panoptic.FORMAT,
    mamma_yaml.FORMAT,
    colmap_text.FORMAT,
    opencv_yaml.FORMAT,
    easymocap_yml.FORMAT,
    anipose_toml.FORMAT,
)
_SUFFIXES = (".toml", ".txt", ".xml", ".xcp", ".json", ".yml", ".yaml")
# What Caliscope leaves beside its camera_array.toml: an export for Anipose, and the file of its older versions.
_SECOND_CHOICE = ("camera_array_aniposelib.toml", "config.toml")
# Metres from the world's origin: beyond, single precision places no joint to a millimetre.
FURTHEST_M = 10_000.0


@dataclass(frozen=True, eq=False)
class LoadedRig:
    """A rig in metres, cameras in natural order of their names, and how it was read.

    ``format`` names the file format, ``units`` the unit the file's lengths were in, ``warnings`` what the user should
    know: plain sentences. ``up`` is the world's up direction where the format or the file defines it; None leaves it to
    be estimated. ``sections`` gives the cameras of a file's section names, which files may also use. ``files`` are
    those that were read.
    """

    rig: CameraRig
    format: str
    units: str
    warnings: tuple[str, ...]
    sections: Mapping[str, str] = field(default_factory=dict)
    up: tuple[float, float, float] | None = None
    files: tuple[Path, ...] = ()

    def named(self, camera: str) -> str:
        """The name of a camera that is called by its name or by its section's.

        Raises:
            InputError: neither is known.
        """
        return self.rig[camera if camera in self.rig.names else self.sections.get(camera, camera)].name


def read_rig(path: Path, units: str | None = None, any_length: bool = False) -> LoadedRig:
    """Read cameras from a calibration file of any known format, told by its content.

    Args:
        path: The file (either one of EasyMocap's two), or a folder with exactly one calibration in it.
        units: The unit of the file's lengths where neither format nor file says it: m, cm, mm, in, … or metres per
        unit as a
            number. None takes metres where that can be true, with a warning.
        any_length: Let lengths in an unknown unit pass as they are: for who is about to scale them.

    Raises:
        InputError: no such file, none or several calibrations in the folder, a broken file, or units that contradict
        the file.
    """
    path = Path(path)
    if kind_of(path) == "folder":
        path = find_calibration(path)
    text = read_text(path)
    known = _format_of(text)
    if known is None and path.suffix.lower() == ".toml":
        known = anipose_toml.FORMAT  # reading it says what is wrong with it
    if known is None:
        raise InputError(f"calibration {shown(path)}: not a calibration file that is known; known are {_known()}")
    try:
        file_rig = known.read(path, text)
        scale, label, notes = settle(file_rig, units, any_length)
        ordered = sorted(file_rig.cameras, key=lambda camera: natural_key(camera.name))
        rig = CameraRig(tuple(ordered))
        rig = rig.scaled(scale) if scale != 1.0 else rig
        if not any_length:
            check_places(rig)
    except InputError as problem:
        raise InputError(f"calibration {shown(path)}: {problem}") from None
    notes += contradicts(rig, file_rig.up)
    return LoadedRig(
        rig, known.name, label, file_rig.warnings + notes, file_rig.sections, file_rig.up, known.parts(path)
    )


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that :func:`read_rig` reads for ``path``, whether or not they hold cameras that can be used.

    Raises:
        InputError: no such file, or none or several calibrations in the folder.
    """
    path = find_calibration(path) if kind_of(path) == "folder" else path
    known = _format_of(read_text(path))
    return (path,) if known is None else known.parts(path)


def may_belong(name: str, asked: str | None) -> bool:
    """Whether a file of this name may be read when ``asked`` beside it is given, or its folder (None), as far as names
    tell: for who has to fetch files before they can be looked into.
    """
    suffix = Path(name).suffix.lower()
    if asked is None:
        return suffix in _SUFFIXES
    same_kind = {suffix, Path(asked).suffix.lower()} <= set(opencv_yaml.SUFFIXES)
    return name == asked or same_kind or (Path(asked).suffix.lower() == ".txt" and name in colmap_text.FILES)


def check_places(rig: CameraRig) -> None:
    """Refuse cameras further from the world's origin than any room.

    Raises:
        InputError: names the first of them.
    """
    for camera in rig:
        distance = float(np.linalg.norm(camera.center.numpy()))
        if not distance <= FURTHEST_M:
            raise InputError(
                f"camera '{camera.name}' stands {distance:.3g} m from the world's origin, more than {FURTHEST_M:g} m:"
                " another unit, or numbers that mean something else?"
            )


def find_calibration(folder: Path) -> Path:
    """The one calibration file in ``folder``, or in its one subfolder that is called after calibration.

    Raises:
        InputError: none, several, or a folder that may not be read.
    """
    found = _calibrations(folder)
    if not found:
        named = [child for child in entries(folder) if "calib" in child.name.lower() and kind_of(child) == "folder"]
        found = [file for child in named for file in _calibrations(child)]
    found = preferred(found)
    if len(found) == 1:
        return found[0]
    if not found:
        seen = ", ".join(shown(Path(child.name)) for child in entries(folder)[:8]) or "nothing"
        raise InputError(f"no calibration in {shown(folder)}: found {seen}; expected one of {_known()}")
    names = ", ".join(shown(file.relative_to(folder)) for file in found[:8])
    raise InputError(f"several calibrations in {shown(folder)}: {names}; give the one to use with --calib")


def preferred(files: Sequence[Path]) -> list[Path]:
    """``files`` without those that a tool leaves beside its own newer calibration."""
    first = [file for file in files if file.name not in _SECOND_CHOICE]
    second = sorted((file for file in files if file not in first), key=lambda file: _SECOND_CHOICE.index(file.name))
    return first or second[:1]


def is_calibration(file: Path) -> bool:
    """Whether a file holds a calibration of a known format, as far as a look tells."""
    try:
        return kind_of(file) == "file" and _format_of(read_text(file)) is not None
    except InputError:
        return False


def _calibrations(folder: Path) -> list[Path]:
    found: list[Path] = []
    for file in sorted(entries(folder), key=lambda child: natural_key(child.name)):
        if file.suffix.lower() in _SUFFIXES and is_calibration(file):
            known = _format_of(read_text(file))
            if known is not None and not set(known.parts(file)) & set(found):
                found.append(file)
    return found


def _format_of(text: str) -> CalibrationFormat | None:
    return next((known for known in FORMATS if known.recognises(text)), None)


def _known() -> str:
    return ", ".join(known.name for known in FORMATS)
