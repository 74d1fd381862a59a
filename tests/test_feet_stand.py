"""Somebody who steps on the spot, from keypoint files to motion files: feet are held, and their fit stays as it was."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import CONTACT_NAMES, sole_skin
from refit_mv.errors import InputError
from refit_mv.motion.amass import read_amass
from refit_mv.people.options import PeopleOptions
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe, load_recipe
from refit_mv.take.take import Take, open_take
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import observe
from refit_mv.workshop.synthetic.session_files import write_session
from tests.stepping import stepping

RECIPE = FitRecipe(optimizer="gauss-newton", chunk_frames=24, subject_frames=8, overlay=False)
OFF = replace(RECIPE, people=PeopleOptions(feet=False))
FPS = 30.0


@pytest.fixture(scope="module")
def steps(body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    truth, stands = stepping(body, 1.6, FPS)
    session = observe(body, keypoint_set("halpe26"), truth, random_rig(3, 4), detector_noise("standard"), 0, FPS)
    folder = tmp_path_factory.mktemp("steps") / "session"
    write_session(session, folder, write_rig)
    return folder, stands


def fitted(folder: Path, out: Path, recipe: FitRecipe, resume: bool = False) -> Take:
    fit(FitRequest(folder, recipe, out=out, device="cpu", fps=FPS, resume=resume))
    return open_take(out)


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted((out / "people").rglob("*.*"))}


@pytest.fixture(scope="module")
def first(steps: tuple[Path, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Take:
    return fitted(steps[0], tmp_path_factory.mktemp("first") / "out", RECIPE)


def test_feet_are_held_and_the_fit_stays_as_it_was(
    body: BodyModel, steps: tuple[Path, np.ndarray], first: Take, tmp_path: Path
) -> None:
    _, stands = steps
    assert set(files(first.folder)) == {"people/0/fit.h5", "people/0/feet.npz"}
    assert first.floor is not None and abs(first.floor.point[1]) < 0.02 and first.floor.sigma < 0.02
    (person,) = first.people
    contacts = person.contacts
    assert contacts is not None and contacts.names == CONTACT_NAMES and contacts.probability.shape == stands.shape
    assert 2 * (contacts.held & stands).sum() / (contacts.held.sum() + stands.sum()) > 0.9
    own = replace(person, standing=None)
    soles = [pose_landmarks(sole_skin(body), each.params()).positions.numpy() for each in (own, person)]
    both = stands[1:] & stands[:-1]
    slide = [np.median(np.linalg.norm(np.diff(each[:, :4], axis=0), axis=-1)[both]) for each in soles]
    assert slide[1] < 0.5 * slide[0]
    moved = person.standing.moved.frame  # type: ignore[union-attr]
    stay = np.setdiff1d(np.arange(len(person)), moved)
    assert torch.equal(person.params().rotations[stay], own.params().rotations[stay])
    assert torch.equal(person.params().pelvis, own.params().pelvis)
    assert not np.array_equal(own.pixel_error(), person.pixel_error(), equal_nan=True)

    motion = read_amass(first.folder / "person_0.npz", body)
    assert motion.record is not None and motion.floor == (first.floor.point, first.floor.normal)
    np.testing.assert_array_equal(motion.record.contacts, contacts.probability)  # type: ignore[arg-type]
    np.testing.assert_allclose(motion.rotations, person.params().rotations, atol=1e-9)

    out = Path(copytree(first.folder, tmp_path / "out"))
    before = files(out)
    # As a process that was killed before the end leaves it.
    (out / "take.json").unlink()
    (out / "people" / "0" / "feet.npz").unlink()
    fitted(steps[0], out, RECIPE, resume=True)
    assert files(out) == before
    take = fitted(steps[0], out, OFF, resume=True)
    assert files(out) == {name: content for name, content in before.items() if name.endswith("fit.h5")}
    assert take.people[0].contacts is None and take.floor is None
    assert torch.equal(take.people[0].params().rotations, own.params().rotations)


def test_the_floor_may_be_given(steps: tuple[Path, np.ndarray], first: Take, tmp_path: Path) -> None:
    out = Path(copytree(first.folder, tmp_path / "out"))
    given = replace(RECIPE, people=PeopleOptions(floor=-0.3))
    take = fitted(steps[0], out, given, resume=True)
    assert take.floor is not None and take.floor.given
    up = np.asarray(take.session.up)
    np.testing.assert_allclose(take.floor.point, -0.3 * up, atol=1e-9)
    np.testing.assert_allclose(take.floor.normal, up)


def test_both_are_keys_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("people:\n  feet: off\n  floor: 0.25\n")
    people = load_recipe(FitRecipe, path).people
    assert not people.feet and people.floor == 0.25
    assert FitRecipe().people.feet and FitRecipe().people.floor is None
    path.write_text("people:\n  floor: .inf\n")
    with pytest.raises(InputError, match="floor"):
        load_recipe(FitRecipe, path)
