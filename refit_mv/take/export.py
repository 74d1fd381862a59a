"""A take's motions as files of other programs."""

from collections.abc import Sequence
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.motion.amass import write_amass
from refit_mv.status import FrameStatus
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take

FORMATS = {"amass": ".npz"}


def export(
    take: Take, to: str = "amass", people: Sequence[int] | None = None, out: Path | None = None
) -> tuple[Path, ...]:
    """Write ``person_<id>`` for each of the people (by their ids; None: all who were found in any frame) in the format
    ``to`` into the folder ``out`` (None: the take's own). Returns the files.

    Raises:
        InputError: no such format or person, a person who was never found, or a folder that cannot be written to.
    """
    if to not in FORMATS:
        raise InputError(f"no motion format '{to}': choose one of {', '.join(sorted(FORMATS))}")
    known = {person.id: person for person in take.people}
    unknown = [str(id) for id in people or () if id not in known]
    if unknown:
        listed = ", ".join(map(str, known))
        raise InputError(f"{take.folder} has no person {', '.join(unknown)}: choose among {listed}")
    chosen = [known[id] for id in people] if people is not None else [p for p in take.people if _found(p)]
    folder = take.folder if out is None else Path(out)
    return tuple(file for person in chosen for file in _write(take, person, folder / f"person_{person.id}", to))


def _found(person: FittedPerson) -> bool:
    return any(status is not FrameStatus.ABSENT for status in person.status)


def _write(take: Take, person: FittedPerson, stem: Path, to: str) -> tuple[Path, ...]:
    return write_amass(
        stem.with_suffix(FORMATS[to]),
        take.body,
        person.params(),
        fps=take.fps,
        frame_numbers=take.frame_numbers,
        status=tuple(str(status) for status in person.status),
        up=take.session.up,
    )
