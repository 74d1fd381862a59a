"""``refit-mv train detector``: render people, let a detector look at them, and write down its habits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from refit_mv.body.model import BodyModel
from refit_mv.detect.detector import Detector
from refit_mv.errors import InputError
from refit_mv.files import writing
from refit_mv.motion.motion import Motion
from refit_mv.progress import Progress, quiet
from refit_mv.session.detector_profile import DetectorProfile, ProfileCard, write_profile
from refit_mv.workshop.synthetic.motions import read_motions
from refit_mv.workshop.synthetic.pose_bank import PoseBank, pose_bank
from refit_mv.workshop.training.detector_films import FilmingOptions, draw_filmed
from refit_mv.workshop.training.detector_habits import learn
from refit_mv.workshop.training.detector_memory import with_memory
from refit_mv.workshop.training.detector_pictures import PictureOptions, Sightings, draw_sightings

# Fewer sightings than this tell habits of people rather than of a detector.
FEWEST = 20


@dataclass(frozen=True)
class DetectorRecipe:
    """``excluded_subjects``: motions whose file names begin with one of these are kept for the benchmark. Without
    ``films`` nothing is learned of how errors last.
    """

    seed: int = 1
    pictures: PictureOptions = field(default_factory=PictureOptions)
    films: FilmingOptions = field(default_factory=FilmingOptions)
    excluded_subjects: tuple[str, ...] = ("03", "08", "10", "11", "14")


def train_detector(
    recipe: DetectorRecipe,
    detector: Detector,
    body: BodyModel,
    folders: Sequence[Path],
    out: Path,
    progress: Progress = quiet,
) -> DetectorProfile:
    """Learn a detector's profile and write it to ``out``. The same recipe, motions and detector give the same file.

    Raises:
        InputError: no motions, or the detector found hardly anybody.
    """
    motions = motions_of(folders, recipe.excluded_subjects)
    seen = draw_sightings(detector, body, pose_bank(motions), recipe.pictures, recipe.seed, progress)
    if int(seen.found.sum()) < FEWEST:
        raise InputError(
            f"{detector.name} found {int(seen.found.sum())} of {len(seen)} rendered people, {FEWEST} are needed to "
            "learn its habits: render more (--people)"
        )
    profile = learn(body, seen, card_of(detector, seen, recipe.seed))
    films = draw_filmed(detector, body, motions, recipe.films, recipe.seed, progress)
    profile = with_memory(profile, body, films)
    with writing(out):
        write_profile(out, profile)
    return profile


def card_of(detector: Detector, seen: Sightings, seed: int) -> ProfileCard:
    """What a profile of these sightings rests on."""
    return ProfileCard(
        detector=detector.name,
        keypoints=detector.keypoints.name,
        made_from=f"learned from {len(seen.truth)} rendered people, seed {seed}",
        people=len(seen.truth),
        pictures=len(seen),
    )


def bank_of(folders: Sequence[Path], excluded: Sequence[str] = ()) -> PoseBank:
    """The poses of all motions but those of the excluded subjects."""
    return pose_bank(motions_of(folders, excluded))


def motions_of(folders: Sequence[Path], excluded: Sequence[str] = ()) -> list[Motion]:
    """All motions but those of the excluded subjects."""
    return [
        motion
        for folder in folders
        for motion in read_motions(folder, lambda path: path.name.partition("_")[0] not in excluded)
    ]


def about(profile: DetectorProfile) -> str:
    """What was learned, in a few lines."""
    habits, card = profile.habits, profile.card
    far = habits.offset.norm(dim=-1)
    order = torch.argsort(far, descending=True)[:6].tolist()
    places = ", ".join(f"{profile.landmark_names[at]} {1000 * float(far[at]):.0f}" for at in order)
    middle = habits.sigma.median(0).values
    spread = ", ".join(
        f"{float(knot):.2f}: {1000 * float(sigma):.0f}" for knot, sigma in zip(habits.knots, middle, strict=True)
    )
    return (
        f"{card.detector}: found {100 * card.found:.0f} % of {card.pictures} pictures; sides swapped in "
        f"{100 * card.swapped:.1f} % of pairs, {100 * card.lost:.0f} % of points lost\n"
        f"points sit a median {1000 * float(far.median()):.0f} mm beside the body's (most: {places})\n"
        f"sigma in mm by claimed confidence: {spread}\n"
        f"{_lasting(card)}"
    )


def _lasting(card: ProfileCard) -> str:
    if not (card.stays or card.fades):
        return "how errors last was not looked at"
    fades = "".join(f", {100 * share:.0f} % fade in {seconds:g} s" for seconds, share in card.fades)
    fresh = 1 - card.stays - sum(share for _, share in card.fades)
    return f"of the errors' variance {100 * card.stays:.0f} % stay for seconds{fades}, {100 * fresh:.0f} % are new"
