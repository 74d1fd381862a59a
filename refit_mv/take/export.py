"""A take's motions as files of other programs."""

from collections.abc import Sequence
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.motion.formats import format_named
from refit_mv.motion.motion import Motion
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take


def export(
    take: Take, to: str = "amass", people: Sequence[int] | None = None, out: Path | None = None
) -> tuple[Path, ...]:
    """Write ``person_<id>`` for each of the people (by their ids; None: all who were found in any frame) in the format
    ``to`` into the folder ``out`` (None: the take's own). Returns the files.

    Raises:
        InputError: no such format or person, a person who was never found, or a folder that cannot be written to.
    """
    kind = format_named(to)
    known = {person.id: person for person in take.people}
    unknown = [str(id) for id in people or () if id not in known]
    if unknown:
        raise InputError(f"{take.folder} has no person {', '.join(unknown)}: choose among {', '.join(map(str, known))}")
    chosen = [known[id] for id in people] if people is not None else [p for p in take.people if p.found]
    folder = take.folder if out is None else Path(out)
    files = [kind.write(folder / f"person_{person.id}{kind.suffix}", _motion(take, person)) for person in chosen]
    return tuple(file for each in files for file in each)


def _motion(take: Take, person: FittedPerson) -> Motion:
    motion = Motion.of_fit(
        take.body,
        person.params(),
        fps=take.fps,
        frame_numbers=take.frame_numbers,
        status=person.status,
        up=take.session.up,
        name=f"person {person.id}",
    )
    return motion.knowing(person.store.read("joint_seen").astype(bool), person.joint_sigma())
