"""The command ``bench``: optimizers before the same evidence."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from refit_mv.cli import options as shared
from refit_mv.cli.progress import progress_bars
from refit_mv.errors import InputError

if TYPE_CHECKING:
    from refit_mv.recipe import FitRecipe
    from refit_mv.solve.result import Optimizer
    from refit_mv.workshop.bench.frames import FrameBench
    from refit_mv.workshop.bench.run import Bench
    from refit_mv.workshop.bench.sequences import SequenceBench


# What --boards shows: large enough for cameras three metres away.
BOARD = "charuco_7x5_a1"


@dataclass(frozen=True)
class _Asked:
    """The command line as it was typed."""

    views: tuple[int, ...]
    noise: tuple[str, ...]
    frames: int
    sequences: bool
    meet_subject: bool
    optimizers: tuple[str, ...]
    session: Path | None
    demo: bool
    calib: Path | None
    people: str
    leave_views_out: bool
    truth: Path | None
    detections: Path | None
    looks: int
    detector_profile: str
    units: str | None
    starts: tuple[str, ...]
    keypoints: str | None
    motion: Path | None
    body: str
    seed: int
    scipy_frames: int | None
    weak_priors: bool
    csv_file: Path | None
    page_file: Path | None
    faults: int | None
    clocks: int | None
    rigs: int | None
    refine: int | None
    feet: int | None

    def named(self, recipe: "FitRecipe") -> "dict[str, Optimizer]":
        """Our own optimizers with the recipe's options, and peers."""
        from refit_mv.recipe import with_optimizer
        from refit_mv.workshop.bench.peers import PACKAGE, SmplFitter

        return {
            name: SmplFitter() if name == PACKAGE else with_optimizer(recipe, name).build_optimizer()
            for name in self.optimizers
        }


def _words(name: str, default: str, text: str, read: Callable = shared.words) -> Callable:
    return click.option(name, callback=read, default=default, show_default=True, help=text)


@click.command()
@_words("--views", "4", "Numbers of views, with commas between.", shared.counts)
@_words("--noise", "standard", "none, clean, standard, strong, studio, crowd; of sequences also swaps, gap, steady.")
@click.option("--frames", type=click.IntRange(max=10**7), default=512, show_default=True, help="Frames in each cell.")
@click.option("--sequences", is_flag=True, help="People in motion, with time terms on, instead of independent frames.")
@click.option(
    "--meet-subject", is_flag=True, help="Of sequences: solve for the person's shape instead of giving the true one."
)
@_words(
    "--optimizers",
    "refit,refit-no-layers,gauss-newton",
    "refit, refit-no-layers, gauss-newton, scipy, and smplfitter where it is installed.",
)
@click.option("--session", type=shared.FOLDER, help="Measure on this recording instead of made-up evidence.")
@click.option("--demo", is_flag=True, help="Measure on the demo recording.")
@click.option("--calib", type=shared.FILE, help="Calibration of --session [default: the one inside].")
@click.option("--people", default="main", show_default=True, help="Of a recording: main, auto, or how many at most.")
@click.option("--leave-views-out", is_flag=True, help="Of a recording: predict each view from the others as well.")
@click.option("--truth", type=shared.FILE, help="Of a recording: NPZ file of joints that are known, by name.")
@click.option("--detections", type=shared.FOLDER, help="Of a recording without keypoints: the folder of `detect`.")
@click.option(
    "--looks", type=click.IntRange(1, 10), default=1, show_default=True,
    help="Of a recording with pictures: look again where the bodies are, so often in all.",
)  # fmt: skip
@shared.detector_profile
@click.option("--units", help="Unit of that calibration's lengths where the file does not say.")
@_words("--starts", "cold", "cold, truth.")
@click.option("--keypoints", help="Keypoint set of the evidence [default: coco23; of a recording what its files say].")
@click.option(
    "--motion", type=shared.FOLDER, help="Folder of BVH or AMASS files; by default poses are drawn from the prior."
)
@click.option(
    "--scenes", help="Who is who instead of optimizers, in circling, crossing, contact, hall, shelf, table, or all."
)
@click.option("--seeds", default=10, show_default=True, help="So many times each of --scenes.")
@click.option("--body", default="open", show_default=True, help="Body that is seen and fitted.")
@click.option("--seed", type=shared.SEED, default=0, show_default=True)
@click.option(
    "--scipy-frames",
    type=click.IntRange(1, 10**7),
    help="So many frames for SciPy; the others are compared on these too.",
)
@click.option("--weak-priors", is_flag=True, help="Priors at their weakest: what the evidence alone determines.")
@click.option(
    "--faults",
    type=click.IntRange(min=1),
    help="Plant faults of cameras, clocks and sides in so many sessions each and count what the checks say.",
)
@click.option(
    "--clocks",
    type=click.IntRange(min=1),
    help="Measure the clocks of so many made-up takes whose cameras do not run in step.",
)
@click.option(
    "--rigs",
    type=click.IntRange(min=1),
    help="Plant faults of calibrations in so many sessions each, and ask the doctor; five times as many sound ones.",
)
@click.option(
    "--refine",
    type=click.IntRange(min=1),
    help="Disturb so many made-up rigs, or forget all but their lenses, and mend them by one minute of a person.",
)
@click.option(
    "--boards",
    type=click.IntRange(min=1),
    help="Calibrate 4 pinhole and 4 fisheye cameras from a board in so many rendered sessions.",
)
@click.option(
    "--feet",
    type=click.IntRange(min=1),
    help="So many takes each of people who walk, run, jump and climb a box: do their feet stand (--motion)?",
)
@shared.recipe_option("fit/default", "Recipe with the optimizers' options.")
@click.option("--csv", "csv_file", type=shared.FILE, help="Write the rows here.")
@click.option("--page", "page_file", type=shared.FILE, help="Write a page with plots here.")
def bench(recipe: str, scenes: str | None, seeds: int, boards: int | None, **options) -> None:
    """Compare optimizers on synthetic evidence with known truth: same evidence, same start, same body.

    With --scenes: how well several people are told apart, and with --optimizers how far their joints are off, beside
    the same people with known association (--views, --noise, --frames, --keypoints, --motion, --csv).
    """
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe

    asked, chosen = _Asked(**options), load_recipe(FitRecipe, find_recipe(recipe))
    if asked.clocks is not None:
        return _on_clocks(asked, asked.clocks)
    if boards is not None:
        return _on_boards(asked, boards)
    if asked.faults is not None:
        return _on_faults(asked, asked.faults, chosen)
    if asked.rigs is not None:
        return _on_rigs(asked, asked.rigs)
    if asked.refine is not None:
        return _on_refining(asked, asked.refine)
    if asked.feet is not None:
        return _on_feet(asked, asked.feet, chosen)
    if scenes is not None:
        return _on_scenes(asked, chosen, scenes, seeds)
    if asked.session is not None or asked.demo:
        return _on_recording(asked, chosen)
    of_a_recording = (asked.calib, asked.units, asked.truth, asked.detections, asked.leave_views_out or None)
    if any(given is not None for given in of_a_recording):
        raise InputError(
            "--calib, --units, --truth, --detections and --leave-views-out belong to a recording: give its --session "
            "too"
        )
    return (_on_sequences if asked.sequences else _on_frames)(asked, chosen)


def _on_clocks(asked: _Asked, takes: int) -> None:
    from refit_mv.workshop.bench.clocks import clocks_table, measure_clocks

    if len(asked.noise) != 1 or len(asked.views) != 1 or asked.views[0] < 2:
        raise InputError("--clocks are measured with one noise and one number of views, two at least")
    with progress_bars() as progress:
        rows = measure_clocks(takes, asked.views[0], asked.noise[0], asked.seed, progress=progress)
    click.echo(clocks_table(rows))


def _on_faults(asked: _Asked, sessions: int, recipe: "FitRecipe") -> None:
    from refit_mv.workshop.bench.faults import faults_table, measure_faults

    with progress_bars() as progress:
        rows = measure_faults(asked.views, sessions, asked.seed, recipe.build_optimizer(), progress=progress)
    click.echo(faults_table(rows))


def _on_rigs(asked: _Asked, sessions: int) -> None:
    from refit_mv.workshop.bench.rig_faults import measure_rig_faults, rig_faults_table

    with progress_bars() as progress:
        rows = measure_rig_faults(asked.views, sessions, asked.seed, 5 * sessions, progress=progress)
    click.echo(rig_faults_table(rows))


def _on_refining(asked: _Asked, rigs: int) -> None:
    from refit_mv.workshop.bench.refining import measure_refining, refining_table

    with progress_bars() as progress:
        rows = measure_refining(rigs, asked.seed, progress=progress)
    click.echo(refining_table(rows))


def _on_feet(asked: _Asked, takes: int, recipe: "FitRecipe") -> None:
    from refit_mv.workshop.bench.feet import FeetBench, feet_table

    if len(asked.noise) != 1 or len(asked.views) != 1 or asked.motion is None:
        raise InputError("--feet needs one noise, one number of views, and recorded motions (--motion DIR)")
    known, cost = not asked.meet_subject, recipe.problem_cost
    made = FeetBench(asked.motion, takes, asked.views[0], asked.noise[0], asked.seed, known, cost)
    with progress_bars() as progress:
        rows = made.rows(recipe.build_optimizer(), progress)
    click.echo(feet_table(rows))


def _on_boards(asked: _Asked, sessions: int) -> None:
    from calib import write_rig
    from calib.board.board_file import read_board
    from refit_mv.workshop.bench.boards import BoardBench, boards_table, measure_boards, write_board_csv

    if len(asked.noise) != 1:
        raise InputError(f"--boards are measured with one noise, got --noise {','.join(asked.noise)}")
    typed = click.get_current_context().get_parameter_source("frames") is not ParameterSource.DEFAULT
    frames = asked.frames if typed else BoardBench.frames
    made = BoardBench(read_board(BOARD), sessions, frames=frames, noise=asked.noise[0], seed=asked.seed)
    with progress_bars() as progress:
        rows = measure_boards(made, write_rig, progress)
    click.echo(boards_table(rows))
    if asked.csv_file is not None:
        write_board_csv(rows, asked.csv_file)


def _on_scenes(asked: _Asked, recipe: "FitRecipe", scenes: str, seeds: int) -> None:
    from refit_mv.people.tracks import follow
    from refit_mv.workshop.bench.association import AssociationBench
    from refit_mv.workshop.bench.columns import table, write_csv
    from refit_mv.workshop.synthetic.scenes import SCENES

    if len(asked.noise) != 1:
        raise InputError(f"--scenes are measured with one noise, got --noise {','.join(asked.noise)}")
    chosen = tuple(SCENES) if scenes == "all" else tuple(word.strip() for word in scenes.split(",") if word.strip())
    typed = {
        name: click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT
        for name in ("optimizers", "frames", "views")
    }
    if typed["views"] and len(asked.views) != 1:
        raise InputError(f"--scenes are measured with one number of views, got {len(asked.views)} in --views")
    made = AssociationBench(
        chosen,
        seeds,
        asked.frames if typed["frames"] else None,
        noise=asked.noise[0],
        keypoints=asked.keypoints,
        motion=asked.motion,
        cost=recipe.problem_cost,
        contact=recipe.people.contact,
        cameras=asked.views[0] if typed["views"] else None,
    )
    following, optimizers = partial(follow, options=recipe.people), asked.named(recipe) if typed["optimizers"] else {}
    with progress_bars() as progress:
        rows = made.rows(following, optimizers, progress)
    click.echo(table(made.layout, rows))
    if asked.csv_file is not None:
        write_csv(made.layout, rows, asked.csv_file)


def _on_recording(asked: _Asked, recipe: "FitRecipe") -> None:
    from refit_mv.body.files import load_body
    from refit_mv.workshop.bench.recording import RecordingBench
    from refit_mv.workshop.demo import fetch_recording

    session, calib, keypoints = asked.session, asked.calib, asked.keypoints
    strange = asked.sequences or asked.meet_subject or asked.weak_priors or asked.page_file is not None
    if strange or (session is not None and asked.demo):
        raise InputError(
            "a recording has no truth and no page: --session or --demo goes with --optimizers, --keypoints, "
            "--body, --recipe and --csv alone"
        )
    body = load_body(asked.body)
    if session is None:
        recording = fetch_recording()
        session, calib, keypoints = recording.session, recording.calib, recording.keypoints
        click.echo(recording.note)
    measured = RecordingBench(
        session,
        calib,
        keypoints,
        units=asked.units,
        detections=asked.detections,
        subject_frames=recipe.subject_frames,
        people=asked.people,
        leave_views_out=asked.leave_views_out,
        truth=asked.truth,
        profile=asked.detector_profile,
        looks=asked.looks,
        cost=recipe.problem_cost,
        body=body,
    )
    _run(asked, recipe, measured)


def _on_sequences(asked: _Asked, recipe: "FitRecipe") -> None:
    from refit_mv.body.files import load_body
    from refit_mv.workshop.bench.sequences import SequenceBench

    if asked.weak_priors or asked.page_file is not None or asked.starts != ("cold",) or asked.scipy_frames:
        raise InputError(
            "--sequences starts cold with the usual priors and has no page: leave out --weak-priors, --page, "
            "--starts and --scipy-frames"
        )
    length = SequenceBench().frames
    made = SequenceBench(
        views=asked.views,
        noise=asked.noise,
        sequences=max(1, round(asked.frames / length)),
        frames=min(length, asked.frames),
        keypoints=asked.keypoints or "coco23",
        motion=asked.motion,
        seed=asked.seed,
        subject_known=not asked.meet_subject,
        cost=recipe.problem_cost,
        body=load_body(asked.body),
    )
    _say_what(made)
    _run(asked, recipe, made)


def _on_frames(asked: _Asked, recipe: "FitRecipe") -> None:
    from refit_mv.body.files import load_body
    from refit_mv.workshop.bench.frames import WEAKEST_PRIORS, FrameBench
    from refit_mv.workshop.bench.page import write_page

    if asked.meet_subject:
        raise InputError(
            "--meet-subject is about sequences: frames that have nothing to do with one another each have a "
            "shape of their own; add --sequences"
        )
    made = FrameBench(
        views=asked.views,
        noise=asked.noise,
        frames=asked.frames,
        starts=asked.starts,
        keypoints=asked.keypoints or "coco23",
        motion=asked.motion,
        seed=asked.seed,
        scipy_frames=asked.scipy_frames,
        cost=WEAKEST_PRIORS if asked.weak_priors else recipe.cost,
        body=load_body(asked.body),
    )
    origin = _say_what(made)
    rows = _run(asked, recipe, made)
    if asked.page_file is not None:
        write_page(rows, asked.page_file, origin)


def _say_what(made: "FrameBench | SequenceBench") -> str:
    """Where the motions come from, which is what the page says too."""
    from refit_mv.workshop.bench.motions import bench_motions

    origin = bench_motions(made.motion, made.seed).origin
    click.echo(f"{origin}; {made.keypoints}; body {made.body.name}")
    return origin


def _run(asked: _Asked, recipe: "FitRecipe", bench: "Bench") -> tuple[Any, ...]:
    """Measure, print, and write down."""
    from refit_mv.workshop.bench.columns import table, write_csv
    from refit_mv.workshop.bench.run import run_bench

    named = asked.named(recipe)
    with progress_bars() as progress:
        rows = run_bench(bench, named, progress)
    click.echo(table(bench.layout, rows))
    if asked.csv_file is not None:
        write_csv(bench.layout, rows, asked.csv_file)
    return rows
