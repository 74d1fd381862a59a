"""The command ``synthesise``: recordings whose truth is known."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural


@click.command()
@click.argument("folder", type=shared.FOLDER)
@click.option(
    "--seconds",
    type=float,
    help="Length, where no motion is given [default: 10; of a scene its own, where it has one].",
)
@click.option("--fps", type=float, help="Frame rate, where no motion is given [default: 60; of a scene its own].")
@click.option(
    "--views", type=click.IntRange(max=100), help="Cameras [default: 4 on a ring; of a scene its own number]."
)
@click.option("--noise", default="standard", show_default=True, help="none, clean, standard, strong.")
@click.option("--keypoints", help="Keypoint set of the detector [default: halpe26; of a scene its own].")
@click.option(
    "--motion",
    type=shared.FILE,
    help="BVH or AMASS file, of a scene also a folder of them; by default a made-up movement.",
)
@click.option(
    "--people",
    type=click.IntRange(max=100),
    help="Several people in a scene, who hide one another [default: one alone].",
)
@click.option("--scene", help="circling, crossing, contact, hall, shelf, table [default: circling].")
@click.option("--seed", type=shared.SEED, default=0, show_default=True)
def synthesise(
    folder: Path, views: int | None, motion: Path | None, people: int | None, scene: str | None, **options
) -> None:
    """Write a session with known truth into FOLDER: keypoint files, calibration, truth.npz."""
    from calib import write_rig
    from refit_mv.workshop.synthetic.crowd_files import write_crowd
    from refit_mv.workshop.synthetic.recording import made_up_recording, made_up_scene, scene_motions
    from refit_mv.workshop.synthetic.scenes import scene_of
    from refit_mv.workshop.synthetic.session_files import write_session

    if scene is None and people in (None, 1):
        given = {name: value for name, value in options.items() if value is not None}
        session = made_up_recording(views=4 if views is None else views, motion=motion, **given)
        write_session(session, folder, write_rig)
        crowd = ""
    else:
        motions = scene_motions(motion)
        session = made_up_scene(
            scene_of("circling" if scene is None else scene, people, views), motions=motions, **options
        )
        write_crowd(session, folder, write_rig)
        crowd = "" if len(session.truth) == 1 else f"{len(session.truth)} people, "
    size = f"{crowd}{plural(len(session), 'frame')}, {plural(len(session.rig), 'view')}"
    click.echo(f"{size} in {folder}; fit it with: refit-mv fit {folder}")
