"""Ablations on runs of a few steps: what is compared is told apart, and nothing is trained twice."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import with_vertices
from refit_mv.body.open_body import open_body
from refit_mv.body.skin import landmark_skin
from refit_mv.errors import InputError
from refit_mv.networks.weights_file import load_network
from refit_mv.workshop.training.ablations import BASE, TABLE, VARIANTS, ablate
from refit_mv.workshop.training.keypoints import WEIGHTS, TrainRecipe
from tests.workshop.training.test_keypoint_training import TINY, motion_folder

__all__ = ["motion_folder"]

SHORT = replace(TINY, steps=2, data=replace(TINY.data, steps_per_block=1000))


def _variants(*names: str):
    return [variant for variant in VARIANTS if variant.name in names]


def test_every_variant_is_another_recipe_and_the_first_is_the_base() -> None:
    assert VARIANTS[0].name == BASE
    recipes = [variant.change(TrainRecipe()) for variant in VARIANTS]
    assert recipes[0] == TrainRecipe()
    assert len({repr(recipe) for recipe in recipes}) == len(recipes)


def test_variants_are_trained_once_and_compared(motion_folder: Path, tmp_path: Path) -> None:
    chosen = _variants(BASE, "updates, plain mean", "130 vertices", "none")
    # Ratios only among variants that are judged on the same evidence.
    assert [variant.name for variant in chosen].count("none") == 3
    rows = ablate(SHORT, [motion_folder], tmp_path, chosen)
    assert [row.name for row in rows] == [variant.name for variant in chosen]
    assert rows[0].ratio == pytest.approx(1.0)
    assert rows[-1].ratio is None and all(row.ratio is not None for row in rows[:-1])
    assert all(row.ms_per_person_frame > 0 for row in rows)
    networks = [load_network(path)[0].options for path in sorted(tmp_path.glob(f"*/{WEIGHTS}"))]
    assert {options.fusion for options in networks} == {"feedback", "mean"}
    assert {options.layers for options in networks} == {0, 1} and {options.iterations for options in networks} == {0, 1}
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"*/{WEIGHTS}")}
    again = ablate(SHORT, [motion_folder], tmp_path, chosen)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert [row.errors_mm for row in again] == [row.errors_mm for row in rows]
    with (tmp_path / TABLE).open() as file:
        assert [line["variant"] for line in csv.DictReader(file)] == [variant.name for variant in chosen]


def test_ablations_of_unequal_length_are_refused(motion_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps"):
        ablate(replace(TINY, steps=0), [motion_folder], tmp_path)


def test_vertices_as_landmarks_lie_on_the_surface() -> None:
    body = with_vertices(open_body(), 10)
    names = keypoint_set("vertices10").keypoint_names
    skin = landmark_skin(body, names)
    rest = torch.zeros(10, 3, dtype=torch.float64).index_add(0, skin.pair_landmark, skin.anchor)
    nearest = torch.cdist(rest, body.template).amin(1)
    # Negligible joints' shares are dropped from a landmark: see ``NEGLIGIBLE_MASS``.
    assert float(nearest.max()) < 1e-3
    with pytest.raises(InputError):
        keypoint_set("vertices0")
