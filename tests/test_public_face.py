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


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = refit_mv.fti  # type: ignore[attr-defined]
