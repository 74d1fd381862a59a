"""The benchmark's command. It parses, calls and prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refit_mv.cli.progress import progress_bars
from refit_mv.errors import InputError

if TYPE_CHECKING:
    from refit_mv.body.model import BodyModel
    from refit_mv.recipe import FitRecipe
    from refit_mv.solve.result import Optimizer

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)


def _words(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _counts(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    words = _words(context, parameter, value)
    if not words or not all(word.isdigit() for word in words):
        raise InputError(f"--{parameter.name} {value}: expected whole numbers with commas between, for example 2,4,8")
    return tuple(int(word) for word in words)


@click.command()
@click.option(
    "--views", callback=_counts, default="4", show_default=True, help="Numbers of views, with commas between."
)
@click.option(
    "--noise",
    callback=_words,
    default="standard",
    show_default=True,
    help="none, clean, standard, strong; of sequences also swaps, gap, steady.",
)
@click.option("--frames", default=512, show_default=True, help="Frames in each cell.")
@click.option("--sequences", is_flag=True, help="People in motion, with time terms on, instead of independent frames.")
@click.option(
    "--meet-subject", is_flag=True, help="Of sequences: solve for the person's shape instead of giving the true one."
)
@click.option(
    "--optimizers",
    callback=_words,
    default="refit,refit-no-layers,gauss-newton",
    show_default=True,
    help="refit, refit-no-layers, gauss-newton, scipy, and smplfitter where it is installed.",
)
@click.option("--session", type=FOLDER, help="Measure on this recording instead of made-up evidence.")
@click.option("--demo", is_flag=True, help="Measure on the demo recording.")
@click.option("--calib", type=FILE, help="Calibration of --session [default: the one inside].")
@click.option("--units", help="Unit of that calibration's lengths where the file does not say.")
@click.option("--starts", callback=_words, default="cold", show_default=True, help="cold, truth.")
@click.option("--keypoints", help="Keypoint set of the evidence [default: coco23; of a recording what its files say].")
@click.option("--motion", type=FOLDER, help="Folder of BVH or AMASS files; by default poses are drawn from the prior.")
@click.option("--body", default="open", show_default=True, help="Body that is seen and fitted.")
@click.option("--seed", default=0, show_default=True)
@click.option("--scipy-frames", type=int, help="So many frames for SciPy; the others are compared on these too.")
@click.option("--weak-priors", is_flag=True, help="Priors at their weakest: what the evidence alone determines.")
@click.option("--recipe", default="fit/default", show_default=True, help="Recipe with the optimizers' options.")
@click.option("--csv", "csv_file", type=FILE, help="Write the rows here.")
@click.option("--page", "page_file", type=FILE, help="Write a page with plots here.")
def bench(
    optimizers: tuple[str, ...],
    body: str,
    weak_priors: bool,
    recipe: str,
    csv_file: Path | None,
    page_file: Path | None,
    sequences: bool,
    meet_subject: bool,
    session: Path | None,
    demo: bool,
    calib: Path | None,
    units: str | None,
    keypoints: str | None,
    **options,
) -> None:
    """Compare optimizers on synthetic evidence with known truth: same evidence, same start, same body."""
    from refit_mv.body.files import load_body
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe
    from refit_mv.workshop.bench.frames import WEAKEST_PRIORS, FrameBench
    from refit_mv.workshop.bench.motions import bench_motions
    from refit_mv.workshop.bench.page import write_page

    chosen = load_recipe(FitRecipe, find_recipe(recipe))
    if session is not None or demo:
        if sequences or meet_subject or weak_priors or page_file is not None or (session is not None and demo):
            raise InputError(
                "a recording has no truth and no page: --session or --demo goes with --optimizers, --keypoints, "
                "--body, --recipe and --csv alone"
            )
        return _bench_recording(chosen, optimizers, load_body(body), csv_file, (session, calib, units, keypoints))
    if calib is not None or units is not None:
        raise InputError("--calib and --units belong to a recording: give its --session too")
    options["keypoints"] = keypoints or "coco23"
    if sequences:
        if weak_priors or page_file is not None or options["starts"] != ("cold",) or options["scipy_frames"]:
            raise InputError(
                "--sequences starts cold with the usual priors and has no page: leave out --weak-priors, --page, "
                "--starts and --scipy-frames"
            )
        return _bench_sequences(chosen, optimizers, load_body(body), csv_file, meet_subject, options)
    if meet_subject:
        raise InputError(
            "--meet-subject is about sequences: frames that have nothing to do with one another each have a "
            "shape of their own; add --sequences"
        )
    named = _named(chosen, optimizers)
    request = FrameBench(cost=WEAKEST_PRIORS if weak_priors else chosen.cost, body=load_body(body), **options)
    origin = bench_motions(request.motion, request.seed).origin
    click.echo(f"{origin}; {request.keypoints}; body {request.body.name}")
    rows = _run(request, named, csv_file)
    if page_file is not None:
        write_page(rows, page_file, origin)


def _named(recipe: "FitRecipe", names: tuple[str, ...]) -> "dict[str, Optimizer]":
    """Our own optimizers with the recipe's options, and peers."""
    from refit_mv.recipe import with_optimizer
    from refit_mv.workshop.bench.peers import PACKAGE, SmplFitter

    return {name: SmplFitter() if name == PACKAGE else with_optimizer(recipe, name).build_optimizer() for name in names}


def _run(bench: Any, optimizers: "dict[str, Optimizer]", csv_file: Path | None) -> tuple[Any, ...]:
    """Measure, print, and write down."""
    from refit_mv.workshop.bench.columns import table, write_csv
    from refit_mv.workshop.bench.run import run_bench

    with progress_bars() as progress:
        rows = run_bench(bench, optimizers, progress)
    click.echo(table(bench.layout, rows))
    if csv_file is not None:
        write_csv(bench.layout, rows, csv_file)
    return rows


def _bench_recording(
    recipe: "FitRecipe",
    optimizers: tuple[str, ...],
    body: "BodyModel",
    csv_file: Path | None,
    given: tuple[Path | None, Path | None, str | None, str | None],
) -> None:
    from refit_mv.workshop.bench.recording import RecordingBench
    from refit_mv.workshop.demo import fetch_recording, user_cache

    session, calib, units, keypoints = given
    if session is None:
        recording = fetch_recording(user_cache())
        session, calib, keypoints = recording.session, recording.calib, recording.keypoints
        click.echo(recording.note)
    request = RecordingBench(session, calib, keypoints, units, recipe.subject_frames, recipe.problem_cost, body)
    _run(request, _named(recipe, optimizers), csv_file)


def _bench_sequences(
    recipe: "FitRecipe",
    optimizers: tuple[str, ...],
    body: "BodyModel",
    csv_file: Path | None,
    meet_subject: bool,
    options: dict[str, Any],
) -> None:
    from refit_mv.workshop.bench.motions import bench_motions
    from refit_mv.workshop.bench.sequences import SequenceBench

    named = _named(recipe, optimizers)
    length = SequenceBench().frames
    request = SequenceBench(
        views=options["views"],
        noise=options["noise"],
        sequences=max(1, round(options["frames"] / length)),
        frames=min(length, options["frames"]),
        keypoints=options["keypoints"],
        motion=options["motion"],
        seed=options["seed"],
        subject_known=not meet_subject,
        cost=recipe.problem_cost,
        body=body,
    )
    click.echo(f"{bench_motions(request.motion, request.seed).origin}; {request.keypoints}; body {body.name}")
    _run(request, named, csv_file)
