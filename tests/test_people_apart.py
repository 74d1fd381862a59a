"""Two who hug, from keypoint files to motion files: moved out of each other, and their own fits stay as they are."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.open_body import open_body
from refit_mv.people.options import PeopleOptions
from refit_mv.pipeline import FitRequest, fit_tracks
from refit_mv.recipe import FitRecipe, load_recipe
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.take.take import Take, open_take
from refit_mv.workshop.bench.association import known_tracks
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.crowd_files import write_crowd
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import scene_of

RECIPE = FitRecipe(optimizer="gauss-newton", chunk_frames=16, subject_frames=4, overlay=False, smooth="off")
APART = replace(RECIPE, people=PeopleOptions(contact=False))


@pytest.fixture(scope="module")
def hug(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CrowdSession]:
    """They go through each other, so that whoever fits them well has something to move apart."""
    kind = replace(scene_of("contact", views=2), solid=False)
    session = made_up_scene(kind, seconds=0.9, fps=10.0, noise="clean", seed=0)
    folder = tmp_path_factory.mktemp("hug") / "session"
    write_crowd(session, folder, write_rig)
    return folder, session


def fitted(hug: tuple[Path, CrowdSession], out: Path, recipe: FitRecipe, resume: bool = False) -> Take:
    folder, session = hug
    recording = read_recording(open_session(folder))
    request = FitRequest(session=folder, recipe=recipe, out=out, device="cpu", resume=resume)
    fit_tracks(request, recording, open_body(), known_tracks(session))
    return open_take(out)


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted((out / "people").rglob("*.*"))}


@pytest.fixture(scope="module")
def first(hug: tuple[Path, CrowdSession], tmp_path_factory: pytest.TempPathFactory) -> Take:
    return fitted(hug, tmp_path_factory.mktemp("first") / "out", RECIPE)


def test_who_overlaps_is_moved_apart(first: Take) -> None:
    take, out = first, first.folder
    assert set(files(out)) == {f"people/{id}/{name}" for id in (0, 1) for name in ("fit.h5", "apart.npz")}
    for person in take.people:
        moved = person.moved
        assert moved is not None and 0 < len(moved.frame) < len(person)
        own = replace(person, moved=None)
        stay = np.setdiff1d(np.arange(len(person)), moved.frame)
        assert torch.equal(person.params().rotations[stay], own.params().rotations[stay])
        assert not torch.equal(person.params().rotations[moved.frame], own.params().rotations[moved.frame])
        np.testing.assert_array_equal(own.pixel_error()[stay], person.pixel_error()[stay])
        assert not np.array_equal(own.pixel_error()[moved.frame], person.pixel_error()[moved.frame], equal_nan=True)
        assert torch.equal(person.params(slice(2, 6)).pelvis, person.params().pelvis[2:6])
        with np.load(out / f"person_{person.id}.npz") as motion:
            assert len(motion["trans"]) == len(person)
        assert person.findings[-1].key == "overlap" and "deep in somebody else" in person.findings[-1].text
    assert '"overlap"' in (out / "summary.json").read_text()


def test_resumed_or_switched_off_the_fits_are_the_same(
    hug: tuple[Path, CrowdSession], first: Take, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    copytree(first.folder, out)
    before = files(out)
    # As a process that was killed before the end leaves it.
    (out / "take.json").unlink()
    (out / "people" / "1" / "apart.npz").unlink()
    fitted(hug, out, RECIPE, resume=True)
    assert files(out) == before
    take = fitted(hug, out, APART, resume=True)
    assert files(out) == {name: content for name, content in before.items() if name.endswith("fit.h5")}
    assert all(person.moved is None for person in take.people)


def test_the_switch_is_a_key_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("people:\n  contact: off\n")
    assert not load_recipe(FitRecipe, path).people.contact and FitRecipe().people.contact
