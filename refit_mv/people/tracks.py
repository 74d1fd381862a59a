"""Who is who, across views and time: the people of a recording, and which detections are theirs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.following import followed, unconnected
from refit_mv.people.hard_moments import HardMoment, hard_moments
from refit_mv.people.joining import never_moves, whole_people
from refit_mv.people.limbs import share_limbs
from refit_mv.people.options import PeopleOptions, most_people
from refit_mv.people.recognised import recognise
from refit_mv.session.observations import Observations, PersonObservations


@dataclass(frozen=True, eq=False)
class Track:
    """One person through a recording: which detection of each view is theirs (−1: none), and which of its points (None:
    all of them). ``notes`` are what was decided about them and others. ``hard`` are the moments in which it was hard to
    tell who they are. ``id`` is the number that they keep, whoever else is there; ``name`` what somebody calls them.
    """

    detection: Int[np.ndarray, "frame view"]
    claimed: Bool[np.ndarray, "frame view joint"] | None = None
    notes: tuple[str, ...] = ()
    hard: tuple[HardMoment, ...] = ()
    id: int = 0
    name: str | None = None

    @property
    def agreeing_views(self) -> Int[np.ndarray, " frame"]:
        """How many views were found to show the person."""
        return (self.detection >= 0).sum(-1)

    def without_view(self, view: int) -> "Track":
        """The same person, whom one view does not show."""
        detection = self.detection.copy()
        detection[:, view] = -1
        return replace(self, detection=detection)

    def of(self, observations: Observations) -> PersonObservations:
        """What was seen of the person."""
        seen = observations.person(self.detection)
        if self.claimed is None:
            return seen
        return replace(seen, confidence=np.where(self.claimed, seen.confidence, 0).astype(seen.confidence.dtype))


def follow(
    observations: Observations, rig: CameraRig, people: str | int = "auto", options: PeopleOptions | None = None
) -> tuple[Track, ...]:
    """The people of a recording, best supported first: whom most keypoints of most views agree on over the take, or for
    one view alone who is largest and most confident. ``people``: "auto" for everybody but those who never move, a
    number for so many at most, "main" for the first alone. Always one at least, if with no detections.

    Raises:
        InputError: ``people`` is neither.
    """
    most = most_people(people)
    options = PeopleOptions() if options is None else options
    found = whole_people(followed(observations, rig, options), observations, rig, options)
    if not found:
        return (Track(np.full((len(observations), len(rig)), -1, dtype=np.int64)),)
    notes = []
    if most is None:
        enough = options.still_share * found[0].support.sum()
        statues = [each for each in found if each.support.sum() < enough and never_moves(each, observations, options)]
        found = [person for person in found if person not in statues]
        if statues:
            whom = "somebody who never moves was" if len(statues) == 1 else f"{len(statues)} who never move were"
            notes.append(f"{whom} left out; still_share: 0 among the recipe's people keeps all")
    apart = unconnected(observations, options)
    if len(found) > 1 and apart:
        notes.append("frames are no neighbours: who is who from one to the next is guessed from places and limbs")
    if apart and options.recognise and (alone := recognise(found, observations, rig, options)):
        notes.append(
            f"{alone} times one view alone shows somebody, taken for whoever is found there in other frames; recognise:"
            " false among the recipe's people leaves them out"
        )
    claimed = share_limbs(found, observations, rig)
    both = zip(found, claimed, strict=True)
    tracks = [Track(person.detection, mine, id=id) for id, (person, mine) in enumerate(both)]
    # Before whoever is not wanted goes: they are still there to be taken for somebody.
    tracks = with_hard_moments(tracks, observations, rig)[:most]
    return (replace(tracks[0], notes=tuple(notes)), *tracks[1:])


def with_hard_moments(tracks: Sequence[Track], observations: Observations, rig: CameraRig) -> list[Track]:
    """The same tracks, their hard moments found anew."""
    found = hard_moments({track.id: track.detection for track in tracks}, observations, rig)
    return [replace(track, hard=found[track.id]) for track in tracks]


def about_tracks(observations: Observations, tracks: Sequence[Track], by_hand: bool = False) -> tuple[str, ...]:
    """What a person should know about who was followed. ``by_hand``: whether somebody chose them."""
    notes = [note for track in tracks for note in track.notes]
    crowd = int((observations.confidence.max(-1) > 0).sum(-1).max())
    if crowd > len(tracks):
        alone = f"person {tracks[0].id} was" if by_hand else "the one that the views agree on was"
        ones = alone if len(tracks) == 1 else f"{len(tracks)} of them were"
        notes.insert(0, f"up to {crowd} people are in a picture; {ones} fitted")
    frames, several = len(observations), len(tracks) > 1
    for track in tracks:
        whom, views = f"person {track.id}" if several else "a person", track.agreeing_views
        if several and (views == 0).any():
            notes.append(f"{whom} was followed in {(views > 0).sum()} of {frames} frames")
        # Of one person alone it is told for all frames: nothing else says that they were not there.
        lonely = int(((views < 2) & ((views > 0) | (not several))).sum())
        if len(observations.view_names) > 1 and lonely:
            notes.append(f"in {lonely} of {frames} frames no two views agree on {whom}")
        cut = 0 if track.claimed is None else int(((track.detection >= 0) & ~track.claimed.all(-1)).any(-1).sum())
        if cut:
            notes.append(f"in {cut} of {frames} frames points detected for {whom} are on somebody else and left out")
    return tuple(notes)
