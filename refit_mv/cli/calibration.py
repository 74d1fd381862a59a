"""The commands under ``calib``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refit_mv.cli import options as shared
from refit_mv.cli.boards import calib_run
from refit_mv.cli.doctor import doctor
from refit_mv.cli.progress import plural
from refit_mv.cli.refine import calib_refine
from refit_mv.errors import InputError

if TYPE_CHECKING:
    from calib import LoadedRig
    from refit_mv.geometry.camera import CameraRig

# The keys of calib.writing.WRITERS: help does not wait for what these import.
FORMATS = "anipose, caliscope, easymocap, opencv, colmap"
# Metres between two cameras that somebody measures.
CLOSEST, FURTHEST = 0.01, 1000.0


@click.group()
def calib() -> None:
    """Make camera calibrations with a board, look at them, mend them, convert them, and say what is wrong with them."""


calib.add_command(calib_run)
calib.add_command(calib_refine)
calib.add_command(doctor)


@calib.command("show")
@click.argument("file", type=shared.FILE)
@shared.units
@click.option("--picture", type=shared.FILE, help="Also draw the rig into this PNG.")
def calib_show(file: Path, units: str | None, picture: Path | None) -> None:
    """Print the cameras of FILE and what looks wrong with them."""
    import torch

    from calib import describe, draw_rig, examine, read_rig, save_picture, shown

    loaded = read_rig(file, units)
    click.echo(f"{shown(file)}: {loaded.format}, lengths in {loaded.units}")
    click.echo(describe(loaded.rig, loaded.up))
    for warning in (*loaded.warnings, *examine(loaded.rig, loaded.up)):
        click.echo(f"note: {warning}")
    if picture is not None:
        up = None if loaded.up is None else torch.tensor(loaded.up, dtype=torch.float64)
        save_picture(draw_rig(loaded.rig, up), picture)
        click.echo(f"picture: {shown(picture)}")


_target = click.option("-o", "--out", type=shared.FILE, required=True, help="Calibration to write; never CALIB itself.")
_form = click.option("--to", help=f"Format to write, where the name does not say it: {FORMATS}.")


@calib.command("convert")
@click.argument("source", type=shared.FILE)
@click.argument("target", type=shared.FILE)
@_form
@shared.units
def calib_convert(source: Path, target: Path, to: str | None, units: str | None) -> None:
    """Read SOURCE in any known format and write TARGET in metres.

    TARGET's name says the format: .toml (Anipose, Pose2Sim), camera_array.toml (Caliscope), .yml (OpenCV, all cameras
    in one file), intri.yml (EasyMocap), cameras.txt (COLMAP); or --to does, with TARGET a folder for formats of several
    files.
    """
    from calib import read_rig

    loaded = read_rig(source, units)
    _write(loaded, loaded.rig, target, to)


@calib.command("subset")
@click.argument("source", metavar="CALIB", type=shared.FILE)
@click.option("--cameras", callback=shared.words, required=True, help="Names of the cameras to keep, commas between.")
@_target
@_form
@shared.units
def calib_subset(source: Path, cameras: tuple[str, ...], out: Path, to: str | None, units: str | None) -> None:
    """Write some cameras of CALIB, in the order asked for."""
    from calib import read_rig

    loaded = read_rig(source, units)
    _write(loaded, loaded.rig.subset([loaded.named(camera) for camera in cameras]), out, to)


@calib.command("rename")
@click.argument("source", metavar="CALIB", type=shared.FILE)
@click.argument("pairs", metavar="[OLD=NEW]...", nargs=-1)
@click.option(
    "--names", callback=shared.words, default="", help="New names of all cameras, in the order of calib show."
)
@click.option(
    "--session", type=shared.FOLDER, help="Name all cameras after the views of this recording, both in order."
)
@_target
@_form
@shared.units
def calib_rename(
    source: Path,
    pairs: tuple[str, ...],
    names: tuple[str, ...],
    session: Path | None,
    out: Path,
    to: str | None,
    units: str | None,
) -> None:
    """Write CALIB with other names: OLD=NEW for some cameras (A=B B=A exchanges two), or all by their order."""
    from calib import read_rig
    from calib.renaming import in_order, renamed

    if (bool(pairs) + bool(names) + (session is not None)) != 1:
        raise InputError("give OLD=NEW, or --names, or --session, one of the three")
    loaded = read_rig(source, units)
    if pairs:
        new = {loaded.named(old): name for old, name in _pairs(pairs).items()}
    else:
        new = in_order(loaded.rig, names if session is None else _views_of(session))
    _write(loaded, renamed(loaded.rig, new), out, to)
    for old, name in new.items():
        click.echo(f"{old} is now {name}")


@calib.command("scale")
@click.argument("source", metavar="CALIB", type=shared.FILE)
@click.option("--size", help="Width and height of the pictures, as 960x540 (of every camera).")
@click.option("--factor", type=float, help="Pictures of this many times the calibrated width and height.")
@click.option("--lengths", type=float, help="Positions of this many times the calibrated lengths.")
@click.option(
    "--distance",
    type=(str, str, float),
    metavar="CAM CAM METRES",
    help="Lengths with which these two cameras are METRES apart.",
)
@_target
@_form
@shared.units
def calib_scale(
    source: Path, distance: tuple[str, str, float] | None, out: Path, to: str | None, units: str | None, **how
) -> None:
    """Write CALIB for the same pictures at another size (--size, --factor), or with its lengths put right (--lengths,
    --distance).
    """
    from calib import read_rig
    from calib.scaling import apart, stretched

    size, factor, lengths = how["size"], how["factor"], how["lengths"]
    if sum(given is not None for given in (size, factor, lengths, distance)) != 1:
        raise InputError("give exactly one of --size WxH (of the pictures), --factor, --lengths and --distance")
    if size is not None or factor is not None:
        loaded = read_rig(source, units)
        scaled = _resized(loaded.rig, size, factor)
        told = [
            f"{after.name}: {_size(before.size)} to {_size(after.size)}, focal {after.focal:.1f} px"
            for before, after in zip(loaded.rig, scaled, strict=True)
        ]
    else:
        loaded = read_rig(source, units, any_length=True)
        if distance is not None:
            one, other, metres = loaded.named(distance[0]), loaded.named(distance[1]), distance[2]
            if not CLOSEST <= metres <= FURTHEST:
                raise InputError(f"--distance ... {metres:g}: expected {CLOSEST:g} to {FURTHEST:g} metres")
            lengths = metres / apart(loaded.rig, one, other)
        scaled = stretched(loaded.rig, lengths)
        told = [f"lengths times {lengths:.6g} (CALIB is in {loaded.units})"]
    _write(loaded, scaled, out, to)
    for line in told:
        click.echo(line)


@calib.command("board")
@click.argument("description", metavar="BOARD", type=shared.FILE)
@click.option("--pdf", type=shared.FILE, required=True, help="PDF to write.")
@click.option("--paper", default="a4", show_default=True, help="a5 to a0, letter, legal, tabloid, or WxHmm.")
def calib_board(description: Path, pdf: Path, paper: str) -> None:
    """Print a calibration board to true scale: BOARD is a YAML file, or the name of a board that is shipped."""
    from calib import shown
    from calib.board.board_file import read_board
    from calib.board.printing import print_board

    board = read_board(description)
    page = print_board(board, pdf, paper)
    click.echo(f"{board.described()} on {page.size[0]:g}×{page.size[1]:g} mm: {shown(pdf)}")
    click.echo("print it at 100 %, glue it to something flat, and measure the ruler on it")


def _write(loaded: "LoadedRig", rig: "CameraRig", target: Path, to: str | None) -> None:
    """Write, and say what the user should know about what was read and what is not kept."""
    from calib import shown, write_rig
    from calib.writing import writer_of

    files = write_rig(rig, target, loaded.up, to, keep=loaded.files)
    for warning in loaded.warnings:
        click.echo(f"note: {warning}")
    chosen = writer_of(target, to)
    if loaded.up is not None and not chosen.holds_up:
        click.echo(f"note: {chosen.name} does not hold which way is up; --to anipose does")
    click.echo(f"{plural(len(rig), 'camera')} written to {', '.join(map(shown, files[:3]))}, in metres ({chosen.name})")


def _resized(rig: "CameraRig", size: str | None, factor: float | None) -> "CameraRig":
    from refit_mv.geometry.camera import CameraRig
    from refit_mv.geometry.picture_size import resized_by, resized_to

    if factor is not None:
        return CameraRig(tuple(resized_by(camera, factor) for camera in rig))
    wanted = re.fullmatch(r"(\d{2,6})\s*[xX×]\s*(\d{2,6})", str(size).strip())
    if wanted is None:
        raise InputError(f"--size {size}: expected width x height in pixels, for example 960x540")
    pixels = (int(wanted[1]), int(wanted[2]))
    return CameraRig(tuple(resized_to(camera, pixels) for camera in rig))


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not (old and equals and new):
            raise InputError(f"{text}: expected OLD=NEW, for example cam_0=left")
        if old in found:
            raise InputError(f"camera {old} is given two names, {found[old]} and {new}")
        found[old] = new
    return found


def _views_of(session: Path) -> tuple[str, ...]:
    """The names of a recording's views in natural order."""
    from calib.natural_order import natural_key
    from refit_mv.session.layouts import find_files

    found = find_files(session)
    return tuple(sorted({*found.videos, *found.images} or set(found.keypoints), key=natural_key))


def _size(size: tuple[int, int] | None) -> str:
    return "unknown size" if size is None else f"{size[0]}×{size[1]}"
