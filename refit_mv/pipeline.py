"""From a session folder to a motion, in one straight line."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from refit_mv.body.files import lasting_source, load_body
from refit_mv.body.model import BodyModel
from refit_mv.checks.cameras import check_cameras
from refit_mv.checks.doubts import borne_out
from refit_mv.checks.places import misplaced_cameras
from refit_mv.delivery import Delivery, deliver
from refit_mv.detect.detector import DETECTORS, CropDetector, Detector, detector
from refit_mv.detect.run_detection import pictures_to_detect, run_detection
from refit_mv.errors import InputError
from refit_mv.files import alone_in, made_folder, path_of
from refit_mv.finding import Finding
from refit_mv.fitting import Fitting
from refit_mv.people.asking import look_again
from refit_mv.people.cast import Cast, Wanted, cast, wanted
from refit_mv.people.closer_look import Looking, look_closer
from refit_mv.people.edits_file import people_edits
from refit_mv.people.person import Person, people_of
from refit_mv.people.plausibility import session_findings
from refit_mv.people.tracks import Track, about_tracks
from refit_mv.profile_choice import AUTO, refuse_unreadable, with_profile
from refit_mv.progress import Progress, quiet
from refit_mv.recipe import FitRecipe
from refit_mv.rigs.mending import MendOptions, check_file, mend, with_mended, write_mended
from refit_mv.rigs.refinement import Refined
from refit_mv.rigs.sayings import Commands
from refit_mv.session.pictures import pictures_of
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import Session, open_session, with_keypoints
from refit_mv.take.fingerprint import as_plain
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.leftovers import clear_others
from refit_mv.take.take import Take, package_versions, write_take

# Where the answers are kept when a detector is asked for people whom it missed.
ASKED = "asked"
# And when it looks again where the fitted bodies are.
CLOSER = "closer"
# The cameras as the people have them.
MENDED = "calib.toml"


@dataclass(frozen=True)
class FitRequest:
    """What to fit and how. ``calib`` None looks for the calibration inside the session; ``out`` None writes to
    ``<session>/refit``. ``mapping`` gives views to cameras where names do not tell. ``people``: "auto", "main", or how
    many at most; ``person``: of these only who is named so, by number or by ``VIEW:X,Y@FRAME``. ``people_edits`` None
    takes corrections of who is who from the session's ``people.yaml``, if it has one. ``height`` is how tall the main
    person is, in metres, where somebody knows: it is compared with how tall they come out. ``refine_rig``: mend the
    cameras by the people first, and fit before the mended ones. ``detector_profile``: a file of ``train detector``,
    "auto" for what is shipped for the detector, or "none".
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
    detector_profile: str = AUTO
    resume: bool = False
    people: str | int = "auto"
    person: tuple[str, ...] = ()
    people_edits: Path | None = None
    height: float | None = None
    refine_rig: bool = False

    def __post_init__(self) -> None:
        # Programs write paths as text, and one person without a tuple around them.
        for name in ("session", "calib", "out", "detector_weights", "people_edits"):
            if name == "session" or getattr(self, name) is not None:
                object.__setattr__(self, name, path_of(getattr(self, name), name))
        if isinstance(self.person, str | int):
            object.__setattr__(self, "person", (str(self.person),))
        for name, kind in (("recipe", FitRecipe), ("frames", slice), ("keypoints", str), ("mapping", Mapping)):
            value = getattr(self, name)
            if not isinstance(value, kind) and (value is not None or name == "recipe"):
                raise InputError(f"{name} of a request: expected a {kind.__name__}, got a {type(value).__name__}")

    @property
    def out_folder(self) -> Path:
        return self.session / "refit" if self.out is None else self.out


def fit(request: FitRequest, progress: Progress = quiet) -> Delivery:
    """Fit the people of a session and write everything a studio needs.

    Raises:
        InputError: the session, the calibration or an option cannot be used; the message says which and what to do.
    """
    began = time.perf_counter()
    session = opened(request)
    with alone_in(made_folder(request.out_folder)):
        return _fit_cast(request, associate(request, session, progress), progress, began)


@dataclass(frozen=True, eq=False)
class Associated:
    """A recording once it is known who is who. ``doubted`` is what its cameras suffer."""

    recording: Recording
    body: BodyModel
    whom: Cast
    doubted: tuple[Finding, ...] = ()

    @cached_property
    def people(self) -> tuple[Person, ...]:
        """Whom to fit, the main person first.

        Raises:
            InputError: body and keypoint set have too few points in common.
        """
        return people_of(self.recording.observations, self.whom.tracks, self.body)


def opened(request: FitRequest) -> Session:
    """The session of a request that can be obeyed.

    Raises:
        InputError: the session, the calibration or an option cannot be used.
    """
    # Before anything is read: what cannot be obeyed.
    request.recipe.build_optimizer()
    _wish(request)
    return _opened(request)


def associate(request: FitRequest, session: Session, progress: Progress = quiet) -> Associated:
    """Detect where nothing is detected yet, read, mend the cameras where that is wanted, and tell who is who.

    Raises:
        InputError: the recording cannot be used, or corrections cannot be made.
    """
    if request.refine_rig:
        check_file(request.out_folder / MENDED, session)
    recording, body, chosen, doubted = _read(session, request, progress)
    if request.refine_rig:
        told = mend(recording, body, request.recipe.people, MendOptions(), progress)
        recording = with_mended(recording, told, request.out_folder / MENDED)
    if isinstance(chosen, CropDetector) and request.recipe.people.look_again:
        recording = _looked_again(recording, body, chosen, request, progress)
    whom = cast(recording.observations, recording.rig, _wish(request), request.recipe.people)
    if isinstance(chosen, CropDetector) and request.recipe.people.closer_looks:
        recording = _looked_closer(recording, body, whom.tracks, chosen, request, progress)
    return Associated(recording, body, whom, doubted)


def fitting(request: FitRequest, known: Associated) -> Fitting:
    """How the people of a request are met and fitted."""
    device = usable_device(request.device)
    return Fitting(known.recording, known.body, request.recipe, device, request.out_folder, request.height)


def _wish(request: FitRequest) -> Wanted:
    return wanted(request.people, request.person, people_edits(request.session, request.people_edits))


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
        known = Associated(recording, body, whom)
        return _fit_cast(request, known, progress, time.perf_counter() if began is None else began)


def _fit_cast(request: FitRequest, known: Associated, progress: Progress, began: float) -> Delivery:
    job, people = fitting(request, known), known.people
    count = len(people)
    fitted = [job.fit(person, request.resume, _of(progress, place, count)) for place, person in enumerate(people)]
    take = finish(request, known, job, fitted, time.perf_counter() - began)
    return deliver(take, request.recipe.overlay, progress)


def finish(
    request: FitRequest, known: Associated, job: Fitting, fitted: Sequence[FittedPerson], seconds: float
) -> Take:
    """The take of all people who are fitted by the ``job``, written down. ``seconds`` is the time the fit took.

    Raises:
        InputError: a file cannot be written.
    """
    people, recording = known.people, known.recording
    clear_others(job.out, fitted)
    judged = [job.judged(*each, main=each[0] is people[0]) for each in zip(people, fitted, strict=True)]
    believed = borne_out([person.findings for person in judged], people)
    told = [replace(person, findings=said) for person, said in zip(judged, believed, strict=True)]
    standing, floor = job.standing(told)
    take = Take(
        folder=job.out,
        session=replace(recording.session, warnings=(*recording.warnings, *known.whom.notes)),
        source_numbers=recording.source_numbers,
        frame_numbers=recording.observations.frame_numbers,
        fps=recording.observations.fps,
        keypoint_set=recording.observations.keypoints.name,
        body=known.body,
        body_source=lasting_source(request.body),
        optimizer=request.recipe.optimizer,
        recipe=as_plain(request.recipe),
        versions=package_versions(),
        seconds=seconds,
        people=job.apart(standing),
        findings=(
            *session_findings(known.body, recording.observations, recording.rig, known.whom.everybody),
            *misplaced_cameras(recording.rig, people),
            *known.doubted,
        ),
        edits=known.whom.edits,
        floor=floor,
    )
    write_take(take)
    return take


def _of(progress: Progress, place: int, count: int) -> Progress:
    """What one of several people tells."""
    return lambda what, done, total: progress(what, place * total + done, count * total)


def refine_rig(request: FitRequest, options: MendOptions, target: Path, progress: Progress = quiet) -> Refined:
    """The rig of a session as the people in it have it, written into ``target`` (TOML); of ``request`` what says how to
    read the session.

    Raises:
        InputError: the session or the calibration cannot be used, too little is seen by two views, or ``target`` is
            the calibration that was read.
    """
    session = _opened(request)
    with alone_in(made_folder(request.out_folder)):
        check_file(target, session)
        recording, body, _, _ = _read(session, request, progress)
        told = mend(recording, body, request.recipe.people, options, progress)
        write_mended(told, target)
        return told


def _opened(request: FitRequest) -> Session:
    if request.detector not in DETECTORS:
        detector(request.detector)
    refuse_unreadable(request.detector_profile)
    return open_session(request.session, request.calib, request.units, request.mapping)


def _read(
    session: Session, request: FitRequest, progress: Progress
) -> tuple[Recording, BodyModel, Detector | None, tuple[Finding, ...]]:
    """What was seen, whose body it is compared with, the detector, where one was run, and what its cameras suffer."""
    session, chosen = _with_detections(session, request, request.out_folder, progress)
    recording = read_recording(session, request.keypoints, request.frames, request.fps)
    recording = with_profile(recording, request.detector_profile)
    body = load_body(request.body)
    doubted = check_cameras(body, recording.observations, recording.rig, _commands(request, session))
    return recording, body, chosen, doubted


def usable_device(name: str) -> str:
    """The device that a request means on this machine.

    Raises:
        InputError: it is not available here.
    """
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


def _looked_closer(
    recording: Recording,
    body: BodyModel,
    tracks: Sequence[Track],
    chosen: CropDetector,
    request: FitRequest,
    progress: Progress,
) -> Recording:
    """The recording with what its detector sees of everybody where their bodies are."""
    recipe = request.recipe
    looking = Looking(
        pictures_of(recording.session, recording.source_numbers),
        chosen,
        recipe.build_keypoint_optimizer(),
        recipe.cost,
        recipe.subject_frames,
        usable_device(request.device),
        request.out_folder / CLOSER,
    )
    seen, rounds = recording.observations, recipe.people.closer_looks
    return replace(recording, observations=look_closer(seen, recording.rig, body, tracks, looking, rounds, progress))
