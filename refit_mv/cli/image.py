"""Commands about pictures: training the image network, and fitting a shape to single views. They parse, call and
print.
"""

from pathlib import Path

import click

from refit_mv.cli.progress import tell_share

FOLDER = click.Path(path_type=Path)
FILE = click.Path(path_type=Path)


@click.command("image")
@click.option("--motion", "folders", type=FOLDER, multiple=True, help="As in `train keypoints`; for rendered people.")
@click.option("--recipe", default="train/image", show_default=True, help="Shipped recipe or YAML file.")
@click.option(
    "--body", default="open", show_default=True, help="'open', or an SMPL, SMPL-H or SMPL-X file (.pkl, .npz)."
)
@click.option("--people", type=FOLDER, help="Folder of the rendered people, for runs that share them [default: --out].")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option("--out", type=FOLDER, required=True, help="Folder for checkpoints, loss picture and weights.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
def train_image(
    folders: tuple[Path, ...], recipe: str, body: str, people: Path | None, device: str, out: Path, resume: bool
) -> None:
    """Train the image network on rendered people, on annotated pictures, or on both.

    Started by torchrun, several processes train one network.
    """
    from refit_mv.body.files import load_body
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.images import ImageTrainRecipe
    from refit_mv.workshop.training.images import train_image as run

    chosen = load_recipe(ImageTrainRecipe, find_recipe(recipe))
    weights = run(chosen, load_body(body), folders, out, resume, people, device, tell_share)
    click.echo(f"weights are in {weights}")


@click.command()
@click.argument("session", type=FOLDER)
@click.option("--pose", type=FILE, required=True, help="Motion whose pose is held: an AMASS npz, as `fit` writes it.")
@click.option("--calib", type=FILE, help="Calibration file; by default the one inside the session.")
@click.option("--units", help="Unit of the calibration's lengths where the file does not say.")
@click.option("--view", help="The one view to look at [default: the first with keypoints].")
@click.option("--body", default="open", show_default=True, help="'open', or an SMPL, SMPL-H or SMPL-X file.")
@click.option("--keypoints", help="Keypoint set of the files where their length leaves it open, such as BODY_25B.")
@click.option(
    "--masks", type=FOLDER, help="Folder of the view's silhouettes, white on black, numbered like its frames."
)
@click.option("--weights", type=FILE, help="Image network: learned instead of classic.")
@click.option("--out", type=FILE, help="File to write [default: SESSION/refit/shape.json].")
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
