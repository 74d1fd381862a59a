"""The commands under ``calib``."""

import re
from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.boards import calib_run
from refit_mv.cli.doctor import doctor
from refit_mv.cli.refine import calib_refine
from refit_mv.errors import InputError


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


@calib.command("convert")
@click.argument("source", type=shared.FILE)
@click.argument("target", type=shared.FILE)
@shared.units
def calib_convert(source: Path, target: Path, units: str | None) -> None:
    """Read SOURCE in any known format and write TARGET as Anipose-family TOML in metres."""
    from calib import read_rig, shown, write_rig

    _check_toml(target)
    loaded = read_rig(source, units)
    write_rig(loaded.rig, target, loaded.up)
    for warning in loaded.warnings:
        click.echo(f"note: {warning}")
    click.echo(f"{len(loaded.rig)} cameras written to {shown(target)}, in metres")


@calib.command("scale")
@click.argument("source", metavar="CALIB", type=shared.FILE)
@click.option("--size", help="Width and height of the pictures, as 960x540 (of every camera).")
@click.option("--factor", type=float, help="Pictures of this many times the calibrated width and height.")
@click.option("-o", "--out", type=shared.FILE, required=True, help="TOML file to write.")
@shared.units
def calib_scale(source: Path, size: str | None, factor: float | None, out: Path, units: str | None) -> None:
    """Write CALIB for the same pictures at another size, as TOML in metres."""
    from calib import read_rig, shown, write_rig
    from refit_mv.geometry.camera import CameraRig
    from refit_mv.geometry.picture_size import resized_by, resized_to

    _check_toml(out)
    if (size is None) == (factor is None):
        raise InputError("give --size WxH, the size of the pictures, or --factor, one of the two")
    loaded = read_rig(source, units)
    if factor is not None:
        scaled = CameraRig(tuple(resized_by(camera, factor) for camera in loaded.rig))
    else:
        wanted = re.fullmatch(r"(\d{2,6})\s*[xX×]\s*(\d{2,6})", str(size).strip())
        if wanted is None:
            raise InputError(f"--size {size}: expected width x height in pixels, for example 960x540")
        pixels = (int(wanted[1]), int(wanted[2]))
        scaled = CameraRig(tuple(resized_to(camera, pixels) for camera in loaded.rig))
    write_rig(scaled, out, loaded.up)
    for warning in loaded.warnings:
        click.echo(f"note: {warning}")
    for before, after in zip(loaded.rig, scaled, strict=True):
        click.echo(f"{after.name}: {_size(before.size)} to {_size(after.size)}, focal {after.focal:.1f} px")
    click.echo(f"{len(scaled)} cameras written to {shown(out)}, in metres")


def _check_toml(target: Path) -> None:
    from calib import shown

    if target.suffix.lower() != ".toml":
        raise InputError(f"{shown(target)}: calibrations are written as TOML; give a name that ends in .toml")


def _size(size: tuple[int, int] | None) -> str:
    return "unknown size" if size is None else f"{size[0]}×{size[1]}"
