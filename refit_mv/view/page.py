"""A take as one page that shows it in space, to keep and to send."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from refit_mv.errors import InputError
from refit_mv.report.scene import evenly, scene_of
from refit_mv.report.scene_view import write_scene_page
from refit_mv.take.take import Take
from refit_mv.view.pictures import scene_pictures

# Frames times people; they take some 1.5 kB each: a page of 5 MB.
MOST_PERSON_FRAMES = 3000
# Of each view, and their longer side in pixels: 0.4 MB a view.
PICTURES, PICTURE_SIDE = 40, 320


def write_page(take: Take, path: Path, rows: Int[np.ndarray, " frame"] | None = None, pictures: int = PICTURES) -> int:
    """Write the frames at ``rows`` (None: all), with at most ``pictures`` pictures of each view; where these are too
    many for a page, every second, third and so on. Returns every how-manyth frame is in it.

    Raises:
        InputError: the file cannot be written.
    """
    chosen = np.arange(len(take)) if rows is None else rows
    kept = evenly(len(chosen), MOST_PERSON_FRAMES // max(len(take.people), 1))
    chosen = chosen[kept]
    write_scene_page(path, scene_of(take, chosen), scene_pictures(take, chosen, pictures, PICTURE_SIDE))
    return int(kept[1] - kept[0]) if len(kept) > 1 else 1


def rows_of(take: Take, frames: slice | None) -> Int[np.ndarray, " frame"] | None:
    """The rows of the frames numbered ``frames.start`` to ``frames.stop`` - 1; None for all.

    Raises:
        InputError: none of the take's frames is among them.
    """
    if frames is None:
        return None
    numbers = take.frame_numbers
    chosen = np.ones(len(numbers), dtype=bool)
    chosen &= numbers >= frames.start if frames.start is not None else True
    chosen &= numbers < frames.stop if frames.stop is not None else True
    if not chosen.any():
        raise InputError(f"--frames: the fit has frames {numbers[0]} to {numbers[-1]}, none of which is asked for")
    return np.flatnonzero(chosen)
