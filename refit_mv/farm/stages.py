"""What workers do: one function for each stage, which anybody may call again.

Each takes what it needs from disk, leaves its result there whole or not at all, and does nothing where that is there
already. So a stage may be killed at any moment, run twice, or run on another machine than the one before.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refit_mv.delivery import Delivery, deliver
from refit_mv.detect.detector import detector
from refit_mv.detect.run_detection import claim_detections, pictures_to_detect, run_detection
from refit_mv.errors import InputError, PassingError
from refit_mv.farm.associated_files import FOLDER, TEXT, read_associated, write_associated
from refit_mv.farm.jobs import Night, TakeJob
from refit_mv.farm.performers import Performer, Source, meet_performer, performer_key, performer_of
from refit_mv.farm.places import Place, sha256
from refit_mv.farm.receipts import FILE as RECEIPT
from refit_mv.farm.receipts import DeliveredFile, Receipt
from refit_mv.farm.tasks import Found, PersonFound
from refit_mv.farm.workplace import at_work, tidy, travelling
from refit_mv.files import alone_in, complete_or_absent, found_at, made_folder, writing
from refit_mv.fitting import Fitting
from refit_mv.people.person import Person
from refit_mv.people.subject import Subject
from refit_mv.pipeline import Associated, FitRequest, associate, finish, fitting, opened, usable_device
from refit_mv.take.fitted_person import FittedPerson

# Of what there is to say about a take, so much is told in the morning.
MOST_FINDINGS = 4


def read_take(job: TakeJob) -> Found:
    """Open a take: is it one, and which views have to be detected?

    Raises:
        InputError: it cannot be used.
    """
    with at_work(job) as request:
        # What another fit left is cleared away stage by stage, but it is no longer what was asked for.
        receipt = request.out_folder / RECEIPT
        there = _receipt(request.out_folder)
        if found_at(receipt) is not None and (there is None or there.key != job.key):
            with writing(receipt):
                receipt.unlink()
        session = opened(request)
        if any(view.keypoints is not None for view in session.views):
            return Found()
        pictures = pictures_to_detect(session)
        claim_detections(session, detector(request.detector, request.detector_weights), request.out_folder)
        return Found(views=tuple(pictures))


def detect_view(job: TakeJob, view: str) -> Found:
    """Detect people in one view's pictures, all of them: a detector that tracks sees them as one film.

    Raises:
        InputError: the pictures cannot be read.
    """
    with at_work(job, shared=True) as request:
        session = opened(request)
        chosen = detector(request.detector, request.detector_weights)
        run_detection(session, chosen, request.out_folder, only=view)
    return Found()


def associate_take(job: TakeJob) -> Found:
    """Who is who in a take.

    Raises:
        InputError: the recording cannot be used.
    """
    with at_work(job) as request:
        known = _known(job, request)
        if known is None:
            fresh = associate(request, opened(request))
            write_associated(request.out_folder, fresh, job.key)
            known = _keep(job, request, fresh)
        return Found(people=tuple(_found(job, known, person) for person in known.associated.people))


def _found(job: TakeJob, known: "_Known", person: Person) -> PersonFound:
    course = known.fitting.course(person)
    # Of one file that two machines send to a store at once, the chunks of one would be lost: there they wait in a row.
    goes_on = [
        course.goes_on(first) or (job.out.remote and first > 0)
        for first in range(0, len(person.evidence), known.fitting.recipe.chunk_frames)
    ]
    return PersonFound(person.id, performer_of(person, known.associated.people, job.entry), tuple(goes_on))


def meet_one(night: Night, name: str, day: str, jobs: Sequence[TakeJob]) -> Found:
    """Meet a performer from all takes of a day that they are in and that could be read.

    Raises:
        InputError: nobody saw them, or the device is not available.
    """
    device = usable_device(night.request.device)
    place = Performer.file(name, day)
    sources = [source for job in jobs if (source := _readable_source(job, name)) is not None]
    key = performer_key(night.request, name, day, {source.take: source.key for source in sources})
    there = read_performer(night.out, name, day)
    if there is not None and there.key == key:
        return Found()
    met = meet_performer(name, day, sources, night.request.recipe, night.request.body, device, key)
    write_performer(night, met, place)
    return Found()


def write_performer(night: Night, met: Performer, place: str) -> None:
    """Keep a performer in the night's output.

    Raises:
        PassingError: the disk or the store refuses.
    """
    root = night.scratch / "night" if night.out.remote else night.out.path
    with complete_or_absent(root / place) as temporary:
        temporary.write_text(json.dumps(met.text(), allow_nan=False), encoding="utf-8")
    if night.out.remote:
        night.out.send(root, [place])


def read_performer(out: Place, name: str, day: str) -> Performer | None:
    """A performer whom the night has met; None where it has not.

    Raises:
        InputError: the file is damaged.
    """
    content = out.read(Performer.file(name, day))
    if content is None:
        return None
    try:
        return Performer.read(json.loads(content))
    except ValueError as error:
        raise InputError(f"{out}/{Performer.file(name, day)}: {error}; delete it") from None


def _readable_source(job: TakeJob, name: str) -> Source | None:
    """:func:`_source`, or None where the take cannot be read: that is told of the take, and the others go on."""
    try:
        return _source(job, name)
    except PassingError:
        raise
    except InputError:
        return None


def _source(job: TakeJob, name: str) -> Source | None:
    """A take's part of a performer; None where nobody could tell who is who, or they are not in it."""
    with at_work(job, shared=True) as request:
        known = _known(job, request)
        if known is None:
            return None
        people = known.associated.people
        mine = next((person for person in people if performer_of(person, people, job.entry) == name), None)
        if mine is None:
            return None
        place = people.index(mine)

    def read() -> Any:
        there = _known(job, request)
        if there is None:
            raise InputError(f"{job.out}: {TEXT} is gone; run again")
        return there.associated.recording.rig, there.associated.body, there.associated.people[place].evidence

    return Source(job.entry.name, job.key, read)


def meet_person(job: TakeJob, person: int) -> Found:
    """Room for a person's results, once it is known who they are.

    Raises:
        InputError: a performer whom nobody met, or who has other keypoints.
    """
    with at_work(job, shared=True) as request:
        known = _needed(job, request)
        mine = known.person(person)
        subject = known.subject(job, mine)
        with alone_in(made_folder(FittedPerson.place(request.out_folder, person).parent)):
            if known.fitting.unfinished(mine, subject) is None:
                known.fitting.met(mine, resume=False, subject=subject)
    return Found()


def fit_chunk(job: TakeJob, person: int, chunk: int) -> Found:
    """Fit one chunk of one person.

    Raises:
        InputError: the person was not met.
    """
    with at_work(job, shared=True) as request:
        known = _needed(job, request)
        mine = known.person(person)
        fitted = known.fitted(job, mine)
        if not fitted.store.finished(chunk):
            known.fitting.fit_chunk(mine, fitted, chunk)
    return Found()


def deliver_take(job: TakeJob, seconds: float) -> Found:
    """Everything that follows from the fits of all people; at the end the receipt. ``seconds``: that the stages took.

    Raises:
        InputError: a person was not fitted.
    """
    with at_work(job) as request:
        out, receipt = request.out_folder, _receipt(request.out_folder)
        # Whoever delivered it may have died before anybody heard of it, and who is who is forgotten by then.
        if receipt is None or not receipt.stands(
            job.key, lambda name: read_performer(job.night.out, name, job.entry.day)
        ):
            known = _needed(job, request)
            people = [known.fitted(job, person) for person in known.associated.people]
            take = finish(request, known.associated, known.fitting, people, seconds)
            summary = _summary(deliver(take, request.recipe.overlay), seconds)
            receipt = Receipt(job.key, known.performers(job), _delivered(out), summary)
            with complete_or_absent(out / RECEIPT) as temporary:
                temporary.write_text(receipt.text(), encoding="utf-8")
        _forget(out)
    tidy(job)
    return Found(summary=json.dumps(receipt.summary))


def _summary(delivery: Delivery, seconds: float) -> dict[str, Any]:
    figures: dict[str, Any] = delivery.summary
    told = [finding for finding in delivery.verdict.findings if finding.level != "good"]
    return {
        "level": delivery.verdict.level,
        "headline": delivery.verdict.headline,
        "findings": [f"{each.text} {each.advice}".strip() for each in told[:MOST_FINDINGS]],
        "points": len(told),
        "frames": figures["frames"],
        "views": figures["views"],
        "people": figures["people"],
        "median_px": figures["median_reprojection_px"],
        "p95_px": figures["p95_reprojection_px"],
        "status": figures["status"],
        "seconds": seconds,
        "report": delivery.report.name,
    }


def _delivered(out: Path) -> dict[str, DeliveredFile]:
    """What is there to stay."""
    names = [name for name in travelling(out) if name != RECEIPT and not name.startswith(f"{FOLDER}/")]
    return {name: DeliveredFile((out / name).stat().st_size, sha256(out / name)) for name in names}


def _receipt(out: Path) -> Receipt | None:
    return Receipt.read(Place(str(out)).read(RECEIPT))


def _forget(out: Path) -> None:
    """What only the stages needed."""
    with writing(out / FOLDER):
        for name in (f"{FOLDER}/associated.json", f"{FOLDER}/associated.npz"):
            (out / name).unlink(missing_ok=True)
        if (out / FOLDER).is_dir() and not os.listdir(out / FOLDER):
            (out / FOLDER).rmdir()


@dataclass(frozen=True, eq=False)
class _Known:
    """A take in this process's memory. Stages of one take mostly follow one another in one process."""

    place: tuple[str, str, int]
    associated: Associated
    fitting: Fitting
    _opened: dict[tuple[int, str], FittedPerson] = field(default_factory=dict)

    def person(self, number: int) -> Person:
        return next(person for person in self.associated.people if person.id == number)

    def performer(self, job: TakeJob, person: Person) -> Performer | None:
        name = performer_of(person, self.associated.people, job.entry)
        if name is None:
            return None
        met = read_performer(job.night.out, name, job.entry.day)
        if met is None:
            raise InputError(f"performer {name} of {job.entry.day or 'all days'} was not met; run again")
        return met

    def subject(self, job: TakeJob, person: Person) -> Subject | None:
        met = self.performer(job, person)
        return None if met is None else met.fits(person, self.associated.body, self.associated.body.name)

    def performers(self, job: TakeJob) -> dict[str, str]:
        met = [self.performer(job, person) for person in self.associated.people]
        return {each.name: each.word for each in met if each is not None}

    def fitted(self, job: TakeJob, person: Person) -> FittedPerson:
        # What tells whether results are of this very fit is a digest of all that was seen: asked once, not every chunk.
        met = self.performer(job, person)
        place = (person.id, "" if met is None else met.word)
        if place not in self._opened:
            found = self.fitting.unfinished(person, self.subject(job, person))
            if found is None:
                raise InputError(f"{job.out}: person {person.id} was not met; run again")
            self._opened[place] = found
        return self._opened[place]


_kept: list[_Known] = []


def _place(job: TakeJob, request: FitRequest) -> tuple[str, str, int]:
    found = found_at(request.out_folder / TEXT)
    return str(request.out_folder), job.key, 0 if found is None else found.st_mtime_ns


def _keep(job: TakeJob, request: FitRequest, associated: Associated) -> _Known:
    """In memory, instead of whichever take was there."""
    known = _Known(_place(job, request), associated, fitting(request, associated))
    _kept[:] = [known]
    return known


def _known(job: TakeJob, request: FitRequest) -> _Known | None:
    place = _place(job, request)
    if place[2] == 0:
        return None
    if _kept and _kept[0].place == place:
        return _kept[0]
    associated = read_associated(request.out_folder, job.key, request.body)
    return None if associated is None else _keep(job, request, associated)


def _needed(job: TakeJob, request: FitRequest) -> _Known:
    known = _known(job, request)
    if known is None:
        raise InputError(f"{job.out}: it is not known who is who; run again")
    return known


def forget_takes() -> None:
    """Free what this process keeps of its last take."""
    _kept.clear()
