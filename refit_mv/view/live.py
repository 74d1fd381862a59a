"""The viewer: a take in the browser, for this machine alone."""

import threading
import time
from contextlib import redirect_stdout
from io import StringIO
from typing import Literal

import numpy as np
from viser import ClientHandle, GuiEvent, SceneClickEvent, ViserServer

from refit_mv.edits.file import FILE, append_edit
from refit_mv.edits.kinds import FrameEdit
from refit_mv.errors import InputError
from refit_mv.refitting import Refit, refit
from refit_mv.report.scene import scene_of
from refit_mv.take.take import Take
from refit_mv.view.corrections import keypoint_at, pointed_at
from refit_mv.view.panel import ANYWHERE, BUTTONS, SPEEDS, Panel
from refit_mv.view.pictures import ViewPictures
from refit_mv.view.stage import Stage

# Nobody but this machine is served.
HOST = "127.0.0.1"
# The longer side of pictures while time runs, and when it stands, pixels.
MOVING, STANDING = 480, 1280
# So long one waits for something to do, seconds.
IDLE = 0.02


class Viewer:
    """Serves a take in which somebody was found; :meth:`run` until it is stopped. All is drawn by the thread that runs
    it.
    """

    def __init__(self, take: Take, port: int) -> None:
        self.take, self.scene = take, scene_of(take)
        self.edits = take.folder / FILE
        self.pictures = [ViewPictures(take, view) for view in range(len(take.rig))]
        # It praises itself on standard output, told not to or not.
        with redirect_stdout(StringIO()):
            self.server = ViserServer(host=HOST, port=port, label=take.title, verbose=False)
        eye, middle = self.scene.vantage()
        camera = self.server.initial_camera
        camera.position, camera.look_at, camera.up = tuple(eye), tuple(middle), tuple(self.scene.up)
        self.stage = Stage(self.server.scene, self.scene)
        self.panel = Panel(self.server.gui, self.scene)
        self.row, self.playing, self.armed = 0, False, ""
        self._stale = threading.Event()
        self._stale.set()
        # Whoever wants the corrections solved.
        self._waiting: list[ClientHandle | None] = []
        self._stopped = threading.Event()
        self._wire()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server.get_port()}"

    def run(self) -> None:
        """Draw whatever is to be drawn, until :meth:`stop`."""
        due = time.monotonic()
        while not self._stopped.is_set():
            if self._waiting:
                self._solve()
            if not self.playing:
                if self._stale.wait(IDLE):
                    self._stale.clear()
                    self._draw()
                due = time.monotonic()
                continue
            step = 1 / (self.scene.fps * SPEEDS[self.panel.speed.value])
            due += step
            early = due - time.monotonic()
            if early > 0:
                self._stopped.wait(early)
            # Who cannot follow skips frames rather than slow down.
            skipped = max(int(-early / step), 0)
            due += skipped * step
            self.row = (self.row + 1 + skipped) % len(self.scene)
            self._draw()
            self.panel.row.value = self.row

    def stop(self) -> None:
        """End :meth:`run`, and the server with it."""
        self._stopped.set()
        with redirect_stdout(StringIO()):
            self.server.stop()

    def _draw(self) -> None:
        row, layers = self.row, self.panel.shown()
        side = MOVING if self.playing else STANDING
        shown = layers.pictures
        pictures = [each.at(int(self.scene.rows[row]), side) for each in self.pictures] if shown else None
        with self.server.atomic():
            self.stage.show(row, layers)
            if pictures is not None:
                self.stage.show_pictures(pictures)
            self.panel.tell(row)
        self.server.flush()

    def _wire(self) -> None:
        """What happens when a control is moved."""
        panel = self.panel

        def moved(event: GuiEvent) -> None:
            # Time moves it too, when it runs; then nobody did.
            if event.client is not None:
                self.row = min(int(panel.row.value), len(self.scene) - 1)
            self._stale.set()

        def changed(_event: GuiEvent) -> None:
            self._stale.set()

        panel.row.on_update(moved)
        for box in (*panel.layers.values(), *panel.people):
            box.on_update(changed)
        panel.play.on_click(self._play)
        panel.through.on_update(self._look)
        panel.mark.on_click(self._mark)
        panel.wrong.on_click(lambda event: self._write(event.client, panel.marked().wrong()))
        panel.swapped.on_click(lambda event: self._write(event.client, panel.marked().swapped()))
        panel.left.on_click(lambda event: self._write(event.client, panel.marked().held("left")))
        panel.right.on_click(lambda event: self._write(event.client, panel.marked().held("right")))
        panel.smooth.on_click(lambda event: self._write(event.client, panel.marked().smoothed()))
        panel.place.on_click(lambda _event: self._arm("keypoint"))
        panel.whose.on_click(lambda _event: self._arm("person"))
        panel.solve.on_click(self._want)
        self.server.scene.on_click()(self._clicked)

    def _play(self, _event: GuiEvent) -> None:
        self.playing = not self.playing
        self._stale.set()

    def _look(self, event: GuiEvent) -> None:
        """Stand where a camera stands."""
        chosen = self.panel.through.value
        camera = next((each for each in self.scene.cameras if each.name == chosen), None)
        client = event.client
        if client is not None and camera is not None:
            self.panel.view.value = chosen
            eye, forward, down = camera.center, camera.world_from_cam[:, 2], camera.world_from_cam[:, 1]
            with client.atomic():
                client.camera.up_direction = tuple(-down)
                client.camera.position = tuple(eye)
                client.camera.look_at = tuple(eye + forward)
                # A little more than the picture.
                client.camera.fov = float(2 * np.arctan(0.52 * camera.size[1] / camera.matrix[1, 1]))
        elif client is not None and chosen == ANYWHERE:
            eye, middle = self.scene.vantage()
            with client.atomic():
                client.camera.up_direction = tuple(self.scene.up)
                client.camera.position, client.camera.look_at = tuple(eye), tuple(middle)
        self._stale.set()

    def _mark(self, _event: GuiEvent) -> None:
        box = self.panel.first if self.panel.mark.value == "first" else self.panel.last
        box.value = int(self.scene.frame_numbers[self.row])

    def _arm(self, what: str) -> None:
        """The next click in a picture says where something is."""
        self.armed = what
        words = "where the keypoint is" if what == "keypoint" else "on the person"
        self.panel.about.content = f"**Now click in a picture, {words}.**"

    def _clicked(self, event: SceneClickEvent) -> None:
        layers = self.panel.shown()
        if not layers.pictures:
            return
        places = range(len(self.scene.cameras)) if layers.through is None else [layers.through]
        cameras = [self.stage.camera(place, layers) for place in places]
        pointed = pointed_at(cameras, np.asarray(event.ray_origin), np.asarray(event.ray_direction))
        if pointed is None:
            return
        view = places[pointed.view]
        self.panel.view.value = self.scene.cameras[view].name
        armed, self.armed = self.armed, ""
        if armed:
            marked, frame = self.panel.marked(), int(self.scene.frame_numbers[self.row])
            edit = marked.keypoint(frame, pointed.at) if armed == "keypoint" else marked.whose(pointed.at)
            self._write(event.client, edit)
            return
        found = keypoint_at(self.scene, self.row, type(pointed)(view, pointed.at))
        if found is not None:
            person, name = found
            self.panel.person.value, self.panel.name.value = str(person), name
            self.panel.about.content = f"**{name}** in {self.panel.view.value}; *Place keypoint* moves it."

    def _write(self, client: ClientHandle | None, edit: FrameEdit) -> None:
        """Add an edit to the file, and say so, or why not."""
        try:
            append_edit(self.edits, edit)
        except InputError as error:
            title, body, colour = "Not written", str(error), "red"
        else:
            title, body, colour = f"Written to {FILE}", str(edit), "green"
            self.panel.about.content = "Click on a keypoint in a picture to choose it, or choose here."
            self.panel.written.content = f"**{FILE}**: {edit}.\n\nWhen all is said: *{BUTTONS.solve}*."
        _notify(client, title, body, colour)

    def _want(self, event: GuiEvent) -> None:
        """Have the corrections solved by the thread that draws, for it shows what comes of it."""
        self.panel.solve.disabled = True
        self._waiting.append(event.client)
        self._stale.set()

    def _solve(self) -> None:
        """Obey what is in the file of corrections, as ``refit-mv refit`` does, and show it."""
        try:
            done = refit(self.take.folder)
            self._renew(done)
            done.motions()
        except InputError as error:
            told = "Not solved", str(error), "red"
        else:
            frames = f"{done.solved_frames} of {len(done.take)} frames solved anew in {done.seconds:.1f} s"
            count = len(done.take.corrections)
            told = f"{count} correction{'s' * (count != 1)} obeyed", frames, "green"
            rest = f"Report and overlays: `refit-mv refit {self.take.folder} --deliver`."
            self.panel.written.content = f"{told[0]}: {frames}.\n\n{rest}"
        clients, self._waiting = self._waiting, []
        self.panel.solve.disabled = False
        for client in clients:
            _notify(client, *told)

    def _renew(self, done: Refit) -> None:
        self.take, self.scene = done.take, scene_of(done.take)
        self.stage.scene = self.scene
        self.panel.renew(self.scene)
        self._draw()


def _notify(client: ClientHandle | None, title: str, body: str, colour: Literal["red", "green"]) -> None:
    if client is not None:
        client.add_notification(title, body, auto_close_seconds=6.0, color=colour)
