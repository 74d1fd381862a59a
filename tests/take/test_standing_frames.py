"""Contacts and the floor beside a fit: what is written reads back, older takes have none, and damage is told in a
line.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.solve.feet import Contacts
from refit_mv.solve.floor import Floor
from refit_mv.take.moved_frames import MovedFrames
from refit_mv.take.standing_frames import StandingFrames
from refit_mv.take.take import open_take, write_take

POINTS = (3, 2, 5)


@pytest.fixture
def standing() -> StandingFrames:
    rng = np.random.default_rng(0)
    moved = MovedFrames(
        np.array([1, 2, 5]), rng.normal(size=(3, 3)), rng.normal(size=(3, 3, 3, 3)),
        rng.normal(size=(3, 2, 5)).astype(np.float32),
    )  # fmt: skip
    probability = rng.uniform(size=(6, 4)).astype(np.float32)
    return StandingFrames(Contacts(probability, probability > 0.5), moved)


def test_what_is_written_reads_back_and_is_the_same_every_time(standing: StandingFrames, tmp_path: Path) -> None:
    path = StandingFrames.place(tmp_path, 4)
    standing.write(path)
    first = path.read_bytes()
    found = StandingFrames.read(path, 6, POINTS)
    np.testing.assert_array_equal(found.contacts.probability, standing.contacts.probability)
    np.testing.assert_array_equal(found.contacts.held, standing.contacts.held)
    for name, value in standing.moved.arrays.items():
        np.testing.assert_array_equal(getattr(found.moved, name), value)
    standing.write(path)
    assert path.read_bytes() == first


def test_damage_is_told(standing: StandingFrames, tmp_path: Path) -> None:
    path = tmp_path / "feet.npz"
    with pytest.raises(InputError, match="contacts"):
        StandingFrames.read(path, 6, POINTS)
    beyond = standing.contacts.probability.copy()
    beyond[0, 0] = np.nan
    right: dict[str, Any] = {
        "probability": standing.contacts.probability,
        "held": standing.contacts.held,
        **standing.moved.arrays,
    }
    for wrong in (
        {"probability": beyond}, {"probability": beyond[:5]}, {"held": standing.contacts.held.astype(np.uint8)},
        {"frame": np.array([1, 2, 6])},
    ):  # fmt: skip
        np.savez(path, **{**right, **wrong})
        with pytest.raises(InputError, match="damaged or belongs to another fit"):
            StandingFrames.read(path, 6, POINTS)
    standing.write(path)
    with pytest.raises(InputError, match="another fit"):
        StandingFrames.read(path, 7, POINTS)


def test_a_take_keeps_contacts_and_floor_and_who_gave_way_has_the_last_word(
    session_folder: Path, tmp_path: Path
) -> None:
    recipe = FitRecipe(optimizer="gauss-newton", subject_frames=4, overlay=False)
    fit(FitRequest(session_folder, recipe, out=tmp_path / "out", frames=slice(0, 4)))
    take = open_take(tmp_path / "out")
    person = replace(take.people[0], standing=None, moved=None)
    assert person.contacts is None
    own = person.params()
    error = person.pixel_error()

    def shifted(rows: list[int], by: float) -> MovedFrames:
        return MovedFrames(
            np.array(rows), own.pelvis[rows].numpy() + by, own.rotations[rows].numpy(),
            error[rows].astype(np.float32) + np.float32(by),
        )  # fmt: skip

    probability = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    standing = StandingFrames(Contacts(probability, probability > 0.5), shifted([0, 1], 1.0))
    standing.write(StandingFrames.place(take.folder, 0))
    moved = shifted([1, 2], 2.0)
    moved.write(MovedFrames.place(take.folder, 0))
    floor = Floor((0.0, -1.0, 0.0), (0.0, 1.0, 0.0), 0.004)
    write_take(replace(take, people=(replace(person, standing=standing, moved=moved),), floor=floor))

    again = open_take(take.folder)
    found = again.people[0]
    assert again.floor == floor and found.contacts is not None
    np.testing.assert_array_equal(found.contacts.probability, probability)
    by = (found.params().pelvis - own.pelvis)[:, 0]
    torch.testing.assert_close(by, torch.tensor([1.0, 2.0, 2.0, 0.0], dtype=torch.float64))
    assert torch.equal(found.params(slice(1, 3)).pelvis, found.params().pelvis[1:3])
    np.testing.assert_allclose(np.nanmean(found.pixel_error() - error, (1, 2)), [1, 2, 2, 0], atol=1e-4)

    text = json.loads((take.folder / "take.json").read_text())
    for wrong in ({"normal": [0, 2, 0]}, {"sigma": -1}, {"point": [0, 1]}, {"point": "down"}):
        (take.folder / "take.json").write_text(json.dumps(text | {"floor": text["floor"] | wrong}))
        with pytest.raises(InputError, match="damaged"):
            open_take(take.folder)
    # Takes did not always have either.
    del text["floor"], text["people"][0]["contacts"]
    (take.folder / "take.json").write_text(json.dumps(text))
    older = open_take(take.folder)
    assert older.floor is None and older.people[0].contacts is None
    shutil.rmtree(take.folder)
