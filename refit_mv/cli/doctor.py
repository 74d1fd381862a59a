"""The command ``calib doctor``: what is wrong with a calibration, and what mends it."""

import sys
from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.errors import InputError

# The exit code of a calibration with which something is wrong.
WRONG = 1


@click.command("doctor")
@click.argument("file", metavar="CALIB", type=shared.FILE)
@click.argument("session", required=False, type=shared.FOLDER)
@click.option("--fix", is_flag=True, help="Write a corrected calibration beside the old one (CALIB.fixed.toml).")
@click.option("-o", "--out", type=shared.FILE, help="With --fix: the TOML file to write instead.")
@click.option("--frames", callback=shared.frame_range, metavar="A:B", help="Only frames A to B-1.")
@shared.units
@shared.mapping
@shared.keypoints
def doctor(file: Path, session: Path | None, fix: bool, out: Path | None, **reading) -> None:
    """Say what is wrong with the calibration CALIB, and which command mends it.

    With a SESSION its keypoints are asked, too: exchanged names, units, inverse poses, pictures of another size, turned
    or mirrored, lenses, focal lengths, clocks, cameras that were moved. Exit codes: 0 nothing is wrong, 1 something is,
    2 input refused.
    """
    from calib import shown
    from refit_mv.rigs.visit import visit, write_fixed

    if out is not None and not fix:
        raise InputError("-o names the file that --fix writes: give --fix too")
    target = file.with_name(f"{file.stem}.fixed.toml") if out is None else out
    if fix:
        shared.require_toml(target)
    if fix and target.exists():
        raise InputError(f"{shown(target)}: is there already and is not written over; give another name with -o")
    visited = visit(file, session, **reading)
    click.echo(f"{shown(file)}: {visited.loaded.format}, {len(visited.loaded.rig)} cameras")
    for note in visited.notes:
        click.echo(f"note: {note}")
    for finding in visited.diagnosis.findings:
        level = "note" if finding.level == "good" else finding.level
        click.echo(f"{level}: {finding.text}")
        if finding.advice and finding.level != "good":
            click.echo(f"  {finding.advice}")
    if not visited.diagnosis.wrong:
        click.echo(
            "nothing is wrong that can be seen" + ("" if session else "; keypoints would tell more: give a SESSION")
        )
    if fix:
        written = write_fixed(visited, target)
        click.echo(f"corrected calibration: {shown(target)}" if written else "nothing that a calibration file can mend")
    if visited.diagnosis.wrong:
        sys.exit(WRONG)
