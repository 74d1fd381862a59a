"""The motion formats that are known, and files read and written by their suffix.

A format is one module, its reader and its writer together, and one row here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.motion.amass import read_amass, write_amass
from refit_mv.motion.bvh import read_bvh, write_bvh
from refit_mv.motion.c3d import write_c3d
from refit_mv.motion.csv_table import write_csv
from refit_mv.motion.fbx import write_fbx
from refit_mv.motion.glb import write_glb
from refit_mv.motion.mot import write_mot
from refit_mv.motion.motion import Y_UP, Direction, Motion, turned_up
from refit_mv.motion.smplx_npz import write_smplx
from refit_mv.motion.trc import write_trc
from refit_mv.motion.usd import write_usd

Writer = Callable[[Path, Motion], tuple[Path, ...]]
Reader = Callable[[Path, BodyModel | None], Motion]


@dataclass(frozen=True)
class Format:
    """A kind of motion file: ``writer`` returns the files it wrote, ``reader`` gives the motion of a body or, without
    one, of the skeleton that the file tells; None where the format is only read, or only written.

    For exports: ``ending`` comes between a file's name and its suffix. ``up`` is the direction that is customary in
    the format (None: the motion's own), which ``turns`` to another where somebody wishes. ``rigged``: it has a skeleton
    of its own, whose names and rest pose may be others. ``says``: what a reader must know of units and of frames
    without a pose; empty where the writer says it itself.
    """

    name: str
    suffix: str
    writer: Writer | None
    reader: Reader | None
    ending: str = ""
    up: Direction | None = None
    turns: bool = True
    rigged: bool = False
    says: str = ""

    def write(self, path: Path, motion: Motion) -> tuple[Path, ...]:
        """Write a motion. Raises InputError where the format is only read, or what the writer raises."""
        if self.writer is None:
            raise InputError(f"{path}: motions are not written as {self.name}; {_choice(_written())}")
        return self.writer(path, motion)

    def place(self, folder: Path, name: str) -> Path:
        """Where an export of that name goes."""
        return folder / f"{name}{self.ending}{self.suffix}"

    def read(self, path: Path, body: BodyModel | None = None) -> Motion:
        """Read a motion. Raises InputError where the format is only written, or what the reader raises."""
        if self.reader is None:
            raise InputError(f"{path}: motions are not read from {self.name}; {_choice(_read())}")
        return self.reader(path, body)


HELD = "{}; frames without a pose of their own hold the nearest frame's"
FORMATS = {
    kind.name: kind
    for kind in (
        Format("amass", ".npz", write_amass, read_amass),
        Format("smplx", ".npz", write_smplx, None, "_smplx", says=HELD.format("metres, radians")),
        Format("bvh", ".bvh", write_bvh, read_bvh, up=Y_UP, rigged=True, says=HELD.format("centimetres, degrees")),
        Format(
            "glb",
            ".glb",
            write_glb,
            None,
            up=Y_UP,
            turns=False,
            rigged=True,
            says="metres, quaternions x y z w, seconds; the person's node is scaled to nothing in frames without a "
            "pose of their own",
        ),
        Format(
            "fbx",
            ".fbx",
            write_fbx,
            None,
            up=Y_UP,
            turns=False,
            rigged=True,
            says="centimetres, degrees, seconds; the person's node is scaled to nothing in frames without a pose of "
            "their own",
        ),
        Format(
            "usd",
            ".usd",
            write_usd,
            None,
            up=Y_UP,
            rigged=True,
            says="metres, quaternions, time codes that count frames from 0; invisible in frames without a pose of "
            "their own",
        ),
        Format(
            "c3d",
            ".c3d",
            write_c3d,
            None,
            says="millimetres; points are invalid (residual -1) in frames without a pose of their own",
        ),
        Format(
            "trc",
            ".trc",
            write_trc,
            None,
            up=Y_UP,
            turns=False,
            says="metres; empty in frames without a pose of their own",
        ),
        Format("csv", ".csv", write_csv, None, says="metres, seconds; empty in frames without a pose of their own"),
        Format("mot", ".mot", write_mot, None, up=Y_UP, turns=False, says=HELD.format("degrees, metres, seconds")),
    )
}


def _written() -> list[Format]:
    return [kind for kind in FORMATS.values() if kind.writer is not None]


def _read() -> list[Format]:
    return [kind for kind in FORMATS.values() if kind.reader is not None]


def _choice(kinds: list[Format]) -> str:
    return f"choose one of {', '.join(f'{kind.name} ({kind.suffix})' for kind in kinds)}"


def format_named(name: str) -> Format:
    """The format of that name. Raises InputError for an unknown one."""
    if name not in FORMATS:
        raise InputError(f"no motion format '{name}': {_choice(list(FORMATS.values()))}")
    return FORMATS[name]


def format_of(path: Path) -> Format:
    """The format that a file's suffix tells. Raises InputError for an unknown one."""
    suffix = path.suffix.lower()
    found = next((kind for kind in FORMATS.values() if kind.suffix == suffix), None)
    if found is None:
        raise InputError(f"{path}: unknown kind of motion file; {_choice(list(FORMATS.values()))}")
    return found


def readable_suffixes() -> tuple[str, ...]:
    """Suffixes of the files that ``read_motion`` takes, sorted."""
    return tuple(sorted(kind.suffix for kind in _read()))


def read_motion(path: str | Path, body: BodyModel | None = None) -> Motion:
    """A motion file, its kind told by its suffix, as the motion of a ``body`` or, without one, of the skeleton that
    it tells.

    Raises:
        InputError: an unknown suffix, or whatever is wrong with the file.
    """
    return format_of(Path(path)).read(Path(path), body)


def write_motion(path: str | Path, motion: Motion) -> tuple[Path, ...]:
    """Write a motion in the format that the suffix tells, turned to its customary vertical. Returns the files.

    Raises:
        InputError: an unknown suffix, a motion that the format cannot hold, or a file that cannot be written.
    """
    kind = format_of(Path(path))
    customary = motion if kind.up is None or motion.up is None else turned_up(motion, kind.up)
    return kind.write(Path(path), customary)
