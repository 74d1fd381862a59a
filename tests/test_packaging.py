"""The wheel holds all that the program needs, and the program finds it there."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

from refit_mv import __version__
from refit_mv.cli import main

ROOT = Path(__file__).resolve().parent.parent
SKIPPED = ("tests", "build", "dist", "demo", "docs", "__pycache__", "*.egg-info", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because building leaves folders behind in the tree."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "tree", ignore=shutil.ignore_patterns(*SKIPPED))
    command = [
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"),
        *("--disable-pip-version-check", "--wheel-dir", str(place), str(place / "tree")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    return built


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_assets_recipes_and_licences_are_inside(wheel: Path) -> None:
    names = names_in(wheel)
    assert {
        "refit_mv/body/assets/open_body.npz",
        "refit_mv/body/assets/priors.npz",
        "refit_mv/report/assets/page.css",
        "refit_mv/report/assets/page.js",
        "refit_mv/recipes/fit/default.yaml",
        "refit_mv/recipes/fit/classic.yaml",
        "calib/__init__.py",
        # What tells type checkers that the annotations are for programs that use the packages, too.
        "refit_mv/py.typed",
        "calib/py.typed",
    } <= names
    assert any(name.endswith("/LICENSE") for name in names)
    assert any(name.endswith("/THIRD_PARTY.md") for name in names)


def test_every_module_and_asset_of_the_tree_is_inside(wheel: Path) -> None:
    names = names_in(wheel)
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("refit_mv", "calib")
        for path in (ROOT / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix in (".py", ".typed") or {"assets", "weights", "boards"} & set(path.parts))
    }
    assert wanted - names == set()


def test_nothing_else_is_inside(wheel: Path) -> None:
    outside = {
        name for name in names_in(wheel) if not name.startswith(("refit_mv/", "calib/")) and ".dist-info/" not in name
    }
    assert outside == set()


def test_the_version_is_the_same_everywhere(wheel: Path) -> None:
    assert wheel.name.startswith(f"refit_mv-{__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    assert re.search(rf"^Version: {re.escape(__version__)}$", text, re.MULTILINE)
    assert "Requires-Python: >=3.11" in text


def test_the_command_leads_to_the_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(entry_points).decode()
    found = re.search(r"^refit-mv = ([\w.]+):(\w+)$", text, re.MULTILINE)
    assert found is not None
    module, name = found.groups()
    assert getattr(import_module(module), name) is main


def test_the_installed_program_finds_its_recipes_and_body(wheel: Path, tmp_path: Path) -> None:
    """Unpacked somewhere else, far from the checkout."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        "import refit_mv, sys; from refit_mv.recipe import FitRecipe, find_recipe, load_recipe;"
        "from refit_mv.body.open_body import open_body; from refit_mv.body.priors import load_pose_prior;"
        "path = find_recipe('fit/default'); load_recipe(FitRecipe, path); open_body(); load_pose_prior();"
        "print(refit_mv.__file__); print(path)"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(line).is_relative_to(site) for line in done.stdout.splitlines())


def test_a_calib_folder_in_the_working_directory_does_not_hide_the_package(tmp_path: Path) -> None:
    """Users keep calibrations in folders of that name; a folder without modules must not win over the package."""
    (tmp_path / "calib").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", "import calib; print(calib.read_rig)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
