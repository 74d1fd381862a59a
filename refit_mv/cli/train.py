"""The commands under ``train``."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import click

from refit_mv.cli import options as shared
from refit_mv.cli.progress import tell_share
from refit_mv.files import alone_in, made_folder


def _motions(text: str, required: bool = True):
    return click.option("--motion", "folders", type=shared.FOLDER, multiple=True, required=required, help=text)


_more_motions = _motions("As in `train keypoints`.")
_out = click.option(
    "--out", type=shared.FOLDER, required=True, help="Folder for checkpoints, loss picture and weights."
)
_resume = click.option("--resume", is_flag=True, help="Continue the run in --out.")


@click.group()
def train() -> None:
    """Train the networks."""


@train.command("keypoints")
@_motions("Folder of BVH or AMASS files; may be repeated.")
@shared.recipe_option("train/keypoints")
@shared.device
@_out
@_resume
def train_keypoints(folders: tuple[Path, ...], recipe: str, device: str, out: Path, resume: bool) -> None:
    """Train the learned optimizer on keypoint evidence."""
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.keypoints import TrainRecipe
    from refit_mv.workshop.training.keypoints import train as run

    with _alone(out):
        _done(run(load_recipe(TrainRecipe, find_recipe(recipe)), folders, out, resume, tell_share, device=device))


@train.command("sequences")
@_more_motions
@shared.recipe_option("train/sequences")
@shared.device
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that draw the first samples.",
)
@_out
@_resume
def train_sequences(folders: tuple[Path, ...], recipe: str, device: str, workers: int, out: Path, resume: bool) -> None:
    """Train what the learned optimizer knows about time, on top of the keypoint network."""
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.sequences import SequenceRecipe
    from refit_mv.workshop.training.sequences import train_sequences as run

    with _alone(out):
        chosen = load_recipe(SequenceRecipe, find_recipe(recipe))
        _done(run(chosen, folders, out, resume, tell_share, device, workers))


@train.command("image")
@_motions("As in `train keypoints`; for rendered people.", required=False)
@shared.recipe_option("train/image")
@shared.body
@click.option(
    "--people", type=shared.FOLDER, help="Folder of the rendered people, for runs that share them [default: --out]."
)
@shared.device
@_out
@_resume
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
    with _alone(out):
        _done(run(chosen, load_body(body), folders, out, resume, people, device, tell_share))


@train.command("ablations")
@_more_motions
@shared.recipe_option("train/ablations")
@click.option(
    "--out", type=shared.FOLDER, required=True, help="Folder for the runs and ablations.csv; continued if it exists."
)
def train_ablations(folders: tuple[Path, ...], recipe: str, out: Path) -> None:
    """Train variants of the keypoint network side by side and compare them."""
    from refit_mv.recipe import find_recipe, load_recipe
    from refit_mv.workshop.training.ablations import TABLE, ablate
    from refit_mv.workshop.training.keypoints import TrainRecipe

    with _alone(out):
        ablate(load_recipe(TrainRecipe, find_recipe(recipe)), folders, out, report=tell_share)
    click.echo(f"the table is in {out / TABLE}")


@train.command("detector")
@_motions("As in `train keypoints`; for rendered people.")
@click.option("--detector", default="blazepose", show_default=True, help="blazepose, blazepose-heavy or rtmlib.")
@click.option("--detector-weights", type=shared.FOLDER, help="Folder with the detector's network files.")
@shared.body
@click.option("--people", type=click.IntRange(1, 10**6), help="How many people are rendered [default: 1000].")
@click.option("--films", type=click.IntRange(0, 10**4), help="Films, for how errors last [default: 20].")
@click.option("--seed", type=shared.SEED, default=1, show_default=True)
@click.option("--out", type=shared.FILE, required=True, help="File for the profile (.safetensors).")
def train_detector(
    folders: tuple[Path, ...],
    detector: str,
    detector_weights: Path | None,
    body: str,
    people: int | None,
    films: int | None,
    seed: int,
    out: Path,
) -> None:
    """Learn a detector's habits from rendered people: where its points sit, what its confidence means, how its errors
    last.
    """
    from refit_mv.body.files import load_body
    from refit_mv.cli.progress import progress_bars
    from refit_mv.detect.detector import detector as find_detector
    from refit_mv.workshop.training.detector import DetectorRecipe, about
    from refit_mv.workshop.training.detector import train_detector as run
    from refit_mv.workshop.training.detector_films import FilmingOptions
    from refit_mv.workshop.training.detector_pictures import PictureOptions

    pictures = PictureOptions() if people is None else PictureOptions(people=people)
    filming = FilmingOptions() if films is None else FilmingOptions(films=films)
    with progress_bars() as progress:
        profile = run(
            DetectorRecipe(seed, pictures, filming),
            find_detector(detector, detector_weights),
            load_body(body),
            folders,
            out,
            progress,
        )
    click.echo(f"{about(profile)}\nthe profile is in {out}")


@train.command("contacts")
@click.option("--motion", "folder", type=shared.FOLDER, required=True, help="Folder of the CMU database's BVH files.")
@click.option("--seed", type=shared.SEED, default=0, show_default=True)
@click.option("--out", type=shared.FILE, required=True, help="File for the network (.npz).")
def train_contacts(folder: Path, seed: int, out: Path) -> None:
    """Learn what a fit looks like where feet stand, from people of known motion."""
    from refit_mv.cli.progress import progress_bars
    from refit_mv.recipe import FitRecipe
    from refit_mv.workshop.training.contacts import ContactRecipe
    from refit_mv.workshop.training.contacts import train_contacts as run

    with progress_bars() as progress:
        loss = run(ContactRecipe(seed), folder, out, FitRecipe().build_optimizer(), progress)
    click.echo(f"cross-entropy {loss:.3f}\nthe network is in {out}")


def _alone(out: Path) -> AbstractContextManager[None]:
    """Of several processes that torchrun started, the leading one writes."""
    return alone_in(made_folder(out)) if os.environ.get("RANK", "0") == "0" else nullcontext()


def _done(weights: Path) -> None:
    click.echo(f"weights are in {weights}")
