"""Cameras placed by measured points of a scene."""

from pathlib import Path

import numpy as np
import pytest
from board_rigs import SIZE, made_rig

from calib.board.lens import project
from calib.board.scene_points import ScenePoints, place_by_scene, read_scene_points
from refit_mv.errors import InputError


def test_cameras_are_placed_as_well_as_they_say() -> None:
    made, rng = made_rig(0, ("brown_conrady", "fisheye", "brown_conrady")), np.random.default_rng(0)
    scene = made.scene
    points = rng.uniform(-1, 1, (12, 3)) * [0.8, 0.8, 0.5] + [0.3, 0, 1]
    names = ("a", "b", "c")
    pixels = {}
    for row, name in enumerate(names):
        p_cam = points @ scene.cameras.rotation[row].T + scene.cameras.translation[row]
        pixels[name] = project(scene.models[row], scene.lenses[row], p_cam) + rng.normal(0, 0.3, (12, 2))
    lenses = {name: scene.lens(row, SIZE) for row, name in enumerate(names)}
    placed = place_by_scene(ScenePoints(dict.fromkeys(names, points), pixels), lenses)
    off = placed.adjusted.scene.cameras.inverse().translation - scene.cameras.inverse().translation
    assert (np.linalg.norm(off, axis=1) < 3 * placed.known.position_sigma).all()
    assert (placed.known.position_sigma < 0.01).all()


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    places = {"p": [0, 0, 0], "q": [1, 0, 0], "r": [0, 1, 0], "s": [0, 0, 1.5]}
    pixels = {"p": [10, 20], "q": [30, 40], "r": [50, 60], "s": [70, 80.5]}
    yaml, table = tmp_path / "scene.yaml", tmp_path / "scene.csv"
    listed = "\n".join(f"  {name}: {place}" for name, place in places.items())
    seen = "\n".join(f"    {name}: {pixel}" for name, pixel in pixels.items())
    yaml.write_text(f"points:\n{listed}\npixels:\n  cam01:\n{seen}\n")
    rows = [",".join(map(str, ["cam01", *places[name], *pixels[name]])) for name in places]
    table.write_text("camera,x,y,z,u,v\n" + "\n".join(rows) + "\n")
    one, other = read_scene_points(yaml), read_scene_points(table)
    assert np.array_equal(one.points["cam01"], other.points["cam01"])
    assert np.array_equal(one.pixels["cam01"], other.pixels["cam01"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("points: {a: [0, 0, 0]}\npixels: {cam: {b: [1, 2]}}\n", "not among the points"),
        ("points: {a: [0, 0, 0]}\npixels: {cam: {a: [1, 2]}}\n", "4 points or more"),
        ("points: {a: [0, 0]}\npixels: {cam: {a: [1, 2]}}\n", "expected 3 numbers"),
        ("- 1\n", "expected points"),
    ],
)
def test_what_is_no_list_of_points_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "scene.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_scene_points(path)
