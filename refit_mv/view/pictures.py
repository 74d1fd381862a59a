"""What the cameras saw, frame by frame, as far as the recording's pictures are still there."""

from collections.abc import Iterator
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from refit_mv.errors import InputError
from refit_mv.report.overlay import SEEK_DISTANCE, positions_by_number
from refit_mv.report.scene_block import ScenePicture
from refit_mv.session.session import frame_source
from refit_mv.session.video import FrameSource
from refit_mv.take.take import Take

JPEG_QUALITY = 60
Picture = UInt8[np.ndarray, "_ _ 3"]


class ViewPictures:
    """The pictures of one view of a take, RGB. Those asked for in ascending order are decoded in one go."""

    def __init__(self, take: Take, view: int) -> None:
        self.take, self.view = take, view
        self._stream: Iterator[Picture] = iter(())
        self._reached: int | None = None
        self._last: Picture | None = None

    @cached_property
    def source(self) -> FrameSource | None:
        """None where there are no pictures, or none that can be read: this was said when the take was fitted."""
        try:
            return frame_source(self.take.session.views[self.view])
        except InputError:
            return None

    @cached_property
    def _positions(self) -> Int[np.ndarray, " frame"]:
        if self.source is None:
            return np.full(len(self.take), -1, dtype=np.int64)
        return positions_by_number(self.source, self.take.source_numbers[:, self.view])

    def at(self, row: int, side: int) -> Picture | None:
        """The picture of one frame of the take, its longer side at most ``side`` pixels; None where there is none."""
        position = int(self._positions[row])
        if self.source is None or position < 0:
            return None
        if self._reached is None or not self._reached <= position <= self._reached + SEEK_DISTANCE:
            self._stream, self._reached = self.source.frames(position), position - 1
        while self._reached < position:
            self._last, self._reached = next(self._stream, None), self._reached + 1
        return None if self._last is None else smaller(np.asarray(self._last), side)


def smaller(picture: Picture, side: int) -> Picture:
    """The picture with its longer side at most ``side`` pixels."""
    scale = side / max(picture.shape[:2])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture


def scene_pictures(take: Take, rows: Int[np.ndarray, " frame"], most: int, side: int) -> list[ScenePicture]:
    """At most ``most`` pictures of each view, at even steps over ``rows`` (places in the take)."""
    step = max(-(-len(rows) // max(most, 1)), 1)
    places = list(range(0, len(rows), step)) if most else []
    found = []
    for view in range(len(take.rig)):
        pictures = ViewPictures(take, view)
        for place in places:
            picture = pictures.at(int(rows[place]), side)
            if picture is not None:
                bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
                jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
                found.append(ScenePicture(view, place, jpeg))
    return found
