"""The page and the viewer as a browser shows them."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from refit_mv.edits.file import append_edit, read_edits
from refit_mv.edits.kinds import HoldFoot, Keypoint, Wrong
from refit_mv.people.edit_values import Frames
from refit_mv.report.scene import scene_of
from refit_mv.report.scene_view import write_scene_page
from refit_mv.report.soles import Soles
from refit_mv.solve.feet import Contacts
from refit_mv.take.take import Take, open_take
from refit_mv.view.live import Viewer
from refit_mv.view.page import write_page
from tests.browser import Browser, needs_browser

pytestmark = needs_browser
READY = "document.getElementById('scene').dataset.ready === 'yes'"


def stage(browser: Browser) -> np.ndarray:
    """What is seen, without the bar below it."""
    return browser.picture()[50:600].astype(int)


def test_the_page_moves_and_asks_nobody(browser: Browser, filmed: Take, tmp_path: Path) -> None:
    page = tmp_path / "fit.html"
    write_page(filmed, page)
    browser.open(page.as_uri())
    browser.until(READY)
    scene, seen = scene_of(filmed), []
    wrist = scene.skin.joint_names.index("left_wrist")
    for row in (0, 9):
        browser.run(f"scene.seek({row})")
        assert np.allclose(browser.run(f"scene.joint(0, {wrist})"), scene.people[0].positions[row, wrist], atol=1e-3)
        assert f"frame {scene.frame_numbers[row]} " in browser.run("document.querySelector('.now').textContent")
        seen.append(stage(browser))
    assert (np.abs(seen[1] - seen[0]).max(-1) > 30).sum() > 300, "the body does not move between two times"
    # Everything that can be hidden shows when it is shown.
    for layer in ("bodies", "cameras", "points", "floor", "rays", "residuals", "skeleton", "uncertainty"):
        for on in ("false", "true"):
            browser.run(f"scene.show('{layer}', {on})")
            seen.append(stage(browser))
        assert (np.abs(seen[-1] - seen[-2]).max(-1) > 8).sum() > 20, f"{layer} are not drawn"
    before = stage(browser)
    browser.run("document.querySelector('[data-person]').click(); scene.redraw()")
    assert (np.abs(stage(browser) - before).max(-1) > 8).sum() > 300, "people cannot be hidden"
    assert [each for each in browser.requests if urlsplit(each).scheme not in ("data", "about")] == [page.as_uri()]
    assert browser.complaints == []


def test_contacts_are_drawn_in_the_colour_of_what_they_are(browser: Browser, viewed: Path, tmp_path: Path) -> None:
    take = open_take(viewed)
    scene, count = scene_of(take), len(take)
    held = np.zeros((count, 4), dtype=bool)
    held[:, 1] = True
    contacts = Contacts(np.full((count, 4), 0.9, dtype=np.float32), held)
    soles = Soles.of(take.body, take.people[0].params(), contacts)
    assert soles is not None
    # Under the feet: near the ankles, and below them.
    ankle = scene.people[0].positions[:, scene.skin.joint_names.index("left_ankle")]
    assert np.linalg.norm(soles.points[:, 0] - ankle, axis=-1).max() < 0.2
    standing = replace(scene, people=(replace(scene.people[0], soles=soles),))
    write_scene_page(tmp_path / "feet.html", standing)
    browser.open((tmp_path / "feet.html").as_uri())
    browser.until(READY)
    browser.run("scene.show('contacts', true)")
    picture = stage(browser)
    green = (np.abs(picture - [64, 242, 115]).max(-1) < 12).sum()
    yellow = (np.abs(picture - [255, 191, 51]).max(-1) < 12).sum()
    assert green > 20
    assert yellow > green
    browser.run("scene.show('contacts', false)")
    assert (np.abs(stage(browser) - [64, 242, 115]).max(-1) < 12).sum() == 0
    assert browser.complaints == []


def test_through_a_camera_the_page_shows_its_picture(browser: Browser, filmed: Take, tmp_path: Path) -> None:
    page = tmp_path / "fit.html"
    write_page(filmed, page)
    browser.open(page.as_uri())
    browser.until(READY)
    means = []
    for row in (0, 8):
        browser.run(f"scene.seek({row})")
        browser.run(
            "(() => { const from = document.querySelector('.from'); from.value = '1';"
            "from.dispatchEvent(new Event('change')); return new Promise(done => setTimeout(done, 300)); })()"
        )
        means.append(np.median(browser.picture()[250:350, 450:550]))
    # Grey, 20 lighter in every frame.
    assert means[1] - means[0] == pytest.approx(160, abs=12)


@pytest.fixture
def viewer(filmed: Take) -> Iterator[Viewer]:
    viewer = Viewer(filmed, 8123)
    thread = threading.Thread(target=viewer.run, daemon=True)
    thread.start()
    yield viewer
    viewer.stop()
    thread.join(timeout=10)


def test_clicks_write_edits(browser: Browser, viewer: Viewer, filmed: Take) -> None:
    browser.open(viewer.address)
    browser.until("document.body.textContent.includes('This view is wrong')")
    file, name = filmed.folder / "edits.yaml", filmed.rig.names[0]
    assert not file.exists()
    first = int(filmed.frame_numbers[0])
    browser.press("This view is wrong")
    browser.until("document.body.textContent.includes('Written to edits.yaml')")
    browser.press("Hold left foot")
    browser.until("document.body.textContent.includes('left foot held')")
    here = Frames(((first, first),))
    assert read_edits(file) == (Wrong(name, here), HoldFoot("left", here))
    # Look through the second camera, and place a keypoint with a click in its picture.
    choose = "[...document.querySelectorAll('input')].find(e => e.value === 'anywhere')"
    browser.run(f"(() => {{ const box = {choose}; box.scrollIntoView(); box.click(); }})()")
    browser.press(filmed.rig.names[1])
    browser.until("document.querySelector('canvas') !== null")
    browser.run("new Promise(done => setTimeout(done, 1500))")
    browser.press("Place keypoint")
    browser.until("document.body.textContent.includes('Now click in a picture')")
    x, y = 440.0, 300.0
    browser.click(x, y)
    browser.until("document.body.textContent.includes('left foot') && document.body.textContent.includes('is at')")
    placed = read_edits(file)[2]
    assert isinstance(placed, Keypoint)
    assert placed.view == filmed.rig.names[1]
    camera = scene_of(filmed).cameras[1]
    width, height = browser.run("[innerWidth, innerHeight]")
    # The axis of the view is the camera's; half the window's height is 0.52 of the picture's.
    scale = 0.52 * camera.size[1] / (height / 2)
    expected = camera.matrix[:2, 2] + scale * np.array([x - width / 2, y - height / 2])
    assert np.allclose(placed.at, expected, atol=2.5)


def test_corrections_are_solved_and_shown(browser: Browser, viewer: Viewer, filmed: Take) -> None:
    before, name = scene_of(filmed), filmed.rig.names[0]
    append_edit(filmed.folder / "edits.yaml", Wrong(name, Frames(((int(filmed.frame_numbers[4]),) * 2,))))
    browser.open(viewer.address)
    browser.until("document.body.textContent.includes('Solve corrections')")
    browser.press("Solve corrections")
    browser.until("document.body.textContent.includes('1 correction obeyed')")
    solved = open_take(filmed.folder)
    assert len(solved.corrections) == 1
    # What the fit would show if it were opened now is what is drawn.
    now = scene_of(solved)
    assert np.array_equal(viewer.stage.scene.people[0].positions, now.people[0].positions)
    assert (now.people[0].positions[4] != before.people[0].positions[4]).any()
    # A correction that cannot be obeyed is told, and what is shown stays.
    (filmed.folder / "edits.yaml").write_text("- {wrong: {view: nobody, frames: 1}}\n")
    browser.press("Solve corrections")
    browser.until("document.body.textContent.includes('Not solved')")
    assert np.array_equal(viewer.stage.scene.people[0].positions, now.people[0].positions)
    assert browser.complaints == []


def test_the_viewer_moves_and_is_for_this_machine_alone(browser: Browser, viewer: Viewer, filmed: Take) -> None:
    assert urlsplit(viewer.address).hostname == "127.0.0.1"
    browser.open(viewer.address)
    browser.until("document.body.textContent.includes('This view is wrong')")
    browser.run("new Promise(done => setTimeout(done, 2500))")
    before = stage(browser)
    script = (
        "(() => { const box = [...document.querySelectorAll('input[type=text]')].find(e => e.value === '0');"
        "Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, '9');"
        "box.dispatchEvent(new Event('input', {bubbles: true})); box.blur(); })()"
    )
    browser.run(script)
    number = json.dumps(f"frame {filmed.frame_numbers[9]} ")
    browser.until(f"document.body.textContent.includes({number})")
    browser.run("new Promise(done => setTimeout(done, 1500))")
    assert (np.abs(stage(browser) - before).max(-1) > 30).sum() > 300
    hosts = {
        urlsplit(each).hostname for each in browser.requests if urlsplit(each).scheme in ("http", "https", "ws", "wss")
    }
    assert hosts == {"127.0.0.1"}
    assert browser.complaints == []
