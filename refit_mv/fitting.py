"""One person after the other, met and fitted chunk by chunk: the stages of a fit between knowing who is who and the
finished take.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from refit_mv.body.model import BodyModel
from refit_mv.checks.doubts import doubts
from refit_mv.files import writing
from refit_mv.image.crop_reading import crop_reader
from refit_mv.optimizers.image import picture_start
from refit_mv.people.following import unconnected
from refit_mv.people.options import PeopleOptions
from refit_mv.people.person import Person
from refit_mv.people.reprojection import left_out_error
from refit_mv.people.subject import Start, Subject, meet
from refit_mv.person_solver import Course, PersonSolver
from refit_mv.progress import Progress, quiet
from refit_mv.recipe import FitRecipe
from refit_mv.session.recording import Recording
from refit_mv.solve.floor import Floor
from refit_mv.solve.result import Optimizer
from refit_mv.take.contact import apart
from refit_mv.take.fingerprint import fingerprint
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.leftovers import without
from refit_mv.take.standing import Holder
from refit_mv.take.take import FILE as TAKE_FILE


@dataclass(frozen=True, eq=False)
class Fitting:
    """What is done for one person after the other, and what they all share. ``height`` is the main person's, metres,
    where it is known.
    """

    recording: Recording
    body: BodyModel
    recipe: FitRecipe
    device: str
    out: Path
    height: float | None = None

    @cached_property
    def connected(self) -> bool:
        """Whether frames are neighbours in time."""
        return not unconnected(self.recording.observations, self.recipe.people)

    def fit(self, person: Person, resume: bool, progress: Progress = quiet) -> FittedPerson:
        """A person's results, all of them on disk."""
        start = self._start(person)
        fitted = self.met(person, resume, start=start, progress=progress)
        solver = self._solver(person, fitted.subject, start)
        for index in fitted.store.unfinished():
            _fit_chunk(solver, person, fitted, index)
            progress("fit", fitted.store.chunk_rows(index).stop, len(fitted))
        return fitted

    def fit_chunk(self, person: Person, fitted: FittedPerson, index: int) -> None:
        """Fit one chunk of a person who has been met. The chunk before must be finished where the motion goes on."""
        _fit_chunk(self._solver(person, fitted.subject, self._start(person)), person, fitted, index)

    def course(self, person: Person) -> Course:
        """What the person's chunks depend on beyond their own frames."""
        return Course.of(person.evidence, 1 / person.observations.fps, self.recipe, self.connected)

    def _solver(self, person: Person, subject: Subject, start: Start | None) -> PersonSolver:
        return PersonSolver(
            self.body,
            self.recording.rig,
            self.recipe,
            subject,
            person.evidence,
            1 / person.observations.fps,
            self.connected,
            self.device,
            start,
        )

    @cached_property
    def _optimizer(self) -> Optimizer:
        return self.recipe.build_optimizer()

    def _start(self, person: Person) -> Start | None:
        """Where the person's frames begin, None: where the keypoints say."""
        if self.recipe.optimizer != "image":
            return None
        reader = crop_reader(self.recording.session, self.recording.source_numbers, person.observations)
        return picture_start(self.body, reader, self.recipe.image, self.device)

    @cached_property
    def _numbers_recipe(self) -> FitRecipe:
        """What of the recipe decides numbers, the observations of a person being given: neither whether pictures are
        drawn, nor why these observations are the person's.
        """
        return replace(self.recipe, overlay=True, people=PeopleOptions())

    def fingerprints(self, person: Person, subject: Subject | None = None) -> tuple[str, str]:
        """What the person's results are made from, and the recording they are part of. ``subject``: who they are, where
        that is known from elsewhere.
        """
        made_from, recorded = (
            fingerprint(self.recording.rig, seen, self.body, self._numbers_recipe, self.recipe.optimizer)
            for seen in (person.observations, self.recording.observations)
        )
        if subject is not None:
            known = subject.shape.numpy().tobytes() + subject.landmark_offset.numpy().tobytes()
            made_from = hashlib.sha256(made_from.encode() + known).hexdigest()
        return made_from, recorded

    def unfinished(self, person: Person, subject: Subject | None = None) -> FittedPerson | None:
        """Results of the very same fit that are there already, complete or not; None where there are none."""
        if not FittedPerson.place(self.out, person.id).exists():
            return None
        earlier = FittedPerson.open(self.out, person.id)
        return earlier if earlier.store.fingerprint == self.fingerprints(person, subject)[0] else None

    def met(
        self,
        person: Person,
        resume: bool,
        subject: Subject | None = None,
        start: Start | None = None,
        progress: Progress = quiet,
    ) -> FittedPerson:
        """The results of an earlier, interrupted run, or room for new ones: then the subject is met first, if it is not
        given. New ones as well where other detections of the same recording were the person's.

        Raises:
            InputError: with ``resume``, results of other inputs are there.
        """
        made_from, recorded = self.fingerprints(person, subject)
        if resume and FittedPerson.place(self.out, person.id).exists():
            earlier = FittedPerson.open(self.out, person.id)
            if earlier.store.fingerprint == made_from or earlier.recorded != recorded:
                return FittedPerson.open(self.out, person.id, made_from)
        progress("person", 0, 1)
        recipe = self._numbers_recipe
        if subject is None:
            subject = meet(
                self.body,
                self.recording.rig,
                person.evidence,
                self._optimizer,
                recipe.cost,
                recipe.subject_frames,
                self.device,
                self._start(person) if start is None else start,
            )
        progress("person", 1, 1)
        fitted = FittedPerson.create(self.out, person, subject, self.body, recipe.chunk_frames, made_from, recorded)
        # What an earlier fit left here is no longer a whole: but only now, that there was room for this one.
        with writing(self.out / TAKE_FILE):
            (self.out / TAKE_FILE).unlink(missing_ok=True)
        return fitted

    def judged(self, person: Person, fitted: FittedPerson, main: bool) -> FittedPerson:
        """The results, with what the views say of each other."""
        recipe = self.recipe
        left_out = left_out_error(
            self.body,
            self.recording.rig,
            person.evidence,
            fitted.subject,
            recipe.build_keypoint_optimizer(),
            recipe.cost,
            self.device,
        )
        known = self.height if main else None
        found = doubts(
            self.body, self.recording.rig, person, fitted.subject, fitted.params(), neighbours=self.connected
        )
        name, hard = person.track.name, person.track.hard
        return replace(fitted, name=name, left_out_px=left_out, findings=found, known_height_m=known, hard=hard)

    def standing(self, fitted: Sequence[FittedPerson]) -> tuple[tuple[FittedPerson, ...], Floor | None]:
        """All people, their feet held where the recipe wants that, and the floor."""
        people, seen = self.recipe.people, self.recording
        # Nothing moves from one frame to the next where that is another moment.
        if not (people.feet and self.recipe.smooth != "off" and self.connected):
            return without(self.out, fitted, "standing"), None
        given = seen.rig, self.recipe.problem_cost, 1 / seen.observations.fps, seen.session.up, people.floor
        return Holder(self.out, self.body, *given).held(fitted)

    def apart(self, fitted: Sequence[FittedPerson]) -> tuple[FittedPerson, ...]:
        """All people, out of one another's way where the recipe wants that."""
        if self.recipe.people.contact:
            return apart(self.out, self.body, self.recording.rig, self.recipe.cost, fitted)
        return without(self.out, fitted, "moved")


def _fit_chunk(solver: PersonSolver, person: Person, fitted: FittedPerson, index: int) -> None:
    """A chunk depends on nothing but the evidence, the subject and the last frames of the chunk before, all read from
    the store.
    """
    chunk = fitted.store.chunk_rows(index)
    solved = solver.solve(chunk, fitted.params(solver.course.preceding(chunk.start)))
    fitted.write_chunk(index, solved.result, solved.evidence, solved.pixel_error, person)
