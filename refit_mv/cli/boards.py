"""``calib run``: cameras from pictures of a board."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural, progress_bars
from refit_mv.errors import InputError

if TYPE_CHECKING:
    from refit_mv.rigs.board_calibration import BoardCalibration


@click.command("run")
@click.argument("folder", type=shared.FOLDER)
@click.option("--board", help="Name of a shipped board, or a file that describes one.")
@click.option("-o", "--out", type=shared.FILE, help="TOML file to write [default: FOLDER/calib.toml].")
@click.option("--calib", "given", type=shared.FILE, help="Calibration whose lenses are kept: solve places alone.")
@click.option("--scene", type=shared.FILE, help="Measured points and their pixels: places from these; needs --calib.")
@click.option("--intrinsics-only", is_flag=True, help="Solve lenses alone.")
@click.option("--origin", type=int, metavar="FRAME", help="The world is the board in this frame.")
@click.option("--own-clocks", is_flag=True, help="Cameras are out of step: solve for each one's time as well.")
@click.option("--floor", type=int, metavar="FRAME", help="The same, and the board lies on the floor there, print up.")
@click.option(
    "--fisheye",
    multiple=True,
    metavar="CAMERA",
    help="This camera has a fisheye lens (all: every one); once for each. By default the pictures tell.",
)
@click.option("--pinhole", multiple=True, metavar="CAMERA", help="This camera has an ordinary lens (all: every one).")
def calib_run(
    folder: Path,
    board: str | None,
    out: Path | None,
    given: Path | None,
    origin: int | None,
    floor: int | None,
    scene: Path | None,
    **more: Any,
) -> None:
    """Calibrate the cameras whose videos or pictures of a board lie in FOLDER."""
    from calib import read_rig
    from calib.board.board_file import read_board, shipped_boards
    from calib.board.scene_points import read_scene_points
    from refit_mv.rigs.board_calibration import BoardOptions, calibrate
    from refit_mv.rigs.scene_calibration import calibrate_by_scene

    target = folder / "calib.toml" if out is None else out
    shared.require_toml(target)
    if origin is not None and floor is not None:
        raise InputError("give --origin or --floor, one of the two")
    if more["intrinsics_only"] and (given is not None or origin is not None or floor is not None):
        raise InputError("--intrinsics-only solves lenses and no places: leave --calib, --origin and --floor out")
    if scene is not None:
        if given is None or board is not None or origin is not None or floor is not None:
            raise InputError(
                "--scene places cameras whose lenses --calib tells: give it, and no board, origin or floor"
            )
        return _written(calibrate_by_scene(read_scene_points(scene), read_rig(given).rig), target, folder)
    if board is None:
        raise InputError(f"give --board: a file that describes it, or one of {', '.join(shipped_boards())}")
    described = read_board(board)
    lenses = {kind: more[kind] for kind in ("fisheye", "pinhole")}
    wanted = dict.fromkeys(lenses["fisheye"], "fisheye") | dict.fromkeys(lenses["pinhole"], "pinhole")
    both = set(lenses["fisheye"]) & set(lenses["pinhole"])
    if both:
        raise InputError(f"--fisheye and --pinhole both name {', '.join(sorted(both))}; give each camera one lens")
    every = wanted.pop("all", "auto")
    options = BoardOptions(
        wanted,  # type: ignore[arg-type]
        every,  # type: ignore[arg-type]
        given,
        floor if origin is None else origin,
        floor is not None,
        more["intrinsics_only"],
        more["own_clocks"],
    )
    with progress_bars() as progress:
        found = calibrate(folder, described, options, progress)
    _written(found, target, folder)


def _written(found: "BoardCalibration", target: Path, folder: Path) -> None:
    """The calibration and its report as files, and in words."""
    from calib import shown, write_rig
    from refit_mv.files import complete_or_absent
    from refit_mv.report.calibration_page import write_calibration_page

    # Makes the folder if need be, which the writer leaves to whoever named it.
    with complete_or_absent(target) as temporary:
        write_rig(found.rig, temporary, found.up)
    page = target.with_suffix(".html")
    write_calibration_page(page, found, folder.resolve().name)
    for line in _table(found):
        click.echo(line)
    for finding in found.findings:
        advice = f" ({finding.advice})" if finding.advice else ""
        click.echo(f"{finding.level}: {finding.text}{advice}")
    click.echo(
        f"{plural(len(found.rig), 'camera')} written to {shown(target)}, in metres; "
        f"{found.rms_px:.2f} px (rms) over {plural(found.frames, 'frame')}; report: {shown(page)}"
    )


def _table(found: "BoardCalibration") -> list[str]:
    """One line a camera."""
    heads = ("lens", "views", "corners", "rms px", "focal px", "one sigma of its place")
    lines = [f"{'camera':<16} {heads[0]:<8} {heads[1]:>5} {heads[2]:>7} {heads[3]:>7} {heads[4]:>18} {heads[5]:>24}"]
    for camera, each in zip(found.cameras, found.rig, strict=True):
        place = "-"
        if camera.position_sigma is not None and camera.rotation_sigma is not None:
            place = f"{1000 * camera.position_sigma:.2f} mm, {math.degrees(camera.rotation_sigma):.3f}°"
        focal = f"{camera.focal_px:.1f} " + (f"± {camera.focal_sigma:.1f}" if camera.focal_sigma else "given")
        kind = "fisheye" if each.lens == "fisheye" else "pinhole"
        numbers = f"{camera.views:>5} {camera.corners:>7} {camera.rms_px:>7.2f}"
        lines.append(f"{camera.name:<16} {kind:<8} {numbers} {focal:>18} {place:>24}")
    return lines
