"""Commands about pictures: a shape from single views, and weights of the image network."""

from pathlib import Path

import click

from refit_mv.cli import options as shared


@click.command()
@click.argument("session", type=shared.FOLDER)
@click.option(
    "--pose", type=shared.FILE, required=True, help="Motion whose pose is held: an AMASS npz, as `fit` writes it."
)
@click.option("--calib", type=shared.FILE, help="Calibration file; by default the one inside the session.")
@click.option("--units", help="Unit of the calibration's lengths where the file does not say.")
@shared.mapping
@click.option("--view", help="The one view to look at [default: the first with keypoints].")
@click.option("--body", default="open", show_default=True, help="'open', or an SMPL, SMPL-H or SMPL-X file.")
@shared.keypoints
@click.option(
    "--person",
    metavar="ID|VIEW:X,Y@FRAME",
    help="Whose shape: by the number that fit reports, or at a pixel [default: who is seen best in the view].",
)
@shared.edits_file
@click.option(
    "--masks", type=shared.FOLDER, help="Folder of the view's silhouettes, white on black, numbered like its frames."
)
@click.option("--weights", type=shared.FILE, help="Image network: learned instead of classic.")
@click.option("--out", type=shared.FILE, help="File to write [default: SESSION/refit/shape.json].")
def shape(session: Path, **options) -> None:
    """Fit a person's shape to one view of SESSION with the pose held.

    Classic: least squares on keypoints, and on silhouettes where there are any. Learned: the image network on the
    view's pictures.
    """
    from refit_mv.shape_request import ShapeRequest, fit_session_shape

    found = fit_session_shape(ShapeRequest(session=session, **options))
    click.echo(f"{found.frames} frames of {found.view}, {found.method}: stature {found.stature:.3f} m")
    click.echo("shape " + " ".join(f"{value:+.2f}" for value in found.shape))
    click.echo(f"written to {found.file}")


@click.group()
def weights() -> None:
    """Bring networks' weights into the program's own format."""


@weights.command("convert")
@click.argument("file", type=shared.FILE)
@click.option("--points", type=shared.FILE, help="The authors' smpl_ssm.npy [default: where their folders have it].")
@click.option("--out", type=shared.FILE, help="File to write [default: FILE's name with .safetensors].")
def weights_convert(file: Path, points: Path | None, out: Path | None) -> None:
    """Turn the released checkpoint of ReFit's image network, FILE, into safetensors."""
    from refit_mv.image.conversion import convert

    click.echo(f"weights are in {convert(file, points, out)}")
