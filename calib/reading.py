"""A calibration file, or the folder that holds one, to a rig in metres."""

from dataclasses import dataclass
from pathlib import Path

from calib import anipose_toml, easymocap_yml, panoptic, qualisys, vicon
from calib.file_format import CalibrationFormat
from calib.natural_order import natural_key
from calib.units import settle
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

# A new format is one module with a FORMAT and one entry here. TOML comes last: its sign of recognition is the least
# particular.
FORMATS: tuple[CalibrationFormat, ...] = (
    qualisys.FORMAT,
    vicon.FORMAT,
    panoptic.FORMAT,
    easymocap_yml.FORMAT,
    anipose_toml.FORMAT,
)
# Panoptic's 521 cameras take 0.5 MB; a file far beyond that is a video or a model given by mistake.
LARGEST_FILE_BYTES = 20_000_000
_SUFFIXES = (".toml", ".txt", ".xml", ".xcp", ".json", ".yml", ".yaml")


@dataclass(frozen=True, eq=False)
class LoadedRig:
    """A rig in metres, cameras in natural order of their names, and how it was read.

    ``format`` names the file format, ``units`` the unit the file's lengths were in, ``warnings`` what the user should
    know: plain sentences.
    """

    rig: CameraRig
    format: str
    units: str
    warnings: tuple[str, ...]


def read_rig(path: Path, units: str | None = None) -> LoadedRig:
    """Read cameras from a calibration file of any known format, told by its content.

    Args:
        path: The file (either one of EasyMocap's two), or a folder with exactly one calibration in it.
        units: The unit of the file's lengths where neither format nor file says it: m, cm, mm, in, … or metres per
        unit as a
            number. None takes metres where that can be true, with a warning.

    Raises:
        InputError: no such file, none or several calibrations in the folder, a broken file, or units that contradict
        the file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"calibration {path}: no such file or folder")
    if path.is_dir():
        path = find_calibration(path)
    text = _text(path)
    known = _format_of(text)
    if known is None and path.suffix.lower() == ".toml":
        known = anipose_toml.FORMAT  # reading it says what is wrong with it
    if known is None:
        raise InputError(f"calibration {path}: not a calibration file that is known; known are {_known()}")
    try:
        file_rig = known.read(path, text)
        scale, label, notes = settle(file_rig, units)
        ordered = sorted(file_rig.cameras, key=lambda camera: natural_key(camera.name))
        rig = CameraRig(tuple(ordered))
    except InputError as problem:
        raise InputError(f"calibration {path}: {problem}") from None
    return LoadedRig(rig.scaled(scale) if scale != 1.0 else rig, known.name, label, file_rig.warnings + notes)


def find_calibration(folder: Path) -> Path:
    """The one calibration file in ``folder``, or in its one subfolder that is called after calibration.

    Raises:
        InputError: none, or several.
    """
    found = _calibrations(folder)
    if not found:
        named = [child for child in sorted(folder.iterdir()) if child.is_dir() and "calib" in child.name.lower()]
        found = [file for child in named for file in _calibrations(child)]
    if len(found) == 1:
        return found[0]
    if not found:
        seen = ", ".join(sorted(child.name for child in folder.iterdir())[:8]) or "nothing"
        raise InputError(f"no calibration in {folder}: found {seen}; expected one of {_known()}")
    names = ", ".join(str(file.relative_to(folder)) for file in found)
    raise InputError(f"several calibrations in {folder}: {names}; give the one to use with --calib")


def _calibrations(folder: Path) -> list[Path]:
    found: list[Path] = []
    for file in sorted(folder.iterdir(), key=lambda child: natural_key(child.name)):
        if (
            not file.is_file()
            or file.suffix.lower() not in _SUFFIXES
            or not 0 < file.stat().st_size <= LARGEST_FILE_BYTES
        ):
            continue
        if _format_of(_text(file)) is None:
            continue
        partner = easymocap_yml.partner_of(file)
        if partner is None or partner not in found:
            found.append(file)
    return found


def _format_of(text: str) -> CalibrationFormat | None:
    return next((known for known in FORMATS if known.recognises(text)), None)


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise InputError(f"calibration {path}: {size / 1e6:.0f} MB is no calibration file; give one of {_known()}")
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(f"calibration {path}: cannot be read: {problem.strerror}") from None
    if not content.strip():
        raise InputError(f"calibration {path}: the file is empty")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def _known() -> str:
    return ", ".join(known.name for known in FORMATS)
