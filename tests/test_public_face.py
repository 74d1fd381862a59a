"""What ``import refit_mv`` offers: everything it names is there, and nothing is imported before it is asked for."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import refit_mv

ROOT = Path(__file__).resolve().parent.parent


def loaded_after(statement: str) -> set[str]:
    """Modules in memory after a statement in a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", refit_mv.__all__)
def test_every_name_is_there_and_says_what_it_is(name: str) -> None:
    found = getattr(refit_mv, name)
    assert name == "__version__" or (found.__name__ == name and found.__doc__)
    assert name in dir(refit_mv)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(refit_mv.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen.keys() == set(refit_mv.__all__) - {"__version__"}
    for name, module in seen.items():
        assert getattr(refit_mv, name) is getattr(sys.modules[str(module)], name)


def test_importing_costs_nothing_until_a_name_is_asked_for() -> None:
    assert not loaded_after("import refit_mv") & {"numpy", "torch", "refit_mv.pipeline"}
    geometry = loaded_after("import refit_mv.geometry.camera")
    assert "refit_mv.geometry.camera" in geometry
    assert not geometry & {"refit_mv.pipeline", "refit_mv.body.model", "scipy"}


# In an interpreter of its own, as the tests' own check of annotations would speak first.
MISTAKES = {
    "refit_mv.open_session(None)": "session: expected a path, got a NoneType",
    "refit_mv.load_body(None)": "a body is loaded by the name 'open' or a file's path, got a NoneType",
    "refit_mv.open_take(3)": "output folder of a fit: expected a path, got a int",
    "refit_mv.export('out')": "export writes an open fit (refit_mv.open_take), got a str",
    "refit_mv.FitRequest('s', 'fit/markers')": "recipe of a request: expected a FitRecipe, got a str",
    "refit_mv.FitRequest('s', refit_mv.FitRecipe(), frames=5)": "frames of a request: expected a slice, got a int",
    "refit_mv.FitRequest(0, refit_mv.FitRecipe())": "session: expected a path, got a int",
    "refit_mv.FitRecipe(smooth='strongg')": "no smoothing 'strongg': choose one of off, default, strong",
    # Without the axis of people.
    "follower.push(0.0, np.zeros((2, 17, 2)), np.zeros((2, 17)))": (
        "a frame of 2 cameras with keypoint set 'coco17' has confidence of shape (2, people, 17) and pixels of one "
        "axis of 2 more, got (2, 17) and (2, 17, 2)"
    ),
}


def test_what_is_of_another_kind_is_told_in_one_line_and_paths_may_be_text() -> None:
    program = f"""
import numpy as np
import refit_mv
from refit_mv.workshop.synthetic.rigs import ring_rig
follower = refit_mv.FollowStream(ring_rig(2), refit_mv.keypoint_set("coco17"))
for call in {list(MISTAKES)!r}:
    try:
        eval(call)
    except refit_mv.InputError as error:
        print(error)
request = refit_mv.FitRequest("s", refit_mv.FitRecipe(), out="o", calib="c", person="12")
print(request.session / "a", request.out_folder / "b", request.calib / "c", *request.person)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == [*MISTAKES.values(), "s/a o/b c/c 12"]


def test_paths_of_functions_may_be_text(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    for take in (refit_mv.open_session, refit_mv.open_take, refit_mv.refit):
        with pytest.raises(refit_mv.InputError, match="nowhere"):
            take(nowhere)
    recipe = str(refit_mv.find_recipe("fit/classic"))
    assert refit_mv.load_recipe(refit_mv.FitRecipe, recipe).optimizer == "scipy"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = refit_mv.fti  # type: ignore[attr-defined]
