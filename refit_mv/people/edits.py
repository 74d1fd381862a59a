"""Who is who, corrected by hand: what somebody who has looked at a fit can say of its people, and what that makes of
them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Int

from refit_mv.errors import InputError
from refit_mv.people.edit_values import (
    DetectionNumber,
    FrameNumber,
    FrameRanges,
    Frames,
    Names,
    NewId,
    PersonId,
    Pixel,
    SeveralIds,
    TwoIds,
    ViewName,
    ViewNames,
)
from refit_mv.people.pointing import nearest_detection
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations


@dataclass(frozen=True, eq=False)
class Edited:
    """People while they are corrected. ``used``: every number that anybody has had; ``lines``: what was done, in
    words.
    """

    tracks: tuple[Track, ...]
    observations: Observations
    used: frozenset[int]
    lines: tuple[str, ...] = ()

    def person(self, id: int) -> Track:
        """Raises InputError where there is no such person."""
        found = next((track for track in self.tracks if track.id == id), None)
        if found is None:
            known = ", ".join(str(track.id) for track in self.tracks)
            raise InputError(f"there is no person {id}; there are {known}" if known else "nobody is left")
        return found

    def there(self, frames: Frames, views: Iterable[str] = ()) -> Bool[np.ndarray, "frame view"]:
        """The chosen frames of the chosen views (none named: all).

        Raises:
            InputError: frames outside of the take, or no such view.
        """
        known = self.observations.view_names
        unknown = [view for view in views if view not in known]
        if unknown:
            raise InputError(f"there is no view {', '.join(unknown)}; there are {', '.join(known)}")
        wanted = np.array([not views or name in views for name in known])
        return frames.rows(self.observations.frame_numbers)[:, None] & wanted

    def after(self, line: str, *changed: Track, new: Track | None = None, gone: Iterable[int] = ()) -> "Edited":
        """With other tracks in the place of those of the same number; whoever has no detection left is no more."""
        now = {track.id: track for track in changed}
        tracks = [now.get(track.id, track) for track in self.tracks if track.id not in set(gone)]
        tracks = [track for track in tracks if track.id not in now or (track.detection >= 0).any()]
        used = self.used if new is None else self.used | {new.id}
        return replace(self, tracks=(*tracks, *(() if new is None else (new,))), used=used, lines=(*self.lines, line))


@dataclass(frozen=True)
class Join:
    """Several are one person, who keeps the first's number. Where two of them have a detection in the same picture, the
    one who is named first has theirs.
    """

    join: SeveralIds

    def applied(self, people: Edited) -> Edited:
        first, *others = (people.person(id) for id in self.join)
        detection, claimed = first.detection, _claimed(first, people.observations)
        twice = np.zeros(len(detection), dtype=bool)
        for other in others:
            more = other.detection >= 0
            twice |= (more & (detection >= 0)).any(-1)
            more &= detection < 0
            detection = np.where(more, other.detection, detection)
            claimed = np.where(more[..., None], _claimed(other, people.observations), claimed)
        whom = _several(self.join[1:])
        line = f"{whom} joined to person {self.join[0]}"
        if twice.any():
            line += f" (in {int(twice.sum())} frames a view shows both, and who is named first counts)"
        return people.after(line, _held(first, detection, claimed), gone=self.join[1:])


@dataclass(frozen=True)
class Split:
    """From frame ``at`` on the person is somebody new, with the number ``new`` (None: the next that nobody has had)."""

    split: PersonId
    at: FrameNumber
    new: NewId = None

    def applied(self, people: Edited) -> Edited:
        track = people.person(self.split)
        later = people.there(Frames(((self.at, None),)))
        seen = track.detection >= 0
        if not (seen & later).any() or not (seen & ~later).any():
            raise InputError(f"there is nothing to split: {_where(track, people)}")
        id = max(people.used) + 1 if self.new is None else self.new
        if id in people.used:
            raise InputError(f"new: {id} is somebody's number already; the next free one is {max(people.used) + 1}")
        claimed = _claimed(track, people.observations)
        parts = [_held(track, np.where(mine, track.detection, -1), claimed) for mine in (~later, later)]
        stranger = replace(parts[1], id=id, name=None, notes=())
        return people.after(f"person {self.split} from frame {self.at} on is person {id}", parts[0], new=stranger)


@dataclass(frozen=True)
class Swap:
    """Two have each other's detections."""

    swap: TwoIds
    frames: FrameRanges = field(default_factory=Frames)
    views: ViewNames = ()

    def applied(self, people: Edited) -> Edited:
        one, other = (people.person(id) for id in self.swap)
        where = people.there(self.frames, self.views)
        if not (where & ((one.detection >= 0) | (other.detection >= 0))).any():
            raise InputError(f"there is nothing to swap: {_where(one, people)}, {_where(other, people)}")
        claims = [_claimed(track, people.observations) for track in (one, other)]
        changed = [
            _held(
                mine,
                np.where(where, theirs.detection, mine.detection),
                np.where(where[..., None], foreign, own),
            )
            for mine, theirs, own, foreign in ((one, other, *claims), (other, one, *claims[::-1]))
        ]
        line = f"{_several(self.swap)} exchanged in {self.frames}{_in_views(self.views)}"
        return people.after(line, *changed)


@dataclass(frozen=True)
class Drop:
    """The person is nobody, at all or there."""

    drop: PersonId
    frames: FrameRanges = field(default_factory=Frames)
    views: ViewNames = ()

    def applied(self, people: Edited) -> Edited:
        track = people.person(self.drop)
        where = people.there(self.frames, self.views)
        if not self.frames.stretches and not self.views:
            return people.after(f"person {self.drop} left out", gone=(self.drop,))
        if not (where & (track.detection >= 0)).any():
            raise InputError(f"there is nothing to drop: {_where(track, people)}")
        kept = _held(track, np.where(where, -1, track.detection), _claimed(track, people.observations))
        line = f"person {self.drop} left out in {self.frames}{_in_views(self.views)}"
        return people.after(line if (kept.detection >= 0).any() else f"{line}: nothing of them is left", kept)


@dataclass(frozen=True)
class Name:
    """What people are called."""

    name: Names

    def applied(self, people: Edited) -> Edited:
        called = {track.name: track.id for track in people.tracks if track.name is not None}
        taken = [name for id, name in self.name if called.get(name, id) != id]
        if taken:
            raise InputError(f"{', '.join(taken)} is somebody else's name already")
        named = [replace(people.person(id), name=name) for id, name in self.name]
        return people.after(f"named: {', '.join(f'person {id} {name}' for id, name in self.name)}", *named)


@dataclass(frozen=True)
class Give:
    """In ``view`` the person has this detection and nobody else has it: the ``detection``-th of the view's list, from
    0, or in each frame the one nearest to the ``pixel``.
    """

    give: PersonId
    view: ViewName
    frames: FrameRanges
    detection: DetectionNumber = None
    pixel: Pixel = None

    def __post_init__(self) -> None:
        if (self.detection is None) == (self.pixel is None):
            raise ValueError("which detection? say either detection: or pixel:")

    def applied(self, people: Edited) -> Edited:
        track, seen = people.person(self.give), people.observations
        where = people.there(self.frames, [self.view])
        rows, view = np.flatnonzero(where.any(-1)), seen.view_names.index(self.view)
        given = np.full(where.shape, -1)
        given[rows, view] = [self._which(seen, row, view) for row in rows.tolist()]
        claimed = np.where(where[..., None], True, _claimed(track, seen))
        changed = [_held(track, np.where(where, given, track.detection), claimed)]
        for other in people.tracks:
            lost = where & (other.detection == given)
            if other.id != track.id and lost.any():
                changed.append(_held(other, np.where(lost, -1, other.detection), _claimed(other, seen)))
        which = (
            f"detection {self.detection}" if self.pixel is None else "the detection at {:g},{:g}".format(*self.pixel)
        )
        return people.after(f"{which} of {self.view} given to person {self.give} in {self.frames}", *changed)

    def _which(self, seen: Observations, row: int, view: int) -> int:
        number = seen.frame_numbers[row]
        if self.pixel is not None:
            return nearest_detection(seen, row, view, self.pixel)
        there = np.flatnonzero((seen.confidence[row, view] > 0).any(-1)).tolist()
        if self.detection not in there:
            known = f"it has {', '.join(map(str, there))}" if there else "it has none"
            raise InputError(f"view {self.view} has no detection {self.detection} in frame {number}; {known}")
        return int(self.detection)


# One correction, as the file has it: the first field is the word that it begins with.
Edit = Join | Split | Swap | Drop | Name | Give
KINDS: dict[str, type[Edit]] = {kind.__name__.lower(): kind for kind in (Join, Split, Swap, Drop, Name, Give)}


def edited(tracks: Sequence[Track], edits: Sequence[Edit], observations: Observations) -> Edited:
    """The people after one correction after the other. Whom no correction is about has the same detections as before,
    and everybody the same number.

    Raises:
        InputError: corrections that cannot be made, all of them, or that leave nobody.
    """
    people = Edited(tuple(tracks), observations, frozenset(track.id for track in tracks))
    problems = []
    for place, edit in enumerate(edits, 1):
        try:
            people = edit.applied(people)
        except InputError as error:
            problems.append(f"edit {place} ({type(edit).__name__.lower()}): {error}")
    if problems:
        raise InputError("; ".join(problems))
    if not people.tracks:
        raise InputError("nobody is left to fit")
    # What was decided while people were followed is told whoever is left.
    notes = tuple(note for track in tracks for note in track.notes)
    first, *others = (replace(track, notes=()) if track.notes else track for track in people.tracks)
    return replace(people, tracks=(replace(first, notes=notes) if notes else first, *others))


def _claimed(track: Track, observations: Observations) -> Bool[np.ndarray, "frame view joint"]:
    if track.claimed is not None:
        return track.claimed
    return np.ones((*track.detection.shape, observations.confidence.shape[-1]), dtype=bool)


def _held(
    track: Track, detection: Int[np.ndarray, "frame view"], claimed: Bool[np.ndarray, "frame view joint"]
) -> Track:
    """The track with other detections; which of their points are theirs says nothing where there is none."""
    claimed = claimed | (detection < 0)[..., None]
    return replace(track, detection=detection, claimed=None if claimed.all() else claimed)


def _several(ids: Sequence[int]) -> str:
    return f"person {ids[0]}" if len(ids) == 1 else f"persons {', '.join(map(str, ids[:-1]))} and {ids[-1]}"


def _in_views(views: Sequence[str]) -> str:
    return f" of {', '.join(views)}" if views else ""


def _where(track: Track, people: Edited) -> str:
    """In which frames somebody is, for messages."""
    numbers = people.observations.frame_numbers[(track.detection >= 0).any(-1)]
    if not len(numbers):
        return f"person {track.id} is in no frame"
    return f"person {track.id} is in frames {numbers[0]}-{numbers[-1]}"
