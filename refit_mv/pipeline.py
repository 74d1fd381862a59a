"""From a session folder to a motion, in one straight line."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.checks.cameras import check_cameras
from refit_mv.checks.doubts import borne_out, doubts
from refit_mv.checks.places import misplaced_cameras
from refit_mv.delivery import Delivery, deliver
from refit_mv.detect.detector import DETECTORS, CropDetector, Detector, detector
from refit_mv.detect.run_detection import pictures_to_detect, run_detection
from refit_mv.errors import InputError
from refit_mv.files import alone_in, made_folder, writing
from refit_mv.finding import Finding
from refit_mv.image.crop_reading import crop_reader
from refit_mv.optimizers.image import picture_start
from refit_mv.people.asking import look_again
from refit_mv.people.cast import Cast, cast, wanted
from refit_mv.people.edits_file import people_edits
from refit_mv.people.following import unconnected
from refit_mv.people.options import PeopleOptions
from refit_mv.people.person import Person, people_of
from refit_mv.people.plausibility import session_findings
from refit_mv.people.reprojection import left_out_error, pixel_error
from refit_mv.people.subject import Start, meet
from refit_mv.people.tracks import Track, about_tracks
from refit_mv.progress import Progress, quiet
from refit_mv.recipe import FitRecipe
from refit_mv.rigs.mending import MendOptions, mend, with_mended
from refit_mv.rigs.refinement import Refined
from refit_mv.rigs.sayings import Commands
from refit_mv.session.pictures import pictures_of
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import Session, open_session, with_keypoints
from refit_mv.solve.floor import Floor
from refit_mv.solve.gaps import bridged_frames, landmark_age, seen_frames
from refit_mv.solve.initialise import initialise
from refit_mv.take.contact import apart, left_alone
from refit_mv.take.fingerprint import as_plain, fingerprint
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.leftovers import clear_others
from refit_mv.take.standing import Holder, left_standing
from refit_mv.take.take import FILE as TAKE_FILE
from refit_mv.take.take import Take, package_versions, write_take

# Where the answers are kept when a detector is asked for people whom it missed.
ASKED = "asked"
# The cameras as the people have them.
MENDED = "calib.toml"


@dataclass(frozen=True)
class FitRequest:
    """What to fit and how. ``calib`` None looks for the calibration inside the session; ``out`` None writes to
    ``<session>/refit``. ``mapping`` gives views to cameras where names do not tell. ``people``: "auto", "main", or how
    many at most; ``person``: of these only who is named so, by number or by ``VIEW:X,Y@FRAME``. ``people_edits`` None
    takes corrections of who is who from the session's ``people.yaml``, if it has one. ``height`` is how tall the main
    person is, in metres, where somebody knows: it is compared with how tall they come out. ``refine_rig``: mend the
    cameras by the people first, and fit before the mended ones.
    """

    session: Path
    recipe: FitRecipe
    calib: Path | None = None
    out: Path | None = None
    body: str = "open"
    keypoints: str | None = None
    units: str | None = None
    mapping: Mapping[str, str] | None = None
    frames: slice | None = None
    fps: float | None = None
    device: str = "auto"
    detector: str = "blazepose"
    detector_weights: Path | None = None
    resume: bool = False
    people: str | int = "auto"
    person: tuple[str, ...] = ()
    people_edits: Path | None = None
    height: float | None = None
    refine_rig: bool = False

    @property
    def out_folder(self) -> Path:
        return self.session / "refit" if self.out is None else self.out


def fit(request: FitRequest, progress: Progress = quiet) -> Delivery:
    """Fit the people of a session and write everything a studio needs.

    Raises:
        InputError: the session, the calibration or an option cannot be used; the message says which and what to do.
    """
    began = time.perf_counter()
    # Before anything is read: what cannot be obeyed.
    request.recipe.build_optimizer()
    wish = wanted(request.people, request.person, people_edits(request.session, request.people_edits))
    session = _opened(request)
    with alone_in(made_folder(request.out_folder)):
        recording, body, chosen, doubted = _read(session, request, progress)
        if request.refine_rig:
            told = mend(recording, body, request.recipe.people, MendOptions(), progress)
            recording = with_mended(recording, told, request.out_folder / MENDED)
        if isinstance(chosen, CropDetector) and request.recipe.people.look_again:
            recording = _looked_again(recording, body, chosen, request, progress)
        whom = cast(recording.observations, recording.rig, wish, request.recipe.people)
        return _fit_cast(request, recording, body, whom, progress, began, doubted)


def _commands(request: FitRequest, session: Session) -> Commands:
    """The files that advice is about."""
    return Commands(str(session.calibration), str(request.session))


def fit_tracks(
    request: FitRequest,
    recording: Recording,
    body: BodyModel,
    tracks: Sequence[Track],
    progress: Progress = quiet,
    began: float | None = None,
) -> Delivery:
    """:func:`fit` once it is known who is who. ``began``: since when to count the seconds (``time.perf_counter``).

    Raises:
        InputError: no tracks, body and keypoints that do not fit together, or an option that cannot be used.
    """
    if not tracks:
        raise InputError(f"{request.session}: nobody to fit")
    whom = Cast(tuple(tracks), tuple(tracks), notes=about_tracks(recording.observations, tracks))
    with alone_in(made_folder(request.out_folder)):
        return _fit_cast(request, recording, body, whom, progress, time.perf_counter() if began is None else began)


def _fit_cast(
    request: FitRequest,
    recording: Recording,
    body: BodyModel,
    whom: Cast,
    progress: Progress,
    began: float,
    doubted: tuple[Finding, ...] = (),
) -> Delivery:
    job = _Job(recording, body, request.recipe, _device(request.device), request.out_folder, request.height)
    people = people_of(recording.observations, whom.tracks, body)
    fitted = [job.fit(each, request.resume, _of(progress, place, len(people))) for place, each in enumerate(people)]
    seconds = time.perf_counter() - began
    warnings = (*recording.warnings, *whom.notes)
    clear_others(job.out, fitted)
    judged = [job.judged(*each, main=each[0] is people[0]) for each in zip(people, fitted, strict=True)]
    believed = borne_out([person.findings for person in judged], people)
    told = [replace(person, findings=said) for person, said in zip(judged, believed, strict=True)]
    standing, floor = job.standing(told)
    take = Take(
        folder=job.out,
        session=replace(recording.session, warnings=warnings),
        source_numbers=recording.source_numbers,
        frame_numbers=recording.observations.frame_numbers,
        fps=recording.observations.fps,
        keypoint_set=recording.observations.keypoints.name,
        body=body,
        body_source=request.body if request.body == "open" else str(Path(request.body).expanduser().resolve()),
        optimizer=request.recipe.optimizer,
        recipe=as_plain(request.recipe),
        versions=package_versions(),
        seconds=seconds,
        people=job.apart(standing),
        findings=(
            *session_findings(body, recording.observations, recording.rig, whom.everybody),
            *misplaced_cameras(recording.rig, people),
            *doubted,
        ),
        edits=whom.edits,
        floor=floor,
    )
    write_take(take)
    return deliver(take, request.recipe.overlay, progress)


def _of(progress: Progress, place: int, count: int) -> Progress:
    """What one of several people tells."""
    return lambda what, done, total: progress(what, place * total + done, count * total)


def refine_rig(request: FitRequest, options: MendOptions, progress: Progress = quiet) -> Refined:
    """The rig of a session as the people in it have it; of ``request`` what says how to read the session.

    Raises:
        InputError: the session or the calibration cannot be used, or too little is seen by two views.
    """
    session = _opened(request)
    with alone_in(made_folder(request.out_folder)):
        recording, body, _, _ = _read(session, request, progress)
        return mend(recording, body, request.recipe.people, options, progress)


def _opened(request: FitRequest) -> Session:
    if request.detector not in DETECTORS:
        detector(request.detector)
    return open_session(request.session, request.calib, request.units, request.mapping)


def _read(
    session: Session, request: FitRequest, progress: Progress
) -> tuple[Recording, BodyModel, Detector | None, tuple[Finding, ...]]:
    """What was seen, whose body it is compared with, the detector, where one was run, and what its cameras suffer."""
    session, chosen = _with_detections(session, request, request.out_folder, progress)
    recording = read_recording(session, request.keypoints, request.frames, request.fps)
    body = load_body(request.body)
    doubted = check_cameras(body, recording.observations, recording.rig, _commands(request, session))
    return recording, body, chosen, doubted


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # Some names are devices that hold no numbers, or none of this precision, and each refuses in its own way.
        torch.zeros(1, dtype=torch.float64, device=name).tolist()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError, ImportError, AttributeError):
        raise InputError(f"device '{name}' is not available here; use --device cpu, or auto") from None
    return name


def _with_detections(
    session: Session, request: FitRequest, out: Path, progress: Progress
) -> tuple[Session, Detector | None]:
    """Sessions without keypoint files get them from a detector, once: a second run finds them in the output folder."""
    if any(view.keypoints is not None for view in session.views):
        return session, None
    # Before a detector's networks are fetched.
    pictures_to_detect(session)
    # The first time it fetches its networks, which takes a while.
    progress(f"load {request.detector}", 0, 1)
    chosen = detector(request.detector, request.detector_weights)
    progress(f"load {request.detector}", 1, 1)
    folder = run_detection(session, chosen, out, lambda view, done, total: progress(f"detect {view}", done, total))
    return with_keypoints(session, folder), chosen


def _looked_again(
    recording: Recording, body: BodyModel, chosen: CropDetector, request: FitRequest, progress: Progress
) -> Recording:
    """The recording with what its detector finds where people must be whom it missed."""
    pictures = pictures_of(recording.session, recording.source_numbers)
    folder, options = request.out_folder / ASKED, request.recipe.people
    seen = recording.observations
    found = look_again(seen, recording.rig, body, pictures, chosen, options, folder, progress)
    return replace(recording, observations=found)


@dataclass(frozen=True, eq=False)
class _Job:
    """What is done for one person after the other, and what they all share."""

    recording: Recording
    body: BodyModel
    recipe: FitRecipe
    device: str
    out: Path
    height: float | None

    @cached_property
    def _unconnected(self) -> bool:
        return unconnected(self.recording.observations, self.recipe.people)

    def fit(self, person: Person, resume: bool, progress: Progress) -> FittedPerson:
        """A person's results, all of them on disk."""
        start = self._start(person)
        fitted = self._meet(person, start, resume, progress)
        self._solve(person, start, fitted, progress)
        return fitted

    def _start(self, person: Person) -> Start | None:
        """Where the person's frames begin, None: where the keypoints say."""
        if self.recipe.optimizer != "image":
            return None
        reader = crop_reader(self.recording.session, self.recording.source_numbers, person.observations)
        return picture_start(self.body, reader, self.recipe.image, self.device)

    def _meet(self, person: Person, start: Start | None, resume: bool, progress: Progress) -> FittedPerson:
        """The results of an earlier, interrupted run, or room for new ones: then the subject is met first. New ones as
        well where other detections of the same recording were the person's.
        """
        # Whether pictures are drawn does not change the numbers, nor why these observations are the person's.
        recipe = replace(self.recipe, overlay=True, people=PeopleOptions())
        made_from, recorded = (
            fingerprint(self.recording.rig, seen, self.body, recipe, recipe.optimizer)
            for seen in (person.observations, self.recording.observations)
        )
        if resume and FittedPerson.place(self.out, person.id).exists():
            earlier = FittedPerson.open(self.out, person.id)
            if earlier.store.fingerprint == made_from or earlier.recorded != recorded:
                return FittedPerson.open(self.out, person.id, made_from)
        progress("person", 0, 1)
        subject = meet(
            self.body,
            self.recording.rig,
            person.evidence,
            recipe.build_optimizer(),
            recipe.cost,
            recipe.subject_frames,
            self.device,
            start,
        )
        progress("person", 1, 1)
        fitted = FittedPerson.create(self.out, person, subject, self.body, recipe.chunk_frames, made_from, recorded)
        # What an earlier fit left here is no longer a whole: but only now, that there was room for this one.
        with writing(self.out / TAKE_FILE):
            (self.out / TAKE_FILE).unlink(missing_ok=True)
        return fitted

    def _solve(self, person: Person, start: Start | None, fitted: FittedPerson, progress: Progress) -> None:
        """Fit chunk after chunk. A chunk depends on nothing but the evidence, the subject and the last frames of the
        chunk before, all read from the store.
        """
        recipe, rig, evidence, store = self.recipe, self.recording.rig, person.evidence, fitted.store
        optimizer, subject = recipe.build_optimizer(), fitted.subject
        step = 1 / person.observations.fps
        seen = seen_frames(evidence.confidence)
        bridged = bridged_frames(seen, step, recipe.cost.time.longest_gap)
        age = landmark_age(evidence.confidence, step if self._tied else None)
        for index in store.unfinished():
            chunk = store.chunk_rows(index)
            # Frames beyond the chunk are there to be looked at; their own results come with the next chunk.
            wanted = slice(chunk.start, min(chunk.stop + recipe.lookahead, len(evidence)))
            problem = evidence.frames(wanted).problem(self.body, rig, recipe.problem_cost, "locked", device=self.device)
            problem = replace(subject.lock(problem), age=age[wanted].to(self.device))
            if self._tied:
                before = _preceding(fitted, chunk.start, seen | bridged)
                problem = replace(
                    problem,
                    time_step=step,
                    bridged=bridged[wanted].to(self.device),
                    preceding=None if before is None else before.to(torch.float64, self.device),
                )
            initial = initialise(problem) if start is None else start(problem, torch.arange(wanted.start, wanted.stop))
            result = optimizer.solve(problem, subject.dress(initial))[: chunk.stop - chunk.start]
            part = evidence.frames(chunk)
            if result.swapped is not None:
                part = part.with_sides_exchanged(result.swapped.cpu())
            skin = problem.skin.to(torch.float64, "cpu")
            error = pixel_error(skin, rig.stacked(), result.params.to(torch.float64, "cpu"), part)
            fitted.write_chunk(index, result, part, error, person)
            progress("fit", chunk.stop, len(fitted))

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
            self.body, self.recording.rig, person, fitted.subject, fitted.params(), neighbours=not self._unconnected
        )
        name, hard = person.track.name, person.track.hard
        return replace(fitted, name=name, left_out_px=left_out, findings=found, known_height_m=known, hard=hard)

    @property
    def _tied(self) -> bool:
        """Whether frames are neighbours in time. Nothing moves from one to the next where that is another moment."""
        return self.recipe.smooth != "off" and not self._unconnected

    def standing(self, fitted: Sequence[FittedPerson]) -> tuple[tuple[FittedPerson, ...], Floor | None]:
        """All people, their feet held where the recipe wants that, and the floor."""
        people, seen = self.recipe.people, self.recording
        if not (people.feet and self._tied):
            return left_standing(self.out, fitted), None
        given = seen.rig, self.recipe.problem_cost, 1 / seen.observations.fps, seen.session.up, people.floor
        return Holder(self.out, self.body, *given).held(fitted)

    def apart(self, fitted: Sequence[FittedPerson]) -> tuple[FittedPerson, ...]:
        """All people, out of one another's way where the recipe wants that."""
        if self.recipe.people.contact:
            return apart(self.out, self.body, self.recording.rig, self.recipe.cost, fitted)
        return left_alone(self.out, fitted)


def _preceding(fitted: FittedPerson, first: int, present: Bool[Tensor, " frame"]) -> BodyParams | None:
    """The two frames before the ``first``, or the one, whose motion goes on in it."""
    count = 0
    while count < min(2, first) and bool(present[first - 1 - count]):
        count += 1
    return fitted.params(slice(first - count, first)) if count else None
