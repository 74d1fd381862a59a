"""Whom a recording shows and whom of them somebody wants, corrections by hand included."""

from collections.abc import Sequence
from dataclasses import dataclass

from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.edits_file import PeopleEdits
from refit_mv.people.options import PeopleOptions, most_people
from refit_mv.people.pointing import Pointed, chosen, named_people
from refit_mv.people.tracks import Track, about_tracks, follow, with_hard_moments
from refit_mv.session.observations import Observations


@dataclass(frozen=True, eq=False)
class Wanted:
    """Who shall be fitted. ``people`` as :func:`follow` has it; ``edits`` are applied to whom it finds; ``named``: of
    these only who is named by hand.
    """

    people: str | int = "auto"
    named: tuple[int | Pointed, ...] = ()
    edits: PeopleEdits | None = None

    @property
    def by_hand(self) -> bool:
        """Whether anybody has a say in who is who."""
        return self.edits is not None or bool(self.named)


def wanted(people: str | int, words: Sequence[str], edits: PeopleEdits | None) -> Wanted:
    """What somebody says of whom they want.

    Raises:
        InputError: what cannot be obeyed, whoever is there.
    """
    most_people(people)
    named = named_people(words)
    if people == "main" and len(named) > 1:
        raise InputError("--people main is one person: name one with --person, or leave --people out")
    return Wanted(people, named, edits)


@dataclass(frozen=True, eq=False)
class Cast:
    """``tracks`` are to be fitted, the main person first; ``everybody`` was followed, best supported first. ``edits``
    is what was corrected by hand, in words.
    """

    tracks: tuple[Track, ...]
    everybody: tuple[Track, ...]
    edits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def cast(observations: Observations, rig: CameraRig, wish: Wanted, options: PeopleOptions | None = None) -> Cast:
    """Whom to fit.

    Raises:
        InputError: corrections that cannot be made, or somebody named who is not there.
    """
    main = wish.people == "main"
    # Who the main person is may be a matter of the corrections.
    found = follow(observations, rig, "auto" if main and wish.by_hand else wish.people, options)
    edits: tuple[str, ...] = ()
    everybody = found
    if wish.edits is not None:
        corrected = wish.edits.applied(found, observations)
        everybody = tuple(with_hard_moments(corrected.tracks, observations, rig))
        edits = corrected.lines
    tracks = chosen(everybody, wish.named, observations) if wish.named else everybody
    tracks = tracks[:1] if main else tracks
    notes = [f"by hand: {line}" for line in edits]
    if tracks[0].id != found[0].id:
        why = "as named by hand" if wish.named else f"as person {found[0].id} is no more"
        notes.append(f"person {tracks[0].id} is the main one, {why}")
    said = [note for track in everybody for note in track.notes if track not in tracks]
    return Cast(tracks, everybody, edits, (*notes, *said, *about_tracks(observations, tracks, bool(wish.named))))
