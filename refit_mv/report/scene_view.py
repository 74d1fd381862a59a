"""The view in space as a part of a page: what can be shown and hidden, time, and the data behind it."""

import html
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from refit_mv.files import complete_or_absent
from refit_mv.report.charts import script_json
from refit_mv.report.colours import css, lettering_on
from refit_mv.report.document import document
from refit_mv.report.scene import Scene
from refit_mv.report.scene_block import ScenePicture, packed

# What a page may show: words, whether it is shown at first, and whether it takes what was seen.
LAYERS = {
    "bodies": ("bodies", True, False),
    "skeleton": ("skeletons", False, False),
    "uncertainty": ("uncertainty (2 sigma)", False, False),
    "cameras": ("cameras", True, False),
    "pictures": ("pictures", True, True),
    "points": ("keypoints", True, True),
    "rays": ("rays", False, True),
    "residuals": ("residuals", False, True),
    "contacts": ("contacts", True, False),
    "floor": ("floor", True, False),
}
SPEEDS = ("0.1", "0.25", "0.5", "1", "2")


def scene_view(
    scene: Scene, pictures: Sequence[ScenePicture] = (), evidence: bool = True, whole_page: bool = False
) -> str:
    """The view's markup with its data; the page needs :func:`scene_style` and :func:`scene_script` as well."""
    header, block = packed(scene, pictures, evidence)
    layers = {
        key: each
        for key, each in LAYERS.items()
        if (evidence or not each[2])
        and (key != "pictures" or pictures)
        and (key != "contacts" or any(person.soles is not None for person in scene.people))
    }
    boxes = "".join(
        f'<label><input type="checkbox" data-show="{key}"{" checked" if on else ""}> {words}</label>'
        for key, (words, on, _) in layers.items()
    )
    people = "".join(
        f'<label class="who" style="background:{css(person.colour)};color:{css(lettering_on(person.colour))}">'
        f'<input type="checkbox" data-person="{place}" checked> {html.escape(person.whom)}</label>'
        for place, person in enumerate(scene.people)
    )
    cameras = "".join(
        f'<option value="{place}">through {html.escape(camera.name)}</option>'
        for place, camera in enumerate(scene.cameras)
    )
    speeds = "".join(
        f"<option{' selected' if speed == '1' else ''} value={speed}>{speed}×</option>" for speed in SPEEDS
    )
    hint = "Drag: turn. Shift and drag: move. Wheel: nearer. Space: play. Arrows: single frames."
    return (
        f'<div id="scene" class="scene{" whole" if whole_page else ""}" data-autoplay="{"" if whole_page else "yes"}">'
        '<div class="screen"><canvas class="stage" tabindex="0" role="img" '
        'aria-label="The bodies and cameras in space"></canvas><div class="labels"></div>'
        f'<p class="note" role="status">Unpacking …</p><p class="how">{hint}</p></div>'
        '<div class="bar"><button type="button" class="play" aria-label="Play">▶</button>'
        '<canvas class="time" role="img" aria-label="Time, with the status of every frame"></canvas>'
        '<output class="now"></output></div>'
        f'<div class="bar wrap">{people}{boxes}<label><input type="checkbox" data-follow> follow</label>'
        f'<select class="from" aria-label="Where to look from"><option value="-1">from anywhere</option>{cameras}'
        f'</select><select class="speed" aria-label="Speed">{speeds}</select></div>'
        f'<script type="application/json" id="scene-meta">{script_json(header)}</script>'
        f'<script type="text/plain" id="scene-block">{block}</script></div>'
    )


def scene_style() -> str:
    return _asset("scene.css")


def scene_script() -> str:
    return _asset("scene.js")


def _asset(name: str) -> str:
    return (files("refit_mv.report") / "assets" / name).read_text(encoding="utf-8")


def write_scene_page(path: Path, scene: Scene, pictures: Sequence[ScenePicture] = ()) -> None:
    """Write the view as one HTML file that needs nothing else: no network, no other file.

    Raises:
        InputError: the file cannot be written.
    """
    content = (
        f'<h1 class="scene-title">{html.escape(scene.title)} <small>refit-mv</small></h1>'
        f"{scene_view(scene, pictures, whole_page=True)}"
    )
    text = document(f"{scene.title} – in space", scene_style(), content, ("title", scene.title), scene_script())
    with complete_or_absent(path) as temporary:
        # Names of folders may hold bytes that are no text: they are shown.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
