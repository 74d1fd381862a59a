"""The viewer's controls: time, what is shown, and corrections."""

import html
from dataclasses import dataclass
from itertools import pairwise

from viser import GuiApi

from refit_mv.report.charts import WORST_FIRST
from refit_mv.report.colours import css
from refit_mv.report.measures import bin_edges
from refit_mv.report.scene import Scene
from refit_mv.report.scene_block import STATUS_COLOURS
from refit_mv.view.corrections import Marked
from refit_mv.view.stage import Layers

ANYWHERE = "anywhere"
SPEEDS = {"0.1×": 0.1, "0.25×": 0.25, "0.5×": 0.5, "1×": 1.0, "2×": 2.0}
# So many columns the strip of statuses has.
COLUMNS = 240
WORDS = {
    "bodies": "Bodies",
    "cameras": "Cameras",
    "pictures": "Pictures",
    "keypoints": "Keypoints",
    "rays": "Rays",
    "residuals": "Residuals",
    "uncertainty": "Uncertainty, 2 sigma",
    "contacts": "Contacts of the feet",
    "floor": "Floor",
}


@dataclass(frozen=True)
class Buttons:
    """What the panel's corrections are called."""

    wrong: str = "This view is wrong"
    swapped: str = "Sides are swapped"
    left: str = "Hold left foot"
    right: str = "Hold right foot"
    smooth: str = "Smooth here"
    place: str = "Place keypoint"
    whose: str = "This is the person"
    solve: str = "Solve corrections"


BUTTONS = Buttons()


class Panel:
    """The controls as handles, and what they say now."""

    def __init__(self, gui: GuiApi, scene: Scene) -> None:
        self.scene, self._lanes = scene, lanes(scene)
        gui.configure_theme(show_share_button=False, show_logo=False, control_width="medium", dark_mode=True)
        numbers = scene.frame_numbers
        self.told = gui.add_html("")
        self.row = gui.add_slider(
            "Frame", min=0, max=max(len(scene) - 1, 1), step=1, initial_value=0, hint="Place in the take, from 0"
        )
        self.play = gui.add_button("Play / pause")
        self.speed = gui.add_dropdown("Speed", tuple(SPEEDS), initial_value="1×")
        self.through = gui.add_dropdown("Look from", (ANYWHERE, *(camera.name for camera in scene.cameras)))
        with gui.add_folder("Show"):
            self.people = [
                gui.add_checkbox(person.whom, True, hint="Show or hide this person") for person in scene.people
            ]
            started = Layers()
            self.layers = {key: gui.add_checkbox(words, getattr(started, key)) for key, words in WORDS.items()}
        with gui.add_folder("Correct"):
            self.about = gui.add_markdown("Click on a keypoint in a picture to choose it, or choose here.")
            self.view = gui.add_dropdown("View", tuple(camera.name for camera in scene.cameras))
            self.person = gui.add_dropdown(
                "Person", tuple(str(person.id) for person in scene.people), visible=len(scene.people) > 1
            )
            self.first = gui.add_number(
                "First frame", int(numbers[0]), min=int(numbers[0]), max=int(numbers[-1]), step=1
            )
            self.last = gui.add_number("Last frame", int(numbers[0]), min=int(numbers[0]), max=int(numbers[-1]), step=1)
            self.mark = gui.add_button_group("This frame is", ("first", "last"))
            self.wrong = gui.add_button(BUTTONS.wrong)
            self.swapped = gui.add_button(BUTTONS.swapped)
            self.left = gui.add_button(BUTTONS.left)
            self.right = gui.add_button(BUTTONS.right)
            self.smooth = gui.add_button(BUTTONS.smooth)
            self.name = gui.add_dropdown("Keypoint", scene.people[0].landmark_names if scene.people else ("none",))
            self.place = gui.add_button(BUTTONS.place, hint="Then click in a picture where it is")
            self.whose = gui.add_button(
                BUTTONS.whose, hint="Then click on them in a picture", visible=len(scene.people) > 1
            )
            self.written = gui.add_markdown("")
            self.solve = gui.add_button(BUTTONS.solve, hint="Solve the frames around them anew, and show them")

    def renew(self, scene: Scene) -> None:
        """Tell of the same take after its corrections."""
        self.scene, self._lanes = scene, lanes(scene)

    def marked(self) -> Marked:
        """What corrections are about."""
        return Marked(
            view=self.view.value,
            person=int(self.person.value),
            name=self.name.value,
            first=int(self.first.value),
            last=int(self.last.value),
            several=len(self.scene.people) > 1,
        )

    def shown(self) -> Layers:
        """What is to be shown."""
        names = [camera.name for camera in self.scene.cameras]
        chosen = self.through.value
        return Layers(
            **{key: box.value for key, box in self.layers.items()},
            people=frozenset(place for place, box in enumerate(self.people) if box.value),
            through=names.index(chosen) if chosen in names else None,
        )

    def tell(self, row: int) -> None:
        """The frame's number and time, everybody's status, and where in the take one is."""
        scene = self.scene
        words = ", ".join(
            f'<b style="color:{css(person.colour)}">{html.escape(person.whom)}</b> {person.status[row]}'
            for person in scene.people
        )
        self.told.content = (
            f'<div style="padding:0 1em;font-size:.9em"><b>frame {scene.frame_numbers[row]}</b> '
            f"{scene.rows[row] / scene.fps:.2f} s<br>{words}{strip(scene, self._lanes, row)}</div>"
        )


def lanes(scene: Scene) -> str:
    """Everybody's status over time as bars of an SVG, 1000 wide; a column shows the worst of its frames."""
    edges = bin_edges(len(scene), COLUMNS)
    bars = []
    for lane, person in enumerate(scene.people):
        worst = [
            next(word for word in WORST_FIRST if word in person.status[start:stop]) for start, stop in pairwise(edges)
        ]
        begin = 0
        for column in range(1, len(worst) + 1):
            if column == len(worst) or worst[column] != worst[begin]:
                x, width = (1000 * frames / len(scene) for frames in (edges[begin], edges[column] - edges[begin]))
                bars.append(
                    f'<rect x="{x:.1f}" y="{12 * lane}" width="{width:.1f}" height="10" '
                    f'fill="{STATUS_COLOURS[worst[begin]]}"/>'
                )
                begin = column
    return "".join(bars)


def strip(scene: Scene, bars: str, row: int) -> str:
    """The picture of :func:`lanes` with a mark at the frame that is shown."""
    height = 12 * max(len(scene.people), 1)
    at = 1000 * (row + 0.5) / len(scene)
    shape = f'viewBox="0 0 1000 {height}" preserveAspectRatio="none" style="width:100%;height:{height}px;display:block"'
    here = f'<rect x="{at - 3:.1f}" y="0" width="6" height="{height}" fill="currentColor"/>'
    return f"<svg {shape}>{bars}{here}</svg>"
