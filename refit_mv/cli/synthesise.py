"""The command ``synthesise``: recordings whose truth is known."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural


@click.command()
@click.argument("folder", type=shared.FOLDER)
@click.option("--seconds", default=10.0, show_default=True, help="Length, where no motion is given.")
@click.option("--fps", default=60.0, show_default=True, help="Frame rate, where no motion is given.")
@click.option(
    "--views", type=click.IntRange(max=100), default=4, show_default=True, help="Cameras on a ring around the person."
)
@click.option("--noise", default="standard", show_default=True, help="none, clean, standard, strong.")
@click.option("--keypoints", default="halpe26", show_default=True, help="Keypoint set of the detector.")
@click.option("--motion", type=shared.FILE, help="BVH or AMASS file; by default a made-up movement.")
@click.option("--seed", type=shared.SEED, default=0, show_default=True)
def synthesise(folder: Path, **options) -> None:
    """Write a session with known truth into FOLDER: keypoint files, calibration, truth.npz."""
    from calib import write_rig
    from refit_mv.workshop.synthetic.recording import made_up_recording
    from refit_mv.workshop.synthetic.session_files import write_session

    session = made_up_recording(**options)
    write_session(session, folder, write_rig)
    size = f"{plural(len(session), 'frame')}, {plural(len(session.rig), 'view')}"
    click.echo(f"{size} in {folder}; fit it with: refit-mv fit {folder}")
