"""Measured tables stand on the pages as their CSV files have them, and each in one place."""

import importlib.util
import re
from types import ModuleType

import pytest

from tests.pages import DOCS, PAGES


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """docs/tables.py, which is a program and no part of a package."""
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_hold_what_the_files_say(tables: ModuleType) -> None:
    stale = [page.name for page in PAGES if tables.with_tables(page.read_text("utf-8")) != page.read_text("utf-8")]
    assert stale == [], "run: make tables"


def test_a_changed_figure_is_written_anew(tables: ModuleType) -> None:
    page = (DOCS / "benchmark.md").read_text("utf-8")
    wrong = page.replace("| standard | 4 | 11.5 |", "| standard | 4 | 1.5 |")
    assert wrong != page
    assert tables.with_tables(wrong) == page


def test_every_table_stands_in_one_place(tables: ModuleType) -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert sorted(re.findall(r"<!-- table: (\w+) -->", text)) == sorted(tables.TABLES)
    assert len(re.findall(r"^<!-- end -->$", text, re.MULTILINE)) == len(tables.TABLES)


def test_every_file_is_shown_or_linked_and_says_where_it_comes_from(tables: ModuleType) -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    files = sorted((DOCS / "tables").iterdir())
    assert {path.stem for path in files} >= set(tables.TABLES)
    for path in files:
        assert path.stem in tables.TABLES or f"tables/{path.name}" in text, path.name
        assert path.read_text("utf-8").startswith("# "), path.name


def test_figures_are_formatted(tables: ModuleType) -> None:
    rows = [
        {"name": tables.Word("refit"), "share": tables.Number(0.745), "millimetres": tables.Number(7456)},
        {"name": tables.Word("filtered"), "share": tables.Word(""), "millimetres": tables.Word("")},
    ]
    lines = tables.listed({"who": "{name}", "%": "{share:.1%} / {share:.0%}", "m": "{millimetres:.1k}"})(rows)
    assert list(lines) == [("who", "%", "m"), ("refit", "74.5 % / 74 %", "7.5"), ("filtered", "", "")]
