"""``refit-mv export``: a finished fit's motions in other formats."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.errors import InputError
from refit_mv.files import alone_in, made_folder


def _ids(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise InputError(f"--people {value}: expected numbers with commas between them, for example 0,1") from None


@click.command()
@click.argument("take", type=shared.FOLDER)
@click.option("--to", default="amass", show_default=True, callback=shared.words, metavar="A,B", help="Motion formats.")
@click.option("--people", callback=_ids, metavar="A,B", help="Only these people, by their numbers.")
@click.option("--out", type=shared.FOLDER, help="Folder to write to [default: TAKE].")
@click.option("--fps", type=float, callback=shared.rate, help="Resample to this rate [default: the recording's].")
@click.option("--up", type=click.Choice(["y", "z"]), help="The axis that points up [default: the format's custom].")
@click.option(
    "--names", default="smpl", show_default=True, metavar="smpl|mixamo|metahuman|hik|FILE", help="Names of joints."
)
@click.option("--rest", type=click.Choice(["t", "a"]), default="t", show_default=True, help="Pose of bare skeletons.")
def export(take: Path, to: tuple[str, ...], people: tuple[int, ...] | None, out: Path | None, **wished) -> None:
    """Write the motions of TAKE, an output folder of `fit`, in other formats."""
    if not to:
        raise InputError("--to is empty; name a format, for example --to amass,glb")
    export_and_tell(take, to, people, out, **wished)


def export_and_tell(
    take: Path, to: tuple[str, ...], people: tuple[int, ...] | None = None, out: Path | None = None, **wished
) -> None:
    """Export and say what was written, and what was not as wished."""
    from refit_mv.motion.formats import format_named
    from refit_mv.motion.wishes import Wishes, unmet
    from refit_mv.take.export import export as run
    from refit_mv.take.take import open_take

    wishes, kinds = Wishes(**wished), tuple(map(format_named, to))
    with alone_in(take if out is None else made_folder(out)):
        written = run(open_take(take), to, people, out, wishes)
    for path in written:
        click.echo(path)
    if not written:
        click.echo("nobody was found in any frame: there is no motion to write")
    for sentence in unmet(kinds, wishes):
        click.echo(f"note: {sentence}")
    split = [path.name for path in written if path.stem.endswith("_part2")]
    if split:
        click.echo(f"note: more frames than one file of the format may hold; the motion goes on in {', '.join(split)}")
