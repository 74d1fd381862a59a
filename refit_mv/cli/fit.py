"""From recordings to motion: ``fit``, ``detect`` and ``demo``."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refit_mv.cli import options as shared
from refit_mv.cli.export import export_and_tell
from refit_mv.cli.progress import plural, progress_bars
from refit_mv.errors import InputError, NobodyError
from refit_mv.files import alone_in, made_folder

# The exit code of a fit that is not fit to use.
NOT_TO_RELY_ON = NobodyError.exit_code

if TYPE_CHECKING:
    from refit_mv.pipeline import FitRequest


@click.command()
@shared.session
@shared.recipe_option("fit/default")
@click.option("--optimizer", help="Overrides the recipe's optimizer: refit, gauss-newton or scipy.")
@shared.body
@shared.keypoints
@click.option("--frames", callback=shared.frame_range, metavar="A:B", help="Only frames A to B-1.")
@click.option("--fps", type=float, callback=shared.rate, help="Frame rate where neither videos nor time stamps say it.")
@click.option(
    "--people", default="auto", show_default=True, metavar="auto|N|main", help="Everybody, N at most, or the main one."
)
@shared.people_by_hand
@click.option("--height", type=float, callback=shared.height, help="How tall the main person is, metres.")
@shared.device
@click.option("--resume", is_flag=True, help="Go on where an interrupted run of the same fit stopped.")
@click.option("--smooth", help="Overrides the recipe's smoothing over time: off, default or strong.")
@click.option(
    "--look-again",
    type=click.IntRange(0, 10),
    metavar="N",
    help="From pictures: so many further looks where the bodies are [default: the recipe's, 1].",
)
@click.option("--floor", type=float, help="Height of the floor, metres upwards in the calibration's world.")
@click.option("--refine-rig", is_flag=True, help="Mend the cameras by the people in front of them first.")
@click.option("--no-overlay", is_flag=True, help="Do not draw overlay videos.")
@click.option(
    "--export", "formats", default="", callback=shared.words, metavar="A,B", help="Other motion formats, too."
)
@shared.detector
@shared.detector_profile
def fit(
    recipe: str,
    optimizer: str | None,
    smooth: str | None,
    look_again: int | None,
    no_overlay: bool,
    formats: tuple[str, ...],
    floor: float | None,
    **options,
) -> None:
    """Turn a recording of people into the motion of a body for each.

    SESSION is a folder with keypoint files or videos of every view; see docs/formats.md for the layouts. Exit codes: 0
    fit to use, 2 input refused, 3 do not rely on this fit, or nobody found.
    """
    from refit_mv.motion.formats import format_named
    from refit_mv.pipeline import FitRequest
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe, with_optimizer, with_smoothing

    for name in formats:
        format_named(name)
    chosen = load_recipe(FitRecipe, find_recipe(recipe))
    if optimizer is not None:
        chosen = with_optimizer(chosen, optimizer)
    if smooth is not None:
        chosen = with_smoothing(chosen, smooth)
    if look_again is not None:
        chosen = replace(chosen, people=replace(chosen.people, closer_looks=look_again))
    if no_overlay:
        chosen = replace(chosen, overlay=False)
    if floor is not None:
        chosen = replace(chosen, people=replace(chosen.people, floor=floor))
    _fit_and_tell(FitRequest(recipe=chosen, **options), formats=formats)


@click.command()
@shared.session
@shared.detector
def detect(session: Path, out: Path | None, detector: str, detector_weights: Path | None, **calibration) -> None:
    """Detect keypoints in a session's videos and write them as OpenPose JSON."""
    from refit_mv.detect.detector import detector as find_detector
    from refit_mv.detect.run_detection import pictures_to_detect, run_detection
    from refit_mv.session.session import open_session

    opened = open_session(session, **calibration)
    # Before a detector's networks are fetched.
    pictures_to_detect(opened)
    with progress_bars() as progress:
        # The first time it fetches its networks, which takes a while.
        progress(f"load {detector}", 0, 1)
        finder = find_detector(detector, detector_weights)
        progress(f"load {detector}", 1, 1)
    out = made_folder(out or session / "refit")
    with alone_in(out), progress_bars() as progress:
        folder = run_detection(opened, finder, out, progress)
    click.echo(f"keypoints are in {folder}")


@click.command()
@click.option("--out", type=shared.FOLDER, default=Path("demo"), show_default=True, help="Output folder.")
@click.option("--cache", type=shared.FOLDER, help="Where the recording is kept [default: the user's cache folder].")
@click.option("--synthetic", is_flag=True, help="Do not fetch anything; fit a synthetic session.")
def demo(out: Path, cache: Path | None, synthetic: bool) -> None:
    """Fetch a real four-camera recording and fit it, as it was calibrated and with its cameras mended by the people."""
    from calib import write_rig
    from refit_mv.pipeline import FitRequest
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe
    from refit_mv.workshop.demo import fetch_recording, synthetic_recording

    recording = None
    if not synthetic:
        click.echo("fetching the demo recording (28 MB, once) ...")
        try:
            recording = fetch_recording(cache)
        except InputError as error:
            click.echo(f"note: {error}; fitting a synthetic session instead", err=True)
    if recording is None:
        recording = synthetic_recording(out / "synthetic_session", write_rig)
    click.echo(recording.note)
    recipe = load_recipe(FitRecipe, find_recipe("fit/default"))
    request = FitRequest(recording.session, recipe, recording.calib, out, keypoints=recording.keypoints)
    if recording.calibrated:
        return _fit_and_tell(request)
    click.echo("first as it was calibrated:")
    _fit_and_tell(request)
    click.echo("\nand with --refine-rig, which mends the cameras by the people in front of them first:")
    _fit_and_tell(replace(request, out=out / "mended", refine_rig=True), quiet=True)


def _fit_and_tell(request: "FitRequest", quiet: bool = False, formats: tuple[str, ...] = ()) -> None:
    """Fit and say how it went; ``quiet``: without what was noticed on the way. ``formats``: of motion files to write
    besides.
    """
    from refit_mv.pipeline import fit as run

    with progress_bars() as progress:
        delivery = run(request, progress)
    figures: dict[str, Any] = delivery.summary
    median, high = figures["median_reprojection_px"], figures["p95_reprojection_px"]
    statuses = ", ".join(f"{count} {status}" for status, count in figures["status"].items() if count)
    for warning in () if quiet else delivery.warnings:
        click.echo(f"note: {warning}")
    click.echo(f"{plural(figures['frames'], 'frame')}, {plural(figures['views'], 'view')}: {statuses}")
    if median is not None:
        click.echo(f"reprojection of confident keypoints: median {median:.1f} px, 95th percentile {high:.1f} px")
    verdict = delivery.verdict
    click.echo(verdict.headline)
    for finding in verdict.findings:
        if finding.level != "good" or finding.left_open:
            level = "open" if finding.left_open else finding.level
            click.echo(f"  {level}: {f'{finding.text} {finding.advice}'.strip()}")
    click.echo(f"look at {delivery.report}")
    if formats:
        export_and_tell(request.out_folder, formats)
    if verdict.level == "bad":
        sys.exit(NOT_TO_RELY_ON)
