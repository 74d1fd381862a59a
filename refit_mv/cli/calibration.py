"""The commands under ``calib``."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.errors import InputError


@click.group()
def calib() -> None:
    """Look at camera calibrations and convert them."""


@calib.command("show")
@click.argument("file", type=shared.FILE)
@shared.units
@click.option("--picture", type=shared.FILE, help="Also draw the rig into this PNG.")
def calib_show(file: Path, units: str | None, picture: Path | None) -> None:
    """Print the cameras of FILE and what looks wrong with them."""
    from calib import describe, draw_rig, examine, read_rig, save_picture

    loaded = read_rig(file, units)
    click.echo(f"{file}: {loaded.format}, lengths in {loaded.units}")
    click.echo(describe(loaded.rig))
    for warning in (*loaded.warnings, *examine(loaded.rig)):
        click.echo(f"note: {warning}")
    if picture is not None:
        save_picture(draw_rig(loaded.rig), picture)
        click.echo(f"picture: {picture}")


@calib.command("convert")
@click.argument("source", type=shared.FILE)
@click.argument("target", type=shared.FILE)
@shared.units
def calib_convert(source: Path, target: Path, units: str | None) -> None:
    """Read SOURCE in any known format and write TARGET as Anipose-family TOML in metres."""
    from calib import read_rig, write_rig

    if target.suffix.lower() != ".toml":
        raise InputError(f"{target}: calibrations are written as TOML; give a name that ends in .toml")
    loaded = read_rig(source, units)
    write_rig(loaded.rig, target)
    for warning in loaded.warnings:
        click.echo(f"note: {warning}")
    click.echo(f"{len(loaded.rig)} cameras written to {target}, in metres")
