"""A take's motions as files of other programs."""

from collections.abc import Sequence
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.motion.formats import format_named
from refit_mv.motion.motion import Motion
from refit_mv.motion.sidecar import write_sidecar
from refit_mv.motion.wishes import Wishes
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take


def export(
    take: Take,
    to: str | Sequence[str] = "amass",
    people: int | Sequence[int] | None = None,
    out: str | Path | None = None,
    wishes: Wishes | None = None,
) -> tuple[Path, ...]:
    """Write ``person_<id>`` for each of the people (by their ids, or one id; None: all who were found in any frame) in
    the format ``to``, or in several, into the folder ``out`` (None: the take's own), as ``wishes`` has it. Returns the
    files.

    Raises:
        InputError: no such format or person, a person who was never found, a wish that cannot be met, a format whose
        library is not installed, or a folder that cannot be written to.
    """
    if not isinstance(take, Take):
        raise InputError(f"export writes an open fit (refit_mv.open_take), got a {type(take).__name__}")
    kinds = [format_named(name) for name in ((to,) if isinstance(to, str) else to)]
    wishes = wishes or Wishes()
    known = {person.id: person for person in take.people}
    people = [people] if isinstance(people, int) else people
    unknown = [repr(id) for id in people or () if id not in known]
    if unknown:
        raise InputError(f"{take.folder} has no person {', '.join(unknown)}: choose among {', '.join(map(str, known))}")
    chosen = [known[id] for id in people] if people is not None else [p for p in take.people if p.found]
    folder = take.folder if out is None else Path(out)
    written: list[Path] = []
    for person in chosen:
        motion = wishes.at_rate(motion_of(take, person))
        for kind in kinds:
            ready = wishes.adapted(motion, kind)
            files = kind.write(kind.place(folder, f"person_{person.id}"), ready)
            written += files
            if kind.says:
                written.append(write_sidecar(files[0], kind.name, kind.says, ready, wishes.rest_of(kind), files))
    return tuple(written)


def motion_of(take: Take, person: FittedPerson) -> Motion:
    """A person's motion, with all that is known of it."""
    motion = Motion.of_fit(
        take.body,
        person.params(),
        fps=take.fps,
        frame_numbers=take.frame_numbers,
        status=person.status,
        up=take.session.up,
        name=f"person {person.id}",
    )
    motion = motion.knowing(person.read("joint_seen").astype(bool), person.joint_sigma())
    contacts = None if person.contacts is None else person.contacts.probability
    return motion.standing(contacts, None if take.floor is None else (take.floor.point, take.floor.normal))
