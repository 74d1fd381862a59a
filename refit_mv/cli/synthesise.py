"""The command ``synthesise``: recordings whose truth is known."""

import re
from pathlib import Path
from typing import Any

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural, progress_bars
from refit_mv.errors import InputError


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
@click.option("--board", help="Pictures of this calibration board (a shipped one's name, or a file) instead of people.")
@click.option(
    "--fisheyes",
    type=click.IntRange(0, 100),
    default=4,
    show_default=True,
    help="With --board: fisheyes beside --views.",
)
@click.option("--size", default="960x720", show_default=True, help="With --board: width x height of the pictures.")
@click.option("--seed", type=shared.SEED, default=0, show_default=True)
def synthesise(
    folder: Path,
    views: int | None,
    motion: Path | None,
    people: int | None,
    scene: str | None,
    board: str | None,
    fisheyes: int,
    size: str,
    **options,
) -> None:
    """Write a session with known truth into FOLDER: keypoint files, calibration, truth.npz; with --board pictures to
    calibrate from (5 a second, 40 seconds by default) and truth.toml.
    """
    if board is not None:
        if motion is not None or people is not None or scene is not None or options["keypoints"] is not None:
            raise InputError("--board shows no people: leave --motion, --people, --scene and --keypoints out")
        return _board_session(folder, board, (4 if views is None else views, fisheyes), size, options)
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


def _board_session(folder: Path, board: str, cameras: tuple[int, int], size: str, options: dict[str, Any]) -> None:
    from calib import write_rig
    from calib.board.board_file import read_board
    from refit_mv.workshop.synthetic.board_session import (
        BOARD_FILE,
        FPS,
        look_named,
        made_up_board_session,
        write_board_session,
    )

    pixels = re.fullmatch(r"(\d{2,4})\s*[xX×]\s*(\d{2,4})", size.strip())
    if pixels is None:
        raise InputError(f"--size {size}: expected width x height in pixels, for example 960x720")
    seconds = 40.0 if options["seconds"] is None else options["seconds"]
    fps = FPS if options["fps"] is None else options["fps"]
    if not (0 < seconds <= 3600 and 0 < fps <= 1000):
        raise InputError(f"--seconds {seconds:g} --fps {fps:g}: expected up to an hour, at up to 1000 frames a second")
    session = made_up_board_session(
        read_board(board),
        *cameras,
        frames=round(seconds * fps),
        size=(int(pixels[1]), int(pixels[2])),
        seed=options["seed"],
        look=look_named(options["noise"]),
    )
    with progress_bars() as progress:
        write_board_session(session, folder, write_rig, progress)
    told = f"{plural(session.frames, 'frame')} of {plural(len(session.rig), 'camera')} in {folder}"
    click.echo(f"{told}; calibrate with: refit-mv calib run {folder} --board {folder / BOARD_FILE}")
