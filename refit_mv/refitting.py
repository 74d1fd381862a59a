"""A fit after a person's corrections: only the frames around what they touch are solved anew, from the evidence that
the fit was given, and come in place of its own, which stay on disk.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin
from refit_mv.body.soles import has_soles
from refit_mv.delivery import Delivery, deliver
from refit_mv.edits.corrections import Corrected, Corrections
from refit_mv.edits.deviation import Setting, deviate
from refit_mv.edits.file import FILE
from refit_mv.edits.footing import Footing
from refit_mv.edits.kinds import HoldFoot, Keypoint, Strength
from refit_mv.edits.stretches import Stretch, margin_frames, share_of_new, stretches
from refit_mv.edits.targets import Targets, foot_points, held_foot, set_point, target_skin
from refit_mv.errors import InputError
from refit_mv.files import alone_in, found_at, path_of
from refit_mv.people.evidence import Evidence
from refit_mv.person_solver import PersonSolver, Solved
from refit_mv.progress import Progress, quiet
from refit_mv.recipe import FitRecipe
from refit_mv.session.detector_profile import PROFILE_OF
from refit_mv.solve.contact import Standing, move_apart
from refit_mv.solve.terms.motion import Smoothing
from refit_mv.status import STATUS_CODES, FrameStatus
from refit_mv.strict_yaml import validated
from refit_mv.take.contact import BELIEVED, within_reach
from refit_mv.take.edited_frames import EditedFrames, clear_edited, contact_arrays
from refit_mv.take.export import export
from refit_mv.take.fingerprint import NUMBERS
from refit_mv.take.fitted_person import FittedPerson, frame_arrays
from refit_mv.take.take import Take, open_take, write_take

# Evidence up to so many seconds from a stretch bears on it: what is longer unseen is inferred anyhow.
AROUND_S = 2.0


@dataclass(frozen=True, eq=False)
class Refit:
    """A take with its corrections, how many frames were solved for them now, of anybody (those of corrections that are
    not new were there), and how many seconds it took from opening the take until it was whole on disk again.
    """

    take: Take
    solved_frames: int
    seconds: float

    def motions(self) -> tuple[Path, ...]:
        """Write the people's motion files anew.

        Raises:
            InputError: a file cannot be written.
        """
        with alone_in(self.take.folder):
            return export(self.take)

    def deliver(self, progress: Progress = quiet) -> Delivery:
        """Write everything anew that a fit leaves behind.

        Raises:
            InputError: a file cannot be written.
        """
        with alone_in(self.take.folder):
            return deliver(self.take, bool(self.take.recipe.get("overlay", True)), progress)


def refit(
    folder: str | Path,
    edits: str | Path | None = None,
    body: str | Path | None = None,
    progress: Progress = quiet,
) -> Refit:
    """Obey the corrections in ``edits`` (None: the fit's own ``edits.yaml``), all of them and nothing else: what an
    earlier call obeyed and is no longer in the file is undone. ``body``: where the model's file is now.

    Raises:
        InputError: no finished fit, no such file, or corrections that cannot be obeyed.
    """
    began = time.perf_counter()
    folder = path_of(folder, "output folder of a fit")
    path = folder / FILE if edits is None else path_of(edits, "corrections")
    if found_at(path) is None:
        raise InputError(f"no corrections in {path}; write some (docs/editing.md), or say where they are with --edits")
    take = open_take(folder, body, edits_lost=True)
    _refuse_forgotten(take)
    corrections = Corrections.read(path, take)
    with alone_in(folder):
        job = _Job(take, _recipe(take), corrections)
        people, solved = job.people(progress)
        for person in people:
            if person.edited is not None:
                person.edited.write(folder, person.id)
        edited = replace(take, people=people, corrections=tuple(map(str, corrections.edits)))
        # From here on the new frames count, and not before.
        write_take(edited)
        seconds = time.perf_counter() - began
        for person in people:
            clear_edited(folder, person.id, person.edited)
    return Refit(edited, solved, seconds)


def _refuse_forgotten(take: Take) -> None:
    """Earlier versions read keypoints by a detector's profile and did not keep it."""
    read_by_one = any(warning.startswith(PROFILE_OF) for warning in take.warnings)
    if read_by_one and all(person.habits is None for person in take.people):
        raise InputError(
            f"{take.folder} was fitted with --detector-profile by an earlier version, which did not keep the profile: "
            "fit again, then refit"
        )


def _recipe(take: Take) -> FitRecipe:
    """What the take was fitted with."""
    recipe, problems = validated(FitRecipe, dict(take.recipe))
    if recipe is None:
        raise InputError(f"{take.folder}: its recipe is another version's ({'; '.join(problems)}); fit again")
    return recipe


@dataclass(frozen=True, eq=False)
class _Job:
    take: Take
    recipe: FitRecipe
    corrections: Corrections

    @property
    def margin(self) -> int:
        return margin_frames(self.take.fps)

    @cached_property
    def plain(self) -> tuple[FittedPerson, ...]:
        """Everybody as they were before any correction."""
        return tuple(replace(person, edited=None) for person in self.take.people)

    def people(self, progress: Progress) -> tuple[tuple[FittedPerson, ...], int]:
        """Everybody with their corrected frames, and how many of these were solved now."""
        kept: dict[int, list[EditedFrames]] = {person.id: [] for person in self.plain}
        works: list[_Work] = []
        for before, person in zip(self.take.people, self.plain, strict=True):
            tied = self._tied(person)
            touched = self.corrections.touched(person)
            for stretch in stretches(touched, self.margin if tied else 0):
                key = self._key(person, stretch)
                same = None if before.edited is None else before.edited.stretch(stretch.start, stretch.stop, key)
                if same is None:
                    works.append(_Work(self, person, stretch, key, touched, tied))
                else:
                    kept[person.id].append(same)
        for done, work in enumerate(works, 1):
            # Everybody by themselves first: people who give way to each other must all be known.
            _ = work.alone
            progress("refit", done, len(works))
        for work in works:
            kept[work.person.id].append(work.finished(works))
        people = tuple(
            replace(person, edited=EditedFrames.joined(kept[person.id]) if kept[person.id] else None)
            for person in self.plain
        )
        return people, len({row for work in works for row in range(work.stretch.start, work.stretch.stop)})

    def _key(self, person: FittedPerson, stretch: Stretch) -> str:
        """What the frames of a stretch are made from."""
        # Earlier versions did not find contacts anew.
        feet = "" if person.standing is None else "contacts"
        parts = (NUMBERS, person.store.fingerprint, str(stretch), self.corrections.key(stretch.rows), feet)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _tied(self, person: FittedPerson) -> bool:
        """Whether frames are neighbours in time: they are where the fit moved any of them by its neighbours."""
        alone, together = map(person.store.read, ("per_frame_pelvis", "pelvis"))
        return self.recipe.smooth != "off" and (self.recipe.optimizer == "scipy" or bool((alone != together).any()))


@dataclass(frozen=True, eq=False)
class _Work:
    """A stretch of a person's frames to solve. ``touched``: all frames of the take that a correction of theirs is
    about.
    """

    job: _Job
    person: FittedPerson
    stretch: Stretch
    key: str
    touched: Bool[np.ndarray, " frame"]
    tied: bool

    @property
    def rows(self) -> slice:
        return self.stretch.rows

    @cached_property
    def seen(self) -> slice:
        """The rows whose evidence bears on the stretch."""
        around = round(AROUND_S * self.job.take.fps) + self.job.recipe.lookahead
        return slice(max(0, self.stretch.start - around), min(len(self.job.take), self.stretch.stop + around))

    @cached_property
    def corrected(self) -> Corrected:
        """Their evidence, corrected."""
        return self.job.corrections.evidence(self.person, self.seen)

    def within(self, rows: slice) -> slice:
        """Rows of the take among those that are ``seen``."""
        return slice(rows.start - self.seen.start, rows.stop - self.seen.start)

    def solver(self, strength: Smoothing | None = None) -> PersonSolver:
        """What solves the frames, of the recipe's smoothness or another."""
        take, recipe = self.job.take, self.job.recipe
        return PersonSolver(
            take.body,
            take.rig,
            recipe if strength is None else replace(recipe, smooth=strength),
            self.person.subject,
            self.corrected.evidence,
            1 / take.fps,
            self.tied or strength is not None,
            sides_known=self.corrected.sides_known,
        )

    @cached_property
    def alone(self) -> Solved:
        """The stretch by its evidence, as the fit itself would have it, or smoother where that is wished for."""
        solved = self._in_chunks(self.solver())
        for strength in get_args(Strength):
            chosen = self.job.corrections.smooth(self.person, strength)
            if strength == self.job.recipe.smooth or not chosen[self.rows].any():
                continue
            smoother = self._in_chunks(self.solver(strength)).result.params
            share = torch.from_numpy(share_of_new(chosen, self.job.margin)[self.rows])
            params = solved.result.params.blend(smoother, share)
            solved = replace(solved, result=replace(solved.result, params=params))
        return solved

    def _in_chunks(self, solver: PersonSolver) -> Solved:
        """Chunk after chunk, so that a long stretch needs no more memory than a long fit. The first goes on from the
        frames before it, which stay.
        """
        inner, size = self.within(self.rows), self.job.recipe.chunk_frames
        before = solver.course.preceding(inner.start)
        motion = self.person.params_as_fitted(slice(before.start + self.seen.start, before.stop + self.seen.start))
        parts: list[Solved] = []
        for first in range(inner.start, inner.stop, size):
            if parts:
                last = parts[-1].result.params
                motion = last[len(last) - len(range(*solver.course.preceding(first).indices(first))) :]
            parts.append(solver.solve(slice(first, min(first + size, inner.stop)), motion))
        return Solved.joined(parts)

    @cached_property
    def footing(self) -> Footing | None:
        """What the feet do; None where the fit did not ask."""
        take, recipe = self.job.take, self.job.recipe
        if self.person.standing is None or not (self.tied and recipe.people.feet and has_soles(take.body)):
            return None
        return Footing(take, self.person, self.seen, self.within(self.rows), self.alone.result)

    @cached_property
    def standing(self) -> BodyParams:
        """The motion by its evidence, with feet that stand held as they are in the fit, if they are there."""
        if self.footing is None:
            return self.alone.result.params
        return self.footing.held(self._evidence(self.seen), self.job.recipe.problem_cost)

    def _evidence(self, around: slice) -> Evidence:
        """Rows' evidence, that of the stretch as it was fitted."""
        seen = self.corrected.evidence.frames(self.within(around))
        inner = torch.arange(len(self.stretch)) + self.stretch.start - around.start
        own = self.alone.evidence
        return replace(
            seen,
            pixels=seen.pixels.index_copy(0, inner, own.pixels),
            confidence=seen.confidence.index_copy(0, inner, own.confidence),
        )

    def finished(self, works: "Sequence[_Work]") -> EditedFrames:
        """The frames that come in place of the fit's: out of other people's way, led into the motion at both ends, and
        with points where somebody says that they are. ``works``: all that are being done.
        """
        solved, solver = self.alone, self.solver()
        params = self._set(self._led(self._apart(works)))
        result = replace(solved.result, params=params)
        exchanged = self.corrected.exchanged[self.within(self.rows)]
        swapped = exchanged if result.swapped is None else exchanged | result.swapped.cpu()
        arrays = frame_arrays(
            replace(result, swapped=swapped),
            solved.evidence,
            solver.missed(params, solved.evidence),
            self.corrected.detection[self.within(self.rows)],
            self.job.take.frame_numbers[self.rows],
        )
        if self.footing is not None:
            told = list(self.job.corrections.of_kind(HoldFoot, self.person))
            arrays |= contact_arrays(self.footing.contacts(params, told))
        start, stop = (np.array([row], dtype=np.int64) for row in (self.stretch.start, self.stretch.stop))
        return EditedFrames(start, stop, (self.key,), arrays)

    def _apart(self, works: "Sequence[_Work]") -> BodyParams:
        """The motion by its evidence, where others leave room for it. Whoever is not corrected here stays where they
        are.
        """
        job, mine = self.job, self.standing
        if len(job.plain) < 2 or not job.recipe.people.contact:
            return mine
        here = [next((w for w in works if w.person is p and w.stretch == self.stretch), None) for p in job.plain]
        params = [p.params_standing(self.rows) for p in job.plain]
        there = [_believed(p.store.read("status", self.rows)) for p in job.plain]
        for place, person in enumerate(job.plain):
            for work in works:
                if work.person is person:
                    params[place], there[place] = work.put(self.rows, params[place], there[place])
        rows = torch.nonzero(within_reach(params, there))[:, 0]
        if not len(rows):
            return mine
        standing = []
        for person, work, each, present in zip(job.plain, here, params, there, strict=True):
            evidence = (person.evidence(self.rows) if work is None else work.alone.evidence).frames(rows)
            problem = evidence.problem(job.take.body, job.take.rig, job.recipe.cost, "locked")
            standing.append(Standing(person.subject.lock(problem), each[rows], present[rows]))
        moved = move_apart(standing)[job.plain.index(self.person)]
        return mine.put(rows[moved.rows], moved.params)

    def put(
        self, rows: slice, params: BodyParams, there: Bool[Tensor, " frame"]
    ) -> tuple[BodyParams, Bool[Tensor, " frame"]]:
        """Somebody's motion in some ``rows``, and where it is to be believed, with what is new of it."""
        first, last = max(rows.start, self.stretch.start), min(rows.stop, self.stretch.stop)
        if first >= last:
            return params, there
        place, own = (
            torch.arange(first, last) - rows.start,
            slice(first - self.stretch.start, last - self.stretch.start),
        )
        status = [word in BELIEVED for word in self.alone.result.status[own]]
        return params.put(place, self.alone.result.params[own]), there.index_copy(0, place, torch.tensor(status))

    def _led(self, params: BodyParams) -> BodyParams:
        """From the old motion into the new one, and back; where the old one had nobody, the new one is all there is."""
        if not self.tied:
            return params
        share = share_of_new(self.touched, self.job.margin)[self.rows]
        status = self.person.store.read("status", self.rows)
        share[status == STATUS_CODES.index(FrameStatus.ABSENT)] = 1
        return self.person.params(self.rows).blend(params, torch.from_numpy(share))

    def _set(self, params: BodyParams) -> BodyParams:
        """With points and feet where somebody says that they are. Two frames on either side stay."""
        around = slice(max(0, self.stretch.start - 2), min(len(self.job.take), self.stretch.stop + 2))
        shift = self.stretch.start - around.start
        inner = torch.arange(len(self.stretch)) + shift
        motion = self.person.params(around).put(inner, params)
        skin, targets = self._targets(motion, around)
        if not len(targets):
            return params
        status = self.alone.result.status
        free = torch.zeros(len(motion), dtype=torch.bool)
        free[inner] = torch.tensor([word is not FrameStatus.ABSENT for word in status])
        evidence = self._evidence(around)
        take = self.job.take
        problem = self.person.subject.lock(evidence.problem(take.body, take.rig, self.job.recipe.cost, "locked"))
        setting = Setting(problem, free, skin, 1 / take.fps if self.tied else None)
        return deviate(setting, motion, targets)[inner]

    def _targets(self, motion: BodyParams, around: slice) -> tuple[LandmarkSkin, Targets]:
        """The points that are set in these rows, and where."""
        take, corrections = self.job.take, self.job.corrections
        points = list(corrections.of_kind(Keypoint, self.person))
        feet = list(corrections.of_kind(HoldFoot, self.person))
        names = [edit.name for edit, _ in points]
        names += [name for edit, _ in feet for name in foot_points(take.body, edit)]
        names = list(dict.fromkeys(names))
        skin = target_skin(take.body, self.solver().skin, names)
        parts = [Targets.none()]
        for edit, rows in points:
            for frame in np.flatnonzero(rows[around]).tolist():
                parts.append(set_point(take.rig, edit, frame, names.index(edit.name)))
        for edit, rows in feet:
            if rows[self.rows].any():
                own = [names.index(name) for name in foot_points(take.body, edit)]
                parts.append(held_foot(skin, motion, rows[around], own))
        return skin, Targets.joined(parts)


def _believed(status: UInt8[np.ndarray, " frame"]) -> Bool[Tensor, " frame"]:
    return torch.tensor([STATUS_CODES[code] in BELIEVED for code in status])
