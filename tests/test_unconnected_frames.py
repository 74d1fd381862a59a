"""Frames that are no neighbours are fitted each alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from refit_mv.people.options import PeopleOptions
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.take.take import open_take

PLAIN = FitRecipe(overlay=False)
ALONE = replace(PLAIN, smooth="off")


def poses(session: Path, recipe: FitRecipe, out: Path) -> bytes:
    fit(FitRequest(session, recipe, out=out))
    (person,) = open_take(out).people
    return person.params().rotations.numpy().tobytes()


def renumbered(session: Path, number: Callable[[int], int]) -> Path:
    for file in sorted((session / "pose").rglob("*.json"), reverse=True):
        name, _, old = file.stem.rpartition("_")
        file.rename(file.with_name(f"{name}_{number(int(old)):06d}.json"))
    return session


def test_frames_far_apart_are_not_tied_by_time(session_copy: Callable, tmp_path: Path) -> None:
    """Ten seconds apart: tied as neighbours they would be drawn to one another, as they are where they are told so."""
    session = session_copy(6)
    tied, alone = (poses(session, recipe, tmp_path / name) for recipe, name in ((PLAIN, "tied"), (ALONE, "alone")))
    assert tied != alone
    told = replace(PLAIN, people=PeopleOptions(separate=True))
    assert poses(session, told, tmp_path / "told") == alone
    assert poses(renumbered(session, lambda frame: 300 * frame), PLAIN, tmp_path / "apart") == alone
