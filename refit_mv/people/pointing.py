"""People named by hand: by their number, or by a place in a picture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refit_mv.errors import InputError
from refit_mv.people.nearest_figure import nearest_figure, pixels_away
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations


@dataclass(frozen=True)
class Pointed:
    """A pixel of a view, in a frame by the recording's number."""

    view: str
    pixel: tuple[float, float]
    frame: int


def named_people(words: Sequence[str]) -> tuple[int | Pointed, ...]:
    """``2``, the number of a person, or ``cam01:412,380@37``, a pixel of a view in a frame.

    Raises:
        InputError: none of these.
    """
    return tuple(map(_named, words))


def _named(word: str) -> int | Pointed:
    number = r"-?\d{1,6}(?:\.\d{1,6})?"
    pixel = re.fullmatch(rf"(.+):\s*({number})\s*,\s*({number})\s*@\s*(\d{{1,12}})", word)
    if pixel is not None:
        return Pointed(pixel[1], (float(pixel[2]), float(pixel[3])), int(pixel[4]))
    if not re.fullmatch(r"\d{1,6}", word):
        raise InputError(
            f"--person {word}: expected the number of a person, or VIEW:X,Y@FRAME, for example cam01:412,380@37"
        )
    return int(word)


def chosen(tracks: Sequence[Track], named: Sequence[int | Pointed], observations: Observations) -> tuple[Track, ...]:
    """Those of the people who are named, in the order of the tracks.

    Raises:
        InputError: somebody who is not there, or a place where nobody is.
    """
    known = {track.id: track for track in tracks}
    wanted = {who if isinstance(who, int) else _at(tracks, who, observations) for who in named}
    unknown = sorted(wanted - known.keys())
    if unknown:
        raise InputError(f"--person {unknown[0]}: there is no such person; there are {', '.join(map(str, known))}")
    return tuple(track for track in tracks if track.id in wanted)


def _at(tracks: Sequence[Track], place: Pointed, observations: Observations) -> int:
    """Whose the detection is that is pointed at."""
    said = f"--person {place.view}:{place.pixel[0]:g},{place.pixel[1]:g}@{place.frame}"
    numbers, views = observations.frame_numbers, observations.view_names
    if place.view not in views:
        raise InputError(f"{said}: there is no view {place.view}; there are {', '.join(views)}")
    rows = np.flatnonzero(numbers == place.frame)
    if not len(rows):
        raise InputError(f"{said}: frame {place.frame} is not in the take, which has {numbers[0]}-{numbers[-1]}")
    row, view = int(rows[0]), views.index(place.view)
    try:
        detection = nearest_detection(observations, row, view, place.pixel)
    except InputError as error:
        raise InputError(f"{said}: {error}") from None
    owners = [track for track in tracks if track.detection[row, view] == detection]
    if not owners:
        here = [str(track.id) for track in tracks if track.detection[row, view] >= 0]
        others = f"; persons {', '.join(here)} are in this picture" if here else ""
        raise InputError(f"{said}: whoever is there was not followed{others}")

    def away(track: Track) -> float:
        mine = track.of(observations)
        return pixels_away(mine.pixels[row, view], mine.confidence[row, view], place.pixel)

    # Of one detection different people may have parts.
    return min(owners, key=away).id


def nearest_detection(observations: Observations, row: int, view: int, pixel: tuple[float, float]) -> int:
    """The detection of a picture that has the keypoint nearest to a pixel: its place in the view's list.

    Raises:
        InputError: nobody was detected there.
    """
    frame, name = observations.frame_numbers[row], observations.view_names[view]
    best, away, beside = nearest_figure(observations.pixels[row, view], observations.confidence[row, view], pixel)
    if not np.isfinite(away):
        raise InputError(f"nobody was detected in frame {frame} of {name}")
    if beside:
        raise InputError(
            f"nobody was detected there in frame {frame} of {name}; the nearest keypoint is {away:.0f} px away"
        )
    return best
