"""What the pictures of a rig show of a board: which of its points, where, in which camera, when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from calib.board.board import Board
from calib.board.detection import BoardView, symmetries
from calib.board.lens import Lens
from calib.board.placing import Placings, placed, planar_error
from calib.board.scene import Sightings
from refit_mv.errors import InputError

# Median over views: a board of another layout is matched wrongly everywhere. Strong fisheyes reach 0.06.
WRONG_LAYOUT = 0.12


@dataclass(frozen=True, eq=False)
class BoardRecording:
    """``views`` are keyed by (camera, frame), numbers into ``names`` and ``frames``; ``sizes`` are the pictures'
    (width, height); ``looked`` in how many pictures of each camera the board was looked for; ``times`` are the
    frames' seconds (NaN where unknown). Frames that only one camera has
    (pictures for its lens alone) are frames like others.
    """

    board: Board
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    frames: tuple[str, ...]
    views: Mapping[tuple[int, int], BoardView]
    looked: tuple[int, ...]
    times: Float[np.ndarray, " frame"]

    def count(self, camera: int) -> int:
        """Views of one camera."""
        return sum(each == camera for each, _ in self.views)

    def sightings(self) -> Sightings:
        """All views, camera by camera, in the order of frames."""
        keys = sorted(self.views)
        points = self.board.points
        pixels, seen = np.zeros((len(keys), len(points), 2)), np.zeros((len(keys), len(points)), bool)
        for row, key in enumerate(keys):
            pixels[row, self.views[key].ids] = self.views[key].pixels
            seen[row, self.views[key].ids] = True
        camera, frame = np.array(keys, dtype=np.int64).reshape(-1, 2).T
        return Sightings(camera, frame, np.repeat(points[None], len(keys), 0), pixels, seen)


def check_layout(recording: BoardRecording) -> None:
    """Refuse a board whose points do not lie where the description has them.

    Raises:
        InputError: another number of squares, another pattern, or a sheet that is far from flat.
    """
    points = recording.board.points
    errors = [planar_error(points[view.ids], view.pixels) for view in recording.views.values() if len(view.ids) >= 8]
    if errors and float(np.median(errors)) > WRONG_LAYOUT:
        raise InputError(
            f"the pictures do not show a {recording.board.described()}: its points lie elsewhere on the board (off by "
            f"{100 * float(np.median(errors)):.0f} % of its size in perspective); count its squares as [columns, "
            "rows] and, for a ChArUco board printed before OpenCV 4.6, try legacy: true"
        )


def place_all(seen: Sightings, lenses: Mapping[int, Lens], board: Board) -> dict[tuple[int, int], Placings]:
    """Poses of the board in every view of the cameras that have a lens."""
    orders = symmetries(board)
    found = {}
    for view in range(len(seen)):
        camera, there = int(seen.camera[view]), seen.seen[view]
        if camera not in lenses:
            continue
        turned = orders if there.all() else None
        placings = placed(lenses[camera], seen.points[view][there], seen.pixels[view][there], turned)
        if placings is not None:
            found[camera, int(seen.frame[view])] = placings
    return found


def reordered(seen: Sightings, order: Int[np.ndarray, " view"], board: Board) -> Sightings:
    """Sightings whose board points are in the order that was found to be the right one for each view."""
    orders = symmetries(board)
    if len(orders) == 1:
        return seen
    points = seen.points.copy()
    for view, index in enumerate(order):
        points[view] = seen.points[view][orders[index]]
    return replace(seen, points=points)


def of_cameras(seen: Sightings, cameras: tuple[int, ...]) -> Bool[np.ndarray, " view"]:
    """Which views are by these cameras."""
    return np.isin(seen.camera, np.array(cameras, dtype=np.int64))
