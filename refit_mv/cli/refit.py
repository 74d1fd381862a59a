"""``refit-mv refit``: a fit after a person's corrections."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import plural, progress_bars


@click.command()
@click.argument("take", type=shared.FOLDER)
@click.option("--edits", type=shared.FILE, help="Corrections [default: edits.yaml in TAKE].")
@click.option("--body", type=shared.FILE, help="Where the body's file is now, if it has moved.")
@click.option("--deliver", is_flag=True, help="Also draw overlays and write the report anew, as `fit` does.")
def refit(take: Path, edits: Path | None, body: Path | None, deliver: bool) -> None:
    """Obey the corrections of frames in edits.yaml of TAKE, an output folder of `fit`.

    Only frames around what they are about are solved anew; all others stay as they are, bit for bit. What is no longer
    in the file is undone. See docs/editing.md for what can be said.
    """
    from refit_mv.refitting import refit as run

    with progress_bars() as progress:
        done = run(take, edits, body, progress)
    for line in done.take.corrections:
        click.echo(f"  {line}")
    said = plural(len(done.take.corrections), "correction")
    solved = f"{plural(done.solved_frames, 'frame')} of {len(done.take)} solved anew"
    click.echo(f"{said} obeyed; {solved}, {done.seconds:.1f} s")
    if not deliver:
        for path in done.motions():
            click.echo(path)
        click.echo(f"report and overlays show the fit of before; refit-mv refit {take} --deliver makes them anew")
        return
    with progress_bars() as progress:
        click.echo(f"look at {done.deliver(progress).report}")
