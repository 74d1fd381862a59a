"""Many takes: ``batch``, and what became of them."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural, progress_bars
from refit_mv.errors import InputError, NobodyError

# The exit code of a night after which takes are not done.
NOT_ALL = NobodyError.exit_code


class _Batch(click.Group):
    """``refit-mv batch TAKES…`` runs; the words below do something with what was run."""

    usual = "run"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [self.usual, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Batch)
def batch() -> None:
    """Fit many takes, on as many processes or machines as there are.

    `refit-mv batch TAKES --out FOLDER` is short for `refit-mv batch run`.
    """


def _settings(_context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE``, with commas between, several times."""
    found: dict[str, str] = {}
    for text in (part for each in value for part in each.split(",") if part.strip()):
        name, equals, told = (part.strip() for part in text.partition("="))
        if not (name and equals and told):
            raise InputError(f"--slurm {text}: expected NAME=VALUE, for example --slurm partition=short")
        found[name] = told
    return found


_where = shared.together(
    click.argument("takes", nargs=-1, required=True, metavar="TAKES..."),
    click.option("--calib", help="Calibration file of all takes [default: the one of each]."),
    click.option("--out", required=True, help="Output folder, or a store's address: a folder in it for every take."),
    click.option("--state", type=shared.FOLDER, help="Where the manifest is kept [default: the output folder]."),
    click.option(
        "--scratch",
        type=shared.FOLDER,
        help="Where workers keep copies of what a store holds [default: STATE/scratch].",
    ),
    click.option("--performers", type=shared.FILE, help="People who were met on another night: a performers.yaml."),
)
_engine = shared.together(
    click.option("--engine", default="local", show_default=True, help="local, dask or slurm."),
    click.option("--workers", type=click.IntRange(1, 10_000), help="Processes, or jobs at a time."),
    click.option("--address", help="Of a dask scheduler [default: a cluster on this machine]."),
    click.option(
        "--slurm",
        multiple=True,
        callback=_settings,
        metavar="NAME=VALUE",
        help="What jobs ask for, such as partition=short; cluster=local runs them here.",
    ),
    click.option(
        "--gpus",
        type=click.IntRange(0, 64),
        default=0,
        show_default=True,
        help="GPUs of each machine that fits may use.",
    ),
    click.option(
        "--tries", type=click.IntRange(1, 20), default=3, show_default=True, help="How often what may pass is tried."
    ),
)


@batch.command()
@_where
@_engine
@shared.recipe_option("fit/default")
@click.option("--optimizer", help="Overrides the recipe's optimizer: refit, gauss-newton or scipy.")
@click.option("--smooth", help="Overrides the recipe's smoothing over time: off, default or strong.")
@shared.body
@shared.units
@shared.keypoints
@click.option("--frames", callback=shared.frame_range, metavar="A:B", help="Only frames A to B-1 of every take.")
@click.option("--fps", type=float, callback=shared.rate, help="Frame rate where neither videos nor time stamps say it.")
@click.option(
    "--people", default="auto", show_default=True, metavar="auto|N|main", help="Everybody, N at most, or the main one."
)
@shared.device
@click.option("--refine-rig", is_flag=True, help="Mend the cameras of every take by the people in front of them first.")
@click.option("--no-overlay", is_flag=True, help="Do not draw overlay videos.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@shared.detector
@shared.detector_profile
def run(
    takes: tuple[str, ...],
    calib: str | None,
    out: str,
    recipe: str,
    optimizer: str | None,
    smooth: str | None,
    **options,
) -> None:
    """Fit all TAKES: session folders, patterns ('takes/*', 's3://bucket/takes/*'), or lists (.yaml, .csv).

    Run it again to go on after whatever happened: what is finished is not done again. Exit codes: 0 all takes are done,
    2 input refused, 3 takes failed.
    """
    from refit_mv.farm.batch import BatchRequest, run_batch
    from refit_mv.farm.driver import Patience
    from refit_mv.farm.places import Place
    from refit_mv.farm.take_list import read_takes
    from refit_mv.pipeline import FitRequest
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe, with_optimizer, with_smoothing

    chosen = load_recipe(FitRecipe, find_recipe(recipe))
    chosen = chosen if optimizer is None else with_optimizer(chosen, optimizer)
    chosen = chosen if smooth is None else with_smoothing(chosen, smooth)
    chosen = replace(chosen, overlay=False) if options.pop("no_overlay") else chosen
    chosen.build_optimizer()
    ours = ("state", "scratch", "performers", "engine", "workers", "address", "slurm", "gpus")
    kept = {name: options.pop(name) for name in ours}
    tries, dry = options.pop("tries"), options.pop("dry_run")
    # Workers may be in other folders.
    options["body"] = options["body"] if options["body"] == "open" else str(Path(options["body"]).absolute())
    if options["detector_profile"] not in ("auto", "none"):
        options["detector_profile"] = str(Path(options["detector_profile"]).absolute())
    if options["detector_weights"] is not None:
        options["detector_weights"] = options["detector_weights"].absolute()
    request = FitRequest(Path(), chosen, **options)
    entries = read_takes(takes, calib)
    asked = BatchRequest(entries, Place(out), request, patience=Patience(tries=tries), **kept)
    if dry:
        return _tell_plan(asked)
    with progress_bars() as progress:
        teller = _Teller(progress)
        morning = run_batch(asked, teller.told, teller.begins)
    _tell_counts(morning.counts, morning.levels)
    if morning.done_now or morning.failed_now:
        click.echo(f"took {morning.seconds:.1f} s, in which workers worked {morning.worked:.1f} s")
    click.echo(f"look at {morning.page}")
    if morning.failed_now or any(morning.counts[state] for state in morning.counts if state not in ("done",)):
        sys.exit(NOT_ALL)


class _Teller:
    """Says how far a night is."""

    def __init__(self, progress: Callable[[str, int, int], None]) -> None:
        self.progress, self.over, self.total = progress, 0, 0

    def begins(self, planned) -> None:
        self.total = len(planned.todo)
        kept = len(planned.states) - len(planned.todo) - len(planned.refused)
        click.echo(f"{plural(self.total, 'take')} to do{f', {kept} done before' if kept else ''}", err=True)
        self.progress("takes", 0, self.total)

    def told(self, name: str, state: str, said: str) -> None:
        import json

        self.over += 1
        self.progress("takes", min(self.over, self.total), self.total)
        if state == "failed":
            click.echo(f"failed: {name}: {said}", err=True)
        else:
            with suppress(ValueError, KeyError):
                click.echo(f"done: {name}: {json.loads(said)['headline']}", err=True)


def _tell_plan(asked) -> None:
    from refit_mv.farm.batch import plan_on_paper

    planned = plan_on_paper(asked)
    for name, state in planned.states.items():
        said = planned.refused.get(name, "")
        word = "refused" if said else str(state) if state != "done" or name not in planned.todo else "to do again"
        click.echo(f"{word}: {name}{f': {said}' if said else ''}")
    click.echo(f"{plural(len(planned.todo), 'take')} to do")


def _tell_counts(counts, levels) -> None:
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    verdicts = ", ".join(f"{levels[level]} {level}" for level in ("bad", "check", "good") if levels.get(level))
    click.echo(f"{told or 'no takes'}{f' ({verdicts})' if verdicts else ''}")


@batch.command()
@click.argument("folder", type=shared.FOLDER)
@click.option("--most", type=click.IntRange(1), default=20, show_default=True, help="Takes to name.")
def status(folder: Path, most: int) -> None:
    """How far a night is: FOLDER is its --out, or its --state."""
    from refit_mv.farm.batch import open_book
    from refit_mv.farm.manifest import State

    book = open_book(folder)
    _tell_counts(book.counts(), book.levels())
    for state in (State.FAILED, State.STALE, State.RUNNING):
        for row in book.takes(state, most):
            click.echo(f"{state}: {row.name}{f': {row.reason}' if row.reason else ''}")
    for row in book.to_look_at(most):
        click.echo(
            f"{row.summary['level']}: {row.name}: {row.summary['headline']} {' '.join(row.summary['findings'][:1])}"
        )
    for cost in book.costs():
        cores = f"{cost.cpu:9.1f} s of a core  {cost.cpu / cost.count:8.3f} each"
        click.echo(f"  {cost.stage:>10}  {cost.count:6d} times  {cost.seconds:9.1f} s  {cores}  {cost.peak_mb:6.0f} MB")


@batch.command()
@click.argument("folder", type=shared.FOLDER)
@click.option("--out", help="Where the takes are, if not in FOLDER.")
def verify(folder: Path, out: str | None) -> None:
    """Read every delivered file again and compare its checksum; FOLDER is the night's --out, or its --state."""
    from refit_mv.farm.batch import open_book, wrong_files
    from refit_mv.farm.manifest import State
    from refit_mv.farm.places import Place

    names = [row.name for row in open_book(folder).takes(State.DONE)]
    wrong = wrong_files(Place(out or str(folder)), names)
    for name, files in wrong.items():
        click.echo(f"{name}: {', '.join(files)}")
    said = f"{len(wrong)} not as they were delivered" if wrong else "all files are as they were delivered"
    click.echo(f"{plural(len(names), 'take')}: {said}")
    if wrong:
        sys.exit(NOT_ALL)


@batch.command()
@click.argument("folders", nargs=-1, required=True, type=shared.FOLDER, metavar="FOLDERS...")
@click.option("--hours", type=float, default=100.0, show_default=True, help="Of recording.")
@click.option("--cameras", type=click.IntRange(1, 1000), default=8, show_default=True, help="That recorded.")
@click.option("--fps", type=float, default=60.0, show_default=True, help="Frames a second.")
@click.option("--minutes", type=float, default=2.0, show_default=True, help="Of a take.")
@click.option("--price", type=float, default=0.05, show_default=True, help="Of an hour of a core.")
def plan(folders: tuple[Path, ...], **heap) -> None:
    """What more of the same would cost; FOLDERS are the --out or --state of nights that were measured."""
    from refit_mv.farm.batch import open_book
    from refit_mv.farm.places import Place
    from refit_mv.farm.plan import Heap, bytes_of_a_frame, shares

    asked, books = Heap(**heap), [open_book(folder) for folder in folders]
    found = shares(books)
    total = sum(each.hours(asked) for each in found)
    for each in found:
        hours = each.hours(asked)
        unit = f"{1000 * each.seconds:10.3f} ms of a core a {each.unit:<18}"
        click.echo(f"{each.stage:>10}  {unit}  {hours:12,.0f} core-hours  {100 * hours / total:5.1f} %")
    pictures = asked.count("picture")
    click.echo(
        f"{pictures:,.0f} pictures: {total:,.0f} core-hours, at {asked.price:g} an hour {asked.price * total:,.0f}"
    )
    click.echo(f"done in a week by {total / 168:,.0f} cores, in a month by {total / 730:,.0f}")
    size = bytes_of_a_frame(Place(str(folders[0])), books[0])
    if size:
        click.echo(f"results: {size:,.0f} bytes a frame of a person, {size * asked.count('') / 1e12:,.1f} TB")
