"""The report and the comparison as commands write them and a browser shows them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tests.browser import Browser, needs_browser

pytestmark = needs_browser
READY = "document.getElementById('scene').dataset.ready === 'yes'"


def asked(browser: Browser) -> list[str]:
    return [each for each in browser.requests if urlsplit(each).scheme not in ("data", "about")]


def test_the_report_plays_and_leads_to_frames(browser: Browser, cli: Callable, viewed: Path, tmp_path: Path) -> None:
    fit = Path(shutil.copytree(viewed, tmp_path / "fit"))
    (fit / "report.html").unlink()
    done = cli("report", fit)
    assert done.code == 0, done.err
    page = fit / "report.html"
    # The body itself is 0.15 MB of it.
    assert page.stat().st_size < 1.5e6
    browser.open(page.as_uri())
    browser.until(READY)
    frames = browser.run("scene.frames")
    assert frames == 10
    first = browser.run("scene.row()")
    browser.run("scene.play(true)")
    browser.until(f"scene.row() !== {first}")
    numbers = browser.run("[...document.querySelectorAll('[data-frame]')].map(link => link.dataset.frame)")
    assert numbers
    browser.run("document.querySelector('[data-frame]').click()")
    browser.until(f"document.querySelector('.now').textContent.startsWith('frame {numbers[0]} ')")
    browser.run("document.getElementById('scene').scrollIntoView()")
    seen = []
    for row in (0, 9):
        browser.run(f"scene.seek({row})")
        seen.append(browser.picture().astype(int))
    assert (np.abs(seen[1] - seen[0]).max(-1) > 30).sum() > 300
    assert asked(browser) == [page.as_uri()]
    assert browser.complaints == []


def test_two_fits_on_one_page(browser: Browser, cli: Callable, viewed: Path, tmp_path: Path) -> None:
    page = tmp_path / "two.html"
    done = cli("report", viewed, viewed, "--out", page)
    assert done.code == 0, done.err
    browser.open(page.as_uri())
    browser.until(READY)
    assert browser.run("document.querySelectorAll('[data-person]').length") == 2
    assert "0.0 mm apart" in browser.run("document.body.textContent")
    assert asked(browser) == [page.as_uri()]
    assert browser.complaints == []
