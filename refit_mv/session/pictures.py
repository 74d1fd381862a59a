"""The pictures behind a recording's frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from refit_mv.session.session import Session, frame_source
from refit_mv.session.video import FrameSource

# Reading on through so many pictures that nobody asked for is quicker than finding the next one in the file.
READ_THROUGH = 12


@dataclass(frozen=True, eq=False)
class Pictures:
    """``sources`` are the views' pictures (None: there are none) and ``positions`` where in them each frame is (−1:
    missing).
    """

    sources: tuple[FrameSource | None, ...]
    positions: tuple[Sequence[int], ...]

    def has(self, view: int, row: int) -> bool:
        """Whether a view has a picture of a frame."""
        return self.sources[view] is not None and self.positions[view][row] >= 0

    def of(self, view: int, rows: Sequence[int | None]) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]]:
        """Pictures of the wanted rows of one view, RGB, with their place among them; what is missing is left out.

        Raises:
            InputError: a picture cannot be read.
        """
        source = self.sources[view]
        if source is None:
            return
        wanted = [
            (place, int(self.positions[view][row]))
            for place, row in enumerate(rows)
            if row is not None and self.positions[view][row] >= 0
        ]
        first = 0
        while first < len(wanted):
            last = first + 1
            while last < len(wanted) and 0 < wanted[last][1] - wanted[last - 1][1] <= READ_THROUGH:
                last += 1
            start = wanted[first][1]
            places = {position - start: place for place, position in wanted[first:last]}
            frames = source.frames(start, wanted[last - 1][1] + 1)
            yield from ((places[step], picture) for step, picture in enumerate(frames) if step in places)
            first = last


def pictures_of(session: Session, source_numbers: Int[np.ndarray, "frame view"]) -> Pictures:
    """The pictures of a session's views. ``source_numbers`` tell which of each view's own pictures belongs to a frame
    (−1: none).

    Raises:
        InputError: a view's pictures cannot be opened.
    """
    views = {view.name: view for view in session.views}
    sources = tuple(frame_source(views[name]) for name in session.rig.names)
    positions = []
    for source, numbers in zip(sources, source_numbers.T.tolist(), strict=True):
        place = {} if source is None else {n: index for index, n in enumerate(source.frame_numbers.tolist())}
        positions.append([place.get(number, -1) for number in numbers])
    return Pictures(sources, tuple(positions))
