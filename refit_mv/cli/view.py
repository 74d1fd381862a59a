"""``refit-mv view`` and ``refit-mv report``: a finished fit to walk around in, and to read."""

from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.errors import InputError
from refit_mv.files import alone_in, made_folder

# The first port that is free from here on.
PORT = 8080


@click.command()
@click.argument("fit", type=shared.FOLDER)
@click.option("--port", type=click.IntRange(1024, 65535), default=PORT, show_default=True, help="Where to serve it.")
@click.option("--html", "page", type=shared.FILE, metavar="FILE", help="Write one offline page instead of serving.")
@click.option("--frames", callback=shared.frame_range, metavar="A:B", help="With --html: frames A to B-1 alone.")
@click.option(
    "--pictures", type=click.IntRange(0, 1000), default=40, show_default=True, help="With --html: so many of each view."
)
def view(fit: Path, port: int, page: Path | None, frames: slice | None, pictures: int) -> None:
    """Show FIT, an output folder of `fit`, in the browser: bodies, cameras and what they saw, in space and time.
    Clicks there write corrections into FIT/edits.yaml. Only this machine is served.
    """
    from refit_mv.take.take import open_take

    take = open_take(fit)
    if not any(person.found for person in take.people):
        raise InputError(f"{fit}: nobody was found in any frame: there is nothing to view")
    if page is not None:
        from refit_mv.view.page import rows_of, write_page

        if page.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"--html {page}: expected a name that ends in .html")
        made_folder(page.parent, "--html")
        every = write_page(take, page, rows_of(take, frames), pictures)
        click.echo(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
        if every > 1:
            click.echo(f"note: every {every}. frame, to keep the page small; --frames A:B has all of a shorter part")
        return
    if frames is not None:
        raise InputError("--frames goes with --html; the served viewer has all frames")
    try:
        from refit_mv.view.live import Viewer
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "viser":
            raise
        raise InputError(
            "the viewer needs the package viser, which is not installed: pip install 'refit-mv[view]', or in a "
            "checkout pip install '.[view]'; view --html FILE writes a page without it"
        ) from None
    viewer = Viewer(take, port)
    click.echo(f"open {viewer.address} in a browser; Ctrl+C ends it")
    try:
        viewer.run()
    except KeyboardInterrupt:
        click.echo()
    finally:
        viewer.stop()


@click.command()
@click.argument("fit", type=shared.FOLDER)
@click.argument("other", type=shared.FOLDER, required=False)
@click.option("--out", type=shared.FILE, metavar="FILE", help="With OTHER: the page [default: FIT/comparison.html].")
def report(fit: Path, other: Path | None, out: Path | None) -> None:
    """Write the report of FIT, an output folder of `fit`, anew; with OTHER, a page that compares two fits of the same
    recording.
    """
    from refit_mv.delivery import compare, rewrite_report
    from refit_mv.take.take import open_take

    if other is None:
        if out is not None:
            raise InputError("--out goes with two fits; the report of one is written into its own folder")
        take = open_take(fit)
        with alone_in(fit):
            click.echo(rewrite_report(take))
        return
    page = fit / "comparison.html" if out is None else out
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out {page}: expected a name that ends in .html")
    first, second = open_take(fit), open_take(other)
    made_folder(page.parent)
    compare(first, second, (str(fit), str(other)), page)
    click.echo(page)
