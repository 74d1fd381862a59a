"""A person of a recording: what everything behind the association is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from refit_mv.body.model import BodyModel
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations, PersonObservations


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody who was followed. ``id`` counts from 0 and names what is stored of them; ``evidence`` is what their
    observations say about a body.
    """

    id: int
    track: Track
    observations: PersonObservations
    evidence: Evidence


def people_of(observations: Observations, tracks: Sequence[Track], body: BodyModel) -> tuple[Person, ...]:
    """The people whom the tracks follow.

    Raises:
        InputError: body and keypoint set have too few points in common.
    """
    mine = [track.of(observations) for track in tracks]
    return tuple(
        Person(id, track, seen, evidence_on(body, seen))
        for id, (track, seen) in enumerate(zip(tracks, mine, strict=True))
    )
