"""``calib run``: cameras from pictures of a board."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural, progress_bars
from refit_mv.errors import InputError


@click.command("run")
@click.argument("folder", type=shared.FOLDER)
@click.option("--board", required=True, help="Name of a shipped board, or a file that describes one.")
@click.option("-o", "--out", type=shared.FILE, help="TOML file to write [default: FOLDER/calib.toml].")
@click.option("--calib", "given", type=shared.FILE, help="Calibration whose lenses are kept: solve places alone.")
@click.option("--intrinsics-only", is_flag=True, help="Solve lenses alone.")
@click.option("--origin", type=int, metavar="FRAME", help="The world is the board in this frame.")
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
    board: str,
    out: Path | None,
    given: Path | None,
    intrinsics_only: bool,
    origin: int | None,
    floor: int | None,
    **lenses: tuple[str, ...],
) -> None:
    """Calibrate the cameras whose videos or pictures of a board lie in FOLDER."""
    from calib import shown, write_rig
    from calib.board.board_file import read_board
    from refit_mv.files import complete_or_absent
    from refit_mv.report.calibration_page import write_calibration_page
    from refit_mv.rigs.board_calibration import BoardOptions, calibrate

    target = folder / "calib.toml" if out is None else out
    if target.suffix.lower() != ".toml":
        raise InputError(f"{shown(target)}: calibrations are written as TOML; give a name that ends in .toml")
    if origin is not None and floor is not None:
        raise InputError("give --origin or --floor, one of the two")
    if intrinsics_only and (given is not None or origin is not None or floor is not None):
        raise InputError("--intrinsics-only solves lenses and no places: leave --calib, --origin and --floor out")
    described = read_board(board)
    wanted = {name: "fisheye" for name in lenses["fisheye"]} | {name: "pinhole" for name in lenses["pinhole"]}
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
        intrinsics_only,
    )
    with progress_bars() as progress:
        found = calibrate(folder, described, options, progress)
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


def _table(found: "BoardCalibration") -> list[str]:  # noqa: F821
    lines = [
        f"{'camera':<16} {'lens':<8} {'views':>5} {'corners':>7} {'rms px':>7} {'focal px':>18} {'one sigma of its place':>24}"
    ]
    for camera, each in zip(found.cameras, found.rig, strict=True):
        place = "-"
        if camera.position_sigma is not None and camera.rotation_sigma is not None:
            place = f"{1000 * camera.position_sigma:.2f} mm, {57.29578 * camera.rotation_sigma:.3f}°"
        focal = (
            f"{camera.focal_px:.1f} ± {camera.focal_sigma:.1f}"
            if camera.focal_sigma
            else f"{camera.focal_px:.1f} given"
        )
        kind = "fisheye" if each.lens == "fisheye" else "pinhole"
        lines.append(
            f"{camera.name:<16} {kind:<8} {camera.views:>5} {camera.corners:>7} {camera.rms_px:>7.2f} {focal:>18} {place:>24}"
        )
    return lines
