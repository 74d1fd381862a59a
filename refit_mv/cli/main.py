"""The command line. It parses, calls and prints; it computes nothing."""

import os
import sys
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import NoReturn

# Frames are many and small, and threads inside one operation fight each other: a decomposition of a frame's Jacobian
# takes ten times as long. OpenBLAS reads this once, when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import click
import torch

from refit_mv import __version__
from refit_mv.cli.bench import bench
from refit_mv.cli.image import shape, train_image
from refit_mv.cli.progress import progress_bars, tell_share
from refit_mv.errors import InputError

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)


class _Commands(click.Group):
    """Turns a user's mistake into one line and exit code 2, whatever the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _refuse_usage(error)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _refuse(str(error))
        except click.UsageError as error:
            _refuse_usage(error)
        except BrokenPipeError:
            sys.exit(1)


def _refuse(message: str) -> NoReturn:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _refuse_usage(error: click.UsageError) -> NoReturn:
    # A command group without a command shows its help.
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        raise error
    command = "refit-mv" if error.ctx is None else error.ctx.command_path
    _refuse(f"{error.format_message().rstrip('.')}; see {command} --help")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="refit-mv")
def main() -> None:
    """Fit a parametric body to synchronized, calibrated views."""
    # Frames are many and small: threads inside one operation fight each other. Work is divided over frames instead.
    torch.set_num_threads(1)


def _frames(_context: click.Context, _parameter: click.Parameter, value: str | None) -> slice | None:
    """``A:B``: frames A to B−1 by the recording's own numbers; either side may be left out."""
    if value is None:
        return None
    first, colon, last = value.partition(":")
    try:
        start, stop = (int(part) if part.strip() else None for part in (first, last))
    except ValueError:
        colon = ""
        start = stop = None
    if not colon or (start or 0) < 0 or (stop is not None and stop <= (start or 0)):
        raise InputError(f"--frames {value}: expected A:B with A before B, for example 0:100")
    return slice(start, stop)


def _rate(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (isfinite(value) and value > 0):
        raise InputError(f"--fps {value:g}: expected a positive number of frames per second")
    return value


_session = click.argument("session", type=FOLDER)
_calib = click.option(
    "--calib", type=FILE, help="Calibration file; by default the one inside the session. One view alone may do without."
)
_units = click.option(
    "--units", help="Unit of the calibration's lengths where the file does not say: m, cm, mm, in, or metres per unit."
)
_detector = click.option(
    "--detector", default="mediapipe", show_default=True, help="Who detects keypoints in videos: mediapipe or rtmlib."
)
_weights = click.option("--detector-weights", type=FOLDER, help="Folder with the detector's network files.")
_out = click.option("--out", type=FOLDER, help="Output folder [default: SESSION/refit].")


@main.command()
@_session
@_calib
@_units
@_out
@click.option("--recipe", default="fit/default", show_default=True, help="Shipped recipe or YAML file.")
@click.option("--optimizer", help="Overrides the recipe's optimizer: refit, gauss-newton or scipy.")
@click.option(
    "--body", default="open", show_default=True, help="'open', or an SMPL, SMPL-H or SMPL-X file (.pkl, .npz)."
)
@click.option("--keypoints", help="Keypoint set of the files where their length leaves it open, such as BODY_25B.")
@click.option("--frames", callback=_frames, metavar="A:B", help="Only frames A to B-1.")
@click.option("--fps", type=float, callback=_rate, help="Frame rate where neither videos nor time stamps say it.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run of the same fit stopped.")
@click.option("--smooth", help="Overrides the recipe's smoothing over time: off, default or strong.")
@click.option("--no-overlay", is_flag=True, help="Do not draw overlay videos.")
@_detector
@_weights
def fit(recipe: str, optimizer: str | None, smooth: str | None, no_overlay: bool, **options) -> None:
    """Turn a recording of one person into the motion of a body.

    SESSION is a folder with keypoint files or videos of every view; see docs/formats.md for the layouts.
    """
    from refit_mv.pipeline import FitRequest
    from refit_mv.pipeline import fit as run
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe, with_optimizer, with_smoothing

    chosen = load_recipe(FitRecipe, find_recipe(recipe))
    if optimizer is not None:
        chosen = with_optimizer(chosen, optimizer)
    if smooth is not None:
        chosen = with_smoothing(chosen, smooth)
    if no_overlay:
        chosen = replace(chosen, overlay=False)
    with progress_bars() as progress:
        delivery = run(FitRequest(recipe=chosen, **options), progress)
    _tell(delivery)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _tell(delivery) -> None:
    figures = delivery.summary
    median, high = figures["median_reprojection_px"], figures["p95_reprojection_px"]
    counts = ", ".join(f"{count} {status}" for status, count in figures["status"].items() if count)
    for warning in delivery.warnings:
        click.echo(f"note: {warning}")
    click.echo(f"{figures['frames']} frames, {_plural(figures['views'], 'view')}: {counts}")
    if median is not None:
        click.echo(f"reprojection of confident keypoints: median {median:.1f} px, 95th percentile {high:.1f} px")
    click.echo(f"look at {delivery.report}")


@main.command()
@_session
@_calib
@_units
@_out
@_detector
@_weights
def detect(
    session: Path, calib: Path | None, units: str | None, out: Path | None, detector: str, detector_weights: Path | None
) -> None:
    """Detect keypoints in a session's videos and write them as OpenPose JSON."""
    from refit_mv.detect.detector import detector as find_detector
    from refit_mv.detect.run_detection import run_detection
    from refit_mv.session.session import open_session

    opened = open_session(session, calib, units)
    finder = find_detector(detector, detector_weights)
    with progress_bars() as progress:
        folder = run_detection(
            opened, finder, out or session / "refit", lambda view, done, total: progress(view, done, total)
        )
    click.echo(f"keypoints are in {folder}")


@main.group("calib")
def calib_group() -> None:
    """Look at camera calibrations and convert them."""


@calib_group.command("show")
@click.argument("file", type=FILE)
@_units
@click.option("--picture", type=FILE, help="Also draw the rig into this PNG.")
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


@calib_group.command("convert")
@click.argument("source", type=FILE)
@click.argument("target", type=FILE)
@_units
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


@main.command()
@click.argument("folder", type=FOLDER)
@click.option("--seconds", default=10.0, show_default=True, help="Length, where no motion is given.")
@click.option("--fps", default=60.0, show_default=True, help="Frame rate, where no motion is given.")
@click.option("--views", default=4, show_default=True, help="Cameras on a ring around the person.")
@click.option("--noise", default="standard", show_default=True, help="none, clean, standard, strong.")
@click.option("--keypoints", default="halpe26", show_default=True, help="Keypoint set of the detector.")
@click.option("--motion", type=FILE, help="BVH or AMASS file; by default a made-up movement.")
@click.option("--seed", default=0, show_default=True)
def synthesise(folder: Path, **options) -> None:
    """Write a session with known truth into FOLDER: keypoint files, calibration, truth.npz."""
    from calib import write_rig
    from refit_mv.workshop.synthetic.recording import made_up_recording
    from refit_mv.workshop.synthetic.session_files import write_session

    session = made_up_recording(**options)
    write_session(session, folder, write_rig)
    frames = _plural(len(session), "frame")
    click.echo(f"{frames}, {_plural(len(session.rig), 'view')} in {folder}; fit it with: refit-mv fit {folder}")


main.add_command(bench)


@main.group()
def train() -> None:
    """Train the networks."""


@train.command("keypoints")
@click.option(
    "--motion",
    "folders",
    type=FOLDER,
    multiple=True,
    required=True,
    help="Folder of BVH or AMASS files; may be repeated.",
)
@click.option("--recipe", default="train/keypoints", show_default=True, help="Shipped recipe or YAML file.")
@click.option("--out", type=FOLDER, required=True, help="Folder for checkpoints, loss picture and weights.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
def train_keypoints(folders: tuple[Path, ...], recipe: str, out: Path, resume: bool) -> None:
    """Train the learned optimizer on keypoint evidence."""
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.keypoints import TrainRecipe
    from refit_mv.workshop.training.keypoints import train as run

    weights = run(load_recipe(TrainRecipe, find_recipe(recipe)), folders, out, resume, tell_share)
    click.echo(f"weights are in {weights}")


@train.command("sequences")
@click.option("--motion", "folders", type=FOLDER, multiple=True, required=True, help="As in `train keypoints`.")
@click.option("--recipe", default="train/sequences", show_default=True, help="Shipped recipe or YAML file.")
@click.option("--out", type=FOLDER, required=True, help="Folder for checkpoints, loss picture and weights.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
def train_time(folders: tuple[Path, ...], recipe: str, out: Path, resume: bool) -> None:
    """Train what the learned optimizer knows about time, on top of the keypoint network."""
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.sequences import SequenceRecipe, train_sequences

    weights = train_sequences(load_recipe(SequenceRecipe, find_recipe(recipe)), folders, out, resume, tell_share)
    click.echo(f"weights are in {weights}")


@train.command("ablations")
@click.option("--motion", "folders", type=FOLDER, multiple=True, required=True, help="As in `train keypoints`.")
@click.option("--recipe", default="train/ablations", show_default=True, help="Shipped recipe or YAML file.")
@click.option(
    "--out", type=FOLDER, required=True, help="Folder for the runs and ablations.csv; continued if it exists."
)
def train_ablations(folders: tuple[Path, ...], recipe: str, out: Path) -> None:
    """Train variants of the keypoint network side by side and compare them."""
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.ablations import TABLE, ablate
    from refit_mv.workshop.training.keypoints import TrainRecipe

    ablate(
        load_recipe(TrainRecipe, find_recipe(recipe)),
        folders,
        out,
        report=tell_share,
    )
    click.echo(f"the table is in {out / TABLE}")


train.add_command(train_image)
main.add_command(shape)


@main.group("weights")
def weights_group() -> None:
    """Bring networks' weights into the program's own format."""


@weights_group.command("convert")
@click.argument("file", type=FILE)
@click.option("--points", type=FILE, help="The authors' smpl_ssm.npy [default: where their folders have it].")
@click.option("--out", type=FILE, help="File to write [default: FILE's name with .safetensors].")
def weights_convert(file: Path, points: Path | None, out: Path | None) -> None:
    """Turn the released checkpoint of ReFit's image network, FILE, into safetensors."""
    from refit_mv.image.conversion import convert

    click.echo(f"weights are in {convert(file, points, out)}")


@main.command()
@click.option("--out", type=FOLDER, default=Path("demo"), show_default=True, help="Output folder.")
@click.option("--cache", type=FOLDER, help="Where the recording is kept [default: the user's cache folder].")
@click.option("--synthetic", is_flag=True, help="Do not fetch anything; fit a synthetic session.")
def demo(out: Path, cache: Path | None, synthetic: bool) -> None:
    """Fetch a real four-camera recording and fit it."""
    from calib import write_rig
    from refit_mv.pipeline import FitRequest
    from refit_mv.pipeline import fit as run
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe
    from refit_mv.workshop.demo import fetch_recording, synthetic_recording, user_cache

    recording = None
    if not synthetic:
        click.echo("fetching the demo recording (28 MB, once) ...")
        try:
            recording = fetch_recording(cache or user_cache())
        except InputError as error:
            click.echo(f"note: {error}; fitting a synthetic session instead", err=True)
    if recording is None:
        recording = synthetic_recording(out / "synthetic_session", write_rig)
    click.echo(recording.note)
    recipe = load_recipe(FitRecipe, find_recipe("fit/default"))
    with progress_bars() as progress:
        delivery = run(
            FitRequest(
                session=recording.session, calib=recording.calib, keypoints=recording.keypoints, out=out, recipe=recipe
            ),
            progress,
        )
    _tell(delivery)
