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
@click.option("--to", default="amass", show_default=True, help="Motion format.")
@click.option("--people", callback=_ids, metavar="A,B", help="Only these people, by their numbers.")
@click.option("--out", type=shared.FOLDER, help="Folder to write to [default: TAKE].")
def export(take: Path, to: str, people: tuple[int, ...] | None, out: Path | None) -> None:
    """Write the motions of TAKE, an output folder of `fit`, in another format."""
    from refit_mv.take.export import export as run
    from refit_mv.take.take import open_take

    with alone_in(take if out is None else made_folder(out)):
        written = run(open_take(take), to, people, out)
    for path in written:
        click.echo(path)
    if not written:
        click.echo("nobody was found in any frame: there is no motion to write")
