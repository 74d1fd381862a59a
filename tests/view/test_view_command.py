"""``refit-mv view``: a page on disk, and refusals."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from refit_mv.report.scene import scene_of
from refit_mv.take.take import Take
from refit_mv.view.pictures import ViewPictures, scene_pictures


def test_a_page_is_written_whole_and_names_nobody_else(cli: Callable, viewed: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "fit.html"
    done = cli("view", viewed, "--html", page)
    assert done.code == 0, done.err
    assert "MB)" in done.out
    text = page.read_text("utf-8")
    assert "default-src 'none'" in text
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text) == []
    assert [path.name for path in page.parent.iterdir()] == ["fit.html"]


def test_frames_of_a_page_are_chosen(cli: Callable, viewed: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.html", tmp_path / "part.html"
    assert cli("view", viewed, "--html", whole).code == 0
    assert cli("view", viewed, "--html", part, "--frames", "22:24").code == 0
    assert part.stat().st_size < whole.stat().st_size
    refused = cli("view", viewed, "--html", part, "--frames", "500:600")
    assert refused.code == 2
    assert "20 to 29" in refused.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--html", "page.txt"), ".html"), (("--frames", "0:2"), "--html"), (("--port", "80"), "port")],
)
def test_refusals(cli: Callable, viewed: Path, arguments: tuple[str, ...], words: str) -> None:
    refused = cli("view", viewed, *arguments)
    assert refused.code == 2
    assert words in refused.err
    assert refused.err.count("\n") == 1


def test_without_viser_one_line_says_what_to_install(
    cli: Callable, viewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "viser" or name.startswith("refit_mv.view.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "viser", None)
    refused = cli("view", viewed)
    assert refused.code == 2
    assert "pip install 'refit-mv[view]'" in refused.err
    assert refused.err.count("\n") == 1
    # A page does without it.
    assert cli("view", viewed, "--html", tmp_path / "page.html").code == 0


def test_a_view_shows_the_picture_of_its_frame(filmed: Take) -> None:
    pictures = ViewPictures(filmed, 1)
    # Forth, back, and the same again.
    for row in (0, 3, 9, 2, 2, 3):
        picture = pictures.at(row, 192)
        assert picture is not None
        assert picture.shape == (108, 192, 3)
        assert abs(float(picture.mean()) - (40 + 20 * row)) < 6
    some = scene_pictures(filmed, scene_of(filmed).rows, 5, 64)
    assert [(each.view, each.row) for each in some] == [(view, row) for view in range(3) for row in (0, 2, 4, 6, 8)]
    assert scene_pictures(filmed, scene_of(filmed).rows, 0, 64) == []


def test_refusals_of_report(cli: Callable, viewed: Path, tmp_path: Path) -> None:
    for arguments, words in (((viewed, "--out", tmp_path / "x.html"), "two fits"), ((tmp_path,), "no finished fit")):
        refused = cli("report", *arguments)
        assert refused.code == 2
        assert words in refused.err
        assert refused.err.count("\n") == 1
