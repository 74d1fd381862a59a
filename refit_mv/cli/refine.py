"""The command ``calib refine``: the people are the board."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import progress_bars
from refit_mv.errors import InputError

if TYPE_CHECKING:
    from refit_mv.rigs.refinement import Refined, Scale

FREE = ("focal", "principal", "distortion")


@click.command("refine")
@shared.session
@click.option("-o", "--target", type=shared.FILE, help="TOML file to write [default: OUT/calib.toml].")
@click.option("--free", callback=shared.words, default="", metavar="focal,principal,distortion", help="Lenses too.")
@click.option("--distance", nargs=3, metavar="CAM CAM METRES", help="Two cameras and how far apart they stand.")
@click.option("--height", type=float, callback=shared.height, help="How tall the main person is, metres: the scale.")
@click.option("--from-lenses", is_flag=True, help="Forget where cameras stand; use what CALIB says of their lenses.")
@shared.body
@shared.keypoints
@click.option("--frames", callback=shared.frame_range, metavar="A:B", help="Only frames A to B-1.")
@click.option("--fps", type=float, callback=shared.rate, help="Frame rate where neither videos nor time stamps say it.")
@shared.detector
@shared.detector_profile
def calib_refine(
    target: Path | None,
    free: tuple[str, ...],
    distance: tuple[str, str, str] | None,
    height: float | None,
    from_lenses: bool,
    **options,
) -> None:
    """Mend the cameras of SESSION by the people who move in front of them, and write them as TOML in metres.

    The world stays where CALIB has it, and so does the length of a metre, unless --distance or --height say it.
    """
    from calib import shown
    from refit_mv.pipeline import MENDED, FitRequest, refine_rig
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe
    from refit_mv.rigs.freedoms import Freedoms
    from refit_mv.rigs.mending import MendOptions, about

    unknown = [word for word in free if word not in FREE]
    if unknown:
        raise InputError(f"--free {unknown[0]}: expected one or more of {', '.join(FREE)}, with commas between")
    freedoms = Freedoms(**dict.fromkeys(free, True))
    request = FitRequest(recipe=load_recipe(FitRecipe, find_recipe("fit/default")), **options)
    target = request.out_folder / MENDED if target is None else target
    shared.require_toml(target)
    mending = MendOptions(freedoms, _scale(distance, height), from_lenses)
    with progress_bars() as progress:
        told = refine_rig(request, mending, target, progress)
    click.echo(_table(told))
    if not from_lenses:
        click.echo(about(told))
    click.echo(f"{told.frames} frames; people are {', '.join(f'{each:.2f} m' for each in told.statures)} tall")
    click.echo(f"{len(told.rig)} cameras written to {shown(target)}, in metres")


def _scale(distance: tuple[str, str, str] | None, height: float | None) -> "Scale":
    from refit_mv.rigs.refinement import Scale

    if distance is None:
        return Scale(height=height)
    if height is not None:
        raise InputError("--distance and --height both say how long a metre is: give one of the two")
    one, other, text = distance
    try:
        metres = float(text)
    except ValueError:
        metres = float("nan")
    if not 0.01 <= metres <= 1000 or one == other:
        raise InputError(f"--distance {one} {other} {text}: expected two cameras and metres, as cam_01 cam_02 3.75")
    return Scale(cameras=(one, other), distance=metres)


def _table(told: "Refined") -> str:
    """Every camera's changes, and how sure they are."""
    lines = [f"{'camera':<16}{'turned':>16}{'moved':>20}{'keypoints off':>24}"]
    for view, name in enumerate(told.rig.names):
        turned, turn_sigma = (float(values[view].rad2deg()) for values in (told.turned, told.turn_sigma))
        moved, move_sigma = (1000 * float(values[view]) for values in (told.moved, told.move_sigma))
        before, after = float(told.before_px[view]), float(told.after_px[view])
        lines.append(
            f"{name:<16}{f'{turned:.2f}° ± {turn_sigma:.2f}°':>16}{f'{moved:.0f} mm ± {move_sigma:.0f} mm':>20}"
            f"{f'{before:.1f} -> {after:.1f} px':>24}"
        )
    return "\n".join(lines)
