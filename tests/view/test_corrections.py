"""Pointing at pictures, and what is written of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refit_mv.edits.file import append_edit, read_edits
from refit_mv.report.scene import Scene, scene_of
from refit_mv.take.take import open_take
from refit_mv.view.corrections import Marked, Pointed, keypoint_at, pointed_at


@pytest.fixture(scope="module")
def scene(viewed: Path) -> Scene:
    return scene_of(open_take(viewed))


def test_the_nearest_picture_on_a_line_of_sight_is_meant(scene: Scene) -> None:
    camera = scene.cameras[0]
    behind = replace(camera, name="behind", depth=2 * camera.depth)
    toward = camera.on_plane(np.array([300.0, 200.0])) - camera.center
    for order, place in (((camera, behind), 0), ((behind, camera), 1)):
        found = pointed_at(order, camera.center, toward)
        assert found is not None
        assert found.view == place
        assert found.at == pytest.approx((300.0, 200.0))
    assert pointed_at(scene.cameras, camera.center, -toward) is None


def test_a_click_near_a_keypoint_means_it(scene: Scene) -> None:
    person = scene.people[0]
    row, view, point = next(
        (int(f), int(v), int(k))
        for f, v, k in np.argwhere(person.confidence > 0.5)
        if person.landmark_names[k] == "left_wrist"
    )
    x, y = person.pixels[row, view, point]
    apart = np.linalg.norm(person.pixels[row, view] - (x, y), axis=-1)
    assert np.nanmin(np.delete(apart, point)) > 4
    assert keypoint_at(scene, row, Pointed(view, (x + 1, y - 1))) == (person.id, "left_wrist")
    assert keypoint_at(scene, row, Pointed(view, (-300.0, -300.0))) is None


def test_what_is_marked_is_read_back_from_the_file(tmp_path: Path) -> None:
    one = Marked("cam_01", 2, "left_wrist", 130, 120)
    two = replace(one, several=True)
    edits = (
        one.wrong(), two.wrong(), one.swapped(), two.swapped(("arms",)), one.held("left"), one.smoothed(),
        two.keypoint(125, (640.04, 360.5)), one.whose((1.0, 2.0)),
    )  # fmt: skip
    path = tmp_path / "edits.yaml"
    path.write_text("# seen by hand\n- smooth: {frames: 1-5}\n")
    for edit in edits:
        append_edit(path, edit)
    assert read_edits(path)[1:] == edits
    text = path.read_text()
    assert text.startswith("# seen by hand\n- smooth: {frames: 1-5}\n")
    assert "120-130" in text
    assert "person: 2" in text
    assert "[640.0, 360.5]" in text
