"""Recipe keys, defaults and thresholds in the documentation are those of the code."""

import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import yaml

from refit_mv.edits import file as edits_file
from refit_mv.edits import stretches, targets
from refit_mv.edits.kinds import WORDS
from refit_mv.people import following, sightings, stature
from refit_mv.people.edits import KINDS
from refit_mv.people.edits_file import read_edits
from refit_mv.recipe import FitRecipe, load_recipe, shipped_recipes
from refit_mv.solve import result
from tests.pages import DOCS, FENCE


def recipe_keys(kind: type, prefix: str = "") -> dict[str, object]:
    """Every key of a recipe with its default."""
    found: dict[str, object] = {}
    hints = get_type_hints(kind)
    for item in fields(kind):
        hint = hints[item.name]
        if is_dataclass(hint) and isinstance(hint, type):
            found |= recipe_keys(hint, f"{prefix}{item.name}.")
        else:
            default = item.default if item.default is not MISSING else item.default_factory()  # type: ignore[misc]
            found[prefix + item.name] = default
    return found


def documented_keys() -> dict[str, object]:
    """Keys and defaults in the tables of docs/recipes.md, values as a recipe would hold them."""
    text = (DOCS / "recipes.md").read_text("utf-8").partition("## Keys of a fit recipe")[2]
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", text, re.MULTILINE)
    return {key: yaml.safe_load(value) for key, value in rows}


def test_every_recipe_key_is_documented_with_its_default() -> None:
    wanted, written = recipe_keys(FitRecipe), documented_keys()
    assert set(written) == set(wanted)
    for key, default in wanted.items():
        value = written[key]
        # YAML 1.1 reads 1e-6 as text; recipes convert it where a number is due.
        value = float(value) if isinstance(default, float) and isinstance(value, str) else value
        assert (tuple(value) if isinstance(value, list) else value) == default, key


def test_every_shipped_recipe_loads_and_is_named_in_the_documentation() -> None:
    text = (DOCS / "recipes.md").read_text("utf-8")
    recipes = sorted(shipped_recipes().glob("fit/*.yaml"))
    assert len(recipes) >= 2
    for path in recipes:
        load_recipe(FitRecipe, path)
        assert f"`fit/{path.stem}`" in text


def test_the_recipe_example_loads(tmp_path: Path) -> None:
    blocks = [code for kind, code in FENCE.findall((DOCS / "recipes.md").read_text("utf-8")) if kind == "yaml"]
    path = tmp_path / "my_recipe.yaml"
    path.write_text(blocks[0], encoding="utf-8")
    assert load_recipe(FitRecipe, path) != FitRecipe()


def test_the_example_of_people_s_edits_loads_and_shows_every_word(tmp_path: Path) -> None:
    text = (DOCS / "people.md").read_text("utf-8")
    (example,) = (code for kind, code in FENCE.findall(text) if kind == "yaml")
    path = tmp_path / "people.yaml"
    path.write_text(example, encoding="utf-8")
    assert {type(edit) for edit in read_edits(path).edits} == set(KINDS.values())
    told = dict(re.findall(r"^\| `(\w+):[^`]*` \| (.*)$", text, re.MULTILINE))
    assert told.keys() == KINDS.keys()
    for word, kind in KINDS.items():
        assert all(f"`{item.name}" in f"`{word}{told[word]}" for item in fields(kind)), word


def test_the_example_of_edits_loads_and_shows_every_word(tmp_path: Path) -> None:
    text = (DOCS / "editing.md").read_text("utf-8")
    (example,) = (code for kind, code in FENCE.findall(text) if kind == "yaml")
    path = tmp_path / "edits.yaml"
    path.write_text(example, encoding="utf-8")
    assert {type(edit) for edit in edits_file.read_edits(path)} == set(WORDS.values())
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == WORDS.keys()
    assert f"{stretches.MARGIN_S} seconds on either side ({stretches.FEWEST_MARGIN_FRAMES} frames" in text
    assert f"standard deviation of {1000 * targets.SET_SIGMA:g} mm" in text


def test_thresholds_in_the_text_are_those_of_the_code() -> None:
    text = (DOCS / "fitting.md").read_text("utf-8")
    status = text.partition("## Status")[2].partition("##")[0]
    assert f"fewer than {result.FEWEST_LANDMARKS} of" in status
    assert f"less than {result.LEAST_EXPLAINED} of" in status
    assert f"less than {result.WELL_EXPLAINED} of" in status
    assert f"{result.LARGEST_SIGMA:.2f} m or more" in status
    who = text.partition("## Who is fitted")[2].partition("##")[0]
    assert f"within {100 * sightings.AGREEMENT:.0f} cm" in who
    assert f"{following.FASTEST:.0f} m/s" in who
    assert f"{stature.SHORTEST_PERSON} to {stature.TALLEST_PERSON} m" in who
