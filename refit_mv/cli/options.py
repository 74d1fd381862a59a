"""Arguments and options that several commands share, and how their values are read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from refit_mv.errors import InputError
from refit_mv.files import found_at
from refit_mv.ranges import whole_number

# Of people who are measured, babies and giants included.
SHORTEST, TALLEST = 0.4, 2.75
# Frames per second, from time lapses to the fastest cameras.
SLOWEST, FASTEST = 0.01, 1e5


class _Place(click.Path):
    """A path that the system can hold and look at, whether or not something is there."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        # Python takes no name at all for the folder that one is in: what a script's empty variable must not fill.
        if not os.fspath(value):
            name = "a path" if param is None else param.get_error_hint(ctx) if ctx else param.opts[0]
            raise InputError(f"{name} is empty; give the path, or leave the option out")
        path = Path(value)
        found_at(path)
        return path


FOLDER = FILE = _Place()
SEED = click.IntRange(0, 2**31 - 1)


def frame_range(_context: click.Context, _parameter: click.Parameter, value: str | None) -> slice | None:
    """``A:B``: frames A to B−1 by the recording's own numbers; either side may be left out."""
    if value is None:
        return None
    first, colon, last = value.partition(":")
    try:
        start, stop = (int(part) if part.strip() else None for part in (first, last))
    except ValueError:
        colon = ""
        start = stop = None
    if not colon or (start or 0) < 0 or (stop is not None and stop <= (start or 0)):
        raise InputError(f"--frames {value}: expected A:B with A before B, for example 0:100")
    return slice(start, stop)


def rate(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """Frames per second, if given."""
    if value is not None and not SLOWEST <= value <= FASTEST:
        raise InputError(f"--fps {value:g}: expected {SLOWEST:g} to {FASTEST:g} frames per second")
    return value


def height(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    """A person's height in metres, if given."""
    if value is not None and not SHORTEST <= value <= TALLEST:
        raise InputError(f"--height {value:g}: expected metres, {SHORTEST:g} to {TALLEST:g}, for example 1.76")
    return value


def words(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Words with commas between."""
    return tuple(word.strip() for word in value.split(",") if word.strip())


def counts(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers with commas between."""
    found = words(context, parameter, value)
    numbers = [number for word in found if (number := whole_number(word)) is not None]
    if not numbers or len(numbers) < len(found):
        raise InputError(f"--{parameter.name} {value}: expected whole numbers with commas between, for example 2,4,8")
    return tuple(numbers)


def pairs(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """``VIEW=CAMERA``, several times."""
    found: dict[str, str] = {}
    for text in value:
        view, equals, camera = (part.strip() for part in text.partition("="))
        if not (view and equals and camera):
            raise InputError(f"--map {text}: expected VIEW=CAMERA, for example --map left=cam_01")
        if found.setdefault(view, camera) != camera:
            raise InputError(f"--map gives view {view} two cameras, {found[view]} and {camera}")
    return found


def require_toml(target: Path) -> None:
    """Refuse a name of which a calibration cannot be written as TOML.

    Raises:
        InputError: it ends otherwise.
    """
    if target.suffix.lower() != ".toml":
        from calib import shown

        raise InputError(f"{shown(target)}: calibrations are written as TOML; give a name that ends in .toml")


def recipe_option(default: str, text: str = "Shipped recipe or YAML file.") -> Callable:
    """``--recipe`` with the command's own default."""
    return click.option("--recipe", default=default, show_default=True, help=text)


def together(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Several options as one decorator, in the order that the help lists them."""

    def decorate(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


calib_file = click.option(
    "--calib", type=FILE, help="Calibration file; by default the one inside the session. One view alone may do without."
)
units = click.option(
    "--units", help="Unit of the calibration's lengths where the file does not say: m, cm, mm, in, or metres per unit."
)
body = click.option(
    "--body", default="open", show_default=True, help="'open', or an SMPL, SMPL-H or SMPL-X file (.pkl, .npz)."
)
keypoints = click.option(
    "--keypoints", help="Keypoint set of the files where their length leaves it open, such as BODY_25B."
)
device = click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
mapping = click.option(
    "--map",
    "mapping",
    multiple=True,
    callback=pairs,
    metavar="VIEW=CAMERA",
    help="Which camera a view belongs to where names do not tell; once for each view.",
)
edits_file = click.option(
    "--people-edits", type=FILE, help="Corrections of who is who (docs/people.md) [default: SESSION/people.yaml]."
)
people_by_hand = together(
    click.option(
        "--person",
        multiple=True,
        metavar="ID|VIEW:X,Y@FRAME",
        help="Only this person, by number, or whoever is at a pixel; once for each.",
    ),
    edits_file,
)
session = together(
    click.argument("session", type=FOLDER),
    calib_file,
    units,
    mapping,
    click.option("--out", type=FOLDER, help="Output folder [default: SESSION/refit]."),
)
detector = together(
    click.option(
        "--detector",
        default="blazepose",
        show_default=True,
        help="Who detects keypoints in videos: blazepose, blazepose-heavy or rtmlib.",
    ),
    click.option("--detector-weights", type=FOLDER, help="Folder with the detector's network files."),
)
detector_profile = click.option(
    "--detector-profile",
    default="auto",
    show_default=True,
    metavar="FILE|auto|none",
    help="What is known of the detector; auto: what is shipped for the one that made the keypoints.",
)
