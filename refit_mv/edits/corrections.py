"""Edits as a fit understands them: whom they are about, in which frames, and what they make of the evidence."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from refit_mv.body.sides import LIMBS, limb_of
from refit_mv.edits.file import as_written, read_edits
from refit_mv.edits.kinds import FrameEdit, HoldFoot, Keypoint, Smooth, SwapSides, Whose, Wrong
from refit_mv.errors import InputError
from refit_mv.people.edit_values import Frames
from refit_mv.people.evidence import Evidence
from refit_mv.people.nearest_figure import nearest_figure
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take

Kind = TypeVar("Kind", Wrong, SwapSides, Keypoint, HoldFoot, Smooth)


@dataclass(frozen=True, eq=False)
class Corrected:
    """Evidence after corrections. ``sides_known``: limbs whose sides somebody has decided on; ``exchanged``: which of
    these are not as the detector has them.
    """

    evidence: Evidence
    sides_known: Bool[Tensor, "frame view limb"]
    exchanged: Bool[Tensor, "frame view limb"]
    detection: Int[np.ndarray, "frame view"]


@dataclass(frozen=True, eq=False)
class Corrections:
    """The edits of a fit, in order, all of which it can obey."""

    take: Take
    edits: tuple[FrameEdit, ...]

    @staticmethod
    def read(path: Path, take: Take) -> "Corrections":
        """The edits of a file.

        Raises:
            InputError: edits that cannot be read, or are about people, views, frames or points that the fit does not
            have: all of them, in one line.
        """
        edits, problems = read_edits(path), []
        for place, edit in enumerate(edits, 1):
            try:
                _check(take, edit)
            except InputError as error:
                problems.append(f"edit {place}: {error}")
        if problems:
            raise InputError(f"{path}: {'; '.join(problems)}")
        # Whom all are about who are about the only one.
        return Corrections(take, tuple(_named(take, edit) for edit in edits))

    def touched(self, person: FittedPerson) -> Bool[np.ndarray, " frame"]:
        """The frames in which an edit is about somebody."""
        touched = np.zeros(len(self.take), dtype=bool)
        for edit in self.edits:
            touched |= self._touches(edit, person)
        return touched

    def _touches(self, edit: FrameEdit, person: FittedPerson) -> Bool[np.ndarray, " frame"]:
        rows = self._rows(edit)
        if isinstance(edit, Whose):
            here = self._owners[self.edits.index(edit)]
            return rows & (here >= 0) & ((here == person.id) | (edit.is_ == person.id))
        return rows if edit.person in (None, person.id) else np.zeros_like(rows)

    def _rows(self, edit: FrameEdit) -> Bool[np.ndarray, " frame"]:
        return _frames(edit).rows(self.take.frame_numbers)

    def key(self, rows: slice) -> str:
        """What is said of anybody in these frames, as one text."""
        said = [as_written(edit) for edit in self.edits if self._rows(edit)[rows].any()]
        return json.dumps(said, sort_keys=True)

    def of_kind(self, kind: type[Kind], person: FittedPerson) -> Iterator[tuple[Kind, Bool[np.ndarray, " frame"]]]:
        """Edits of one kind about somebody, and where."""
        for edit in self.edits:
            if isinstance(edit, kind) and (rows := self._touches(edit, person)).any():
                yield edit, rows

    def smooth(self, person: FittedPerson, strength: str) -> Bool[np.ndarray, " frame"]:
        """Where somebody is to be smoothed so."""
        chosen = np.zeros(len(self.take), dtype=bool)
        for edit, rows in self.of_kind(Smooth, person):
            # Who comes later has the last word.
            chosen = chosen & ~rows if edit.strength != strength else chosen | rows
        return chosen

    @cached_property
    def _owners(self) -> dict[int, Int[np.ndarray, " frame"]]:
        """Of every edit that says whose a detection is, the person whose it was taken for, −1 nobody's."""
        return {
            place: _owner(self.take, edit, self._rows(edit))
            for place, edit in enumerate(self.edits)
            if isinstance(edit, Whose)
        }

    def evidence(self, person: FittedPerson, rows: slice) -> Corrected:
        """What is known of somebody in these frames. Who it is comes first, then what counts for nothing, sides, and
        points that are set.
        """
        seen = person.evidence_as_given(rows)
        detection = person.store.read("detection", rows).copy()
        views, numbers = self.take.rig.names, len(seen)
        seen = replace(seen, pixels=seen.pixels.clone(), confidence=seen.confidence.clone())
        holds = self._holds(person, rows)
        for view in np.flatnonzero((holds != person.id).any(0)).tolist():
            self._exchange(holds[:, view], view, rows, seen, detection)
        for edit, chosen in self.of_kind(Wrong, person):
            here = np.flatnonzero(chosen[rows])
            seen.confidence[here, views.index(edit.view)] = 0
            detection[here, views.index(edit.view)] = -1
        # Sides are as whoever looked at the fit saw them.
        own = detection == person.store.read("detection", rows)
        taken = torch.from_numpy(person.store.read("swapped", rows).astype(bool) & own[..., None])
        known, toggled = (torch.zeros(numbers, len(views), len(LIMBS), dtype=torch.bool) for _ in range(2))
        for edit, chosen in self.of_kind(SwapSides, person):
            for limb in edit.limbs:
                here = np.flatnonzero(chosen[rows])
                known[here, views.index(edit.view), LIMBS.index(limb)] = True
                toggled[here, views.index(edit.view), LIMBS.index(limb)] ^= True
        for edit, chosen in self.of_kind(Keypoint, person):
            limb = limb_of(edit.name)
            if limb is not None:
                known[np.flatnonzero(chosen[rows]), views.index(edit.view), LIMBS.index(limb)] = True
        exchanged = known & (taken ^ toggled)
        seen = seen.with_sides_exchanged(exchanged)
        for edit, chosen in self.of_kind(Keypoint, person):
            assert edit.at is not None
            if edit.name in seen.landmark_names:
                at = np.flatnonzero(chosen[rows]), views.index(edit.view), seen.landmark_names.index(edit.name)
                seen.pixels[at] = torch.tensor(edit.at, dtype=seen.pixels.dtype)
                seen.confidence[at] = 1.0
        return Corrected(seen, known, exchanged, detection)

    def _holds(self, person: FittedPerson, rows: slice) -> Int[np.ndarray, "frame view"]:
        """Whose keypoints of the fit somebody has, after all that was said of who it is; −1: nobody's."""
        holds = np.full((rows.stop - rows.start, len(self.take.rig)), person.id)
        for place, edit in enumerate(self.edits):
            if isinstance(edit, Whose):
                owner = self._owners[place][rows]
                mine = holds[:, self.take.rig.names.index(edit.view)]
                # Nobody else has them any more.
                mine[(owner >= 0) & (mine == owner)] = -1
                if person.id == edit.is_:
                    mine[owner >= 0] = owner[owner >= 0]
        return holds

    def _exchange(
        self,
        holds: Int[np.ndarray, " frame"],
        view: int,
        rows: slice,
        seen: Evidence,
        detection: Int[np.ndarray, "frame view"],
    ) -> None:
        """Put, in place, what somebody ``holds`` of a view where theirs was."""
        lost = np.flatnonzero(holds < 0)
        seen.confidence[lost, view], detection[lost, view] = 0, -1
        for other in self.take.people:
            gained = np.flatnonzero(holds == other.id)
            given = other.evidence_as_given(rows)
            seen.pixels[gained, view] = given.pixels[gained, view]
            seen.confidence[gained, view] = given.confidence[gained, view]
            detection[gained, view] = other.store.read("detection", rows)[gained, view]


def _frames(edit: FrameEdit) -> Frames:
    return Frames(((edit.frame, edit.frame),)) if isinstance(edit, Keypoint) else edit.frames


def _named(take: Take, edit: FrameEdit) -> FrameEdit:
    if isinstance(edit, (Keypoint, HoldFoot)) and edit.person is None:
        return replace(edit, person=take.people[0].id)
    return edit


def _check(take: Take, edit: FrameEdit) -> None:
    """Raises InputError where a fit cannot obey."""
    known = [str(person.id) for person in take.people]
    who = edit.is_ if isinstance(edit, Whose) else edit.person
    if who is not None and str(who) not in known:
        raise InputError(f"there is no person {who}; there are {', '.join(known)}")
    if who is None and isinstance(edit, (Keypoint, HoldFoot)) and len(known) > 1:
        raise InputError(f"whose? say person: {' or '.join(known)}")
    if not isinstance(edit, (HoldFoot, Smooth)) and edit.view not in take.rig.names:
        raise InputError(f"there is no view {edit.view}; there are {', '.join(take.rig.names)}")
    rows = _frames(edit).rows(take.frame_numbers)
    if isinstance(edit, Keypoint) and edit.name not in take.body.landmark_names:
        raise InputError(f"body '{take.body.name}' has no point {edit.name}")
    if isinstance(edit, Whose) and (_owner(take, edit, rows) < 0).all():
        raise InputError(
            f"none of the fitted people is there in {edit.view}; give them the detection in people.yaml, and fit again"
        )


def _owner(take: Take, edit: Whose, rows: Bool[np.ndarray, " frame"]) -> Int[np.ndarray, " frame"]:
    """Per frame whose keypoints are nearest to the edit's pixel, −1 where nobody's are near or it is not asked."""
    assert edit.at is not None
    owner = np.full(len(rows), -1)
    asked, view = np.flatnonzero(rows), take.rig.names.index(edit.view)
    around = slice(int(asked[0]), int(asked[-1]) + 1)
    seen: Sequence[Evidence] = [person.evidence_as_given(around) for person in take.people]
    for row in asked.tolist():
        pixels, confidence = (
            np.stack([getattr(each, name)[row - around.start, view].numpy() for each in seen])
            for name in ("pixels", "confidence")
        )
        best, _, beside = nearest_figure(pixels, confidence, edit.at)
        if not beside:
            owner[row] = take.people[best].id
    return owner
