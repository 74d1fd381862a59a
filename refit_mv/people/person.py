"""A person of a recording: what everything behind the association is about."""

from collections.abc import Sequence
from dataclasses import dataclass

from refit_mv.body.model import BodyModel
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations, PersonObservations


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody who was followed. ``evidence`` is what their observations say about a body."""

    track: Track
    observations: PersonObservations
    evidence: Evidence

    @property
    def id(self) -> int:
        """Names what is stored of them."""
        return self.track.id


def people_of(observations: Observations, tracks: Sequence[Track], body: BodyModel) -> tuple[Person, ...]:
    """The people whom the tracks follow.

    Raises:
        InputError: body and keypoint set have too few points in common.
        ValueError: two tracks of one number.
    """
    if len({track.id for track in tracks}) < len(tracks):
        raise ValueError(f"every track needs a number of its own, got {[track.id for track in tracks]}")
    mine = [track.of(observations) for track in tracks]
    return tuple(Person(track, seen, evidence_on(body, seen)) for track, seen in zip(tracks, mine, strict=True))
