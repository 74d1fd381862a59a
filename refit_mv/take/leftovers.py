"""What earlier fits left in an output folder of people who are not in this one."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from refit_mv.files import writing
from refit_mv.take.edited_frames import edited_files
from refit_mv.take.fitted_person import STORE, FittedPerson
from refit_mv.take.moved_frames import MovedFrames
from refit_mv.take.standing_frames import StandingFrames
from refit_mv.take.take import FILE

# Nothing but what a fit itself writes: files of other names, and other formats, are somebody's own.
_MOTION = re.compile(r"person_(0|[1-9]\d*)\.(npz|json)")
_NUMBER = re.compile(r"0|[1-9]\d*")


def clear_others(folder: Path, people: Sequence[FittedPerson]) -> None:
    """Delete results of anybody else, and motion files of whoever is in no frame.

    Raises:
        InputError: the folder may not be written to.
    """
    fitted, found = {person.id for person in people}, {person.id for person in people if person.found}
    motions = [path for path in folder.iterdir() if (it := _MOTION.fullmatch(path.name)) and int(it[1]) not in found]
    strangers = [
        place
        for place in (folder / "people").iterdir()
        if _NUMBER.fullmatch(place.name) and int(place.name) not in fitted and not place.is_symlink()
    ]
    # What a killed process was laying out as well.
    stores = [path for place in strangers for path in (*place.glob(".fit.*.tmp.h5"), place / STORE)]
    beside = (MovedFrames, StandingFrames)
    stores += [kind.place(folder, int(place.name)) for kind in beside for place in strangers]
    # A new fit carries no corrections: whoever wants them gives them again.
    stores += [path for place in (folder / "people").iterdir() if place.is_dir() for path in edited_files(place)]
    stale = [path for path in (*motions, *stores) if path.is_file()]
    if not stale:
        return
    # Without one of its people an earlier take is no longer a whole.
    with writing(folder):
        (folder / FILE).unlink(missing_ok=True)
        for path in stale:
            path.unlink(missing_ok=True)
    for place in strangers:
        # A folder with something of somebody's own in it stays.
        with suppress(OSError):
            place.rmdir()


def without(
    folder: Path, people: Sequence[FittedPerson], beside: Literal["standing", "moved"]
) -> tuple[FittedPerson, ...]:
    """Everybody without what lies ``beside`` their fit, whatever was written there before.

    Raises:
        InputError: a file cannot be deleted.
    """
    kind = StandingFrames if beside == "standing" else MovedFrames
    for person in people:
        _discard(folder, kind.place(folder, person.id))
    return tuple(replace(person, **{beside: None}) for person in people)


def _discard(folder: Path, path: Path) -> None:
    """Delete what lies beside somebody's fit, if it is there: an earlier take without it is no longer a whole."""
    with writing(path):
        if path.exists():
            (folder / FILE).unlink(missing_ok=True)
            path.unlink()
