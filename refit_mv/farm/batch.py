"""``refit-mv batch`` as a function: what has to be done of a list of takes, done; and what the morning is told."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.farm.calibrations import calibration_words
from refit_mv.farm.driver import Driver, Patience, Told, performer_tasks
from refit_mv.farm.engine import Engine, EngineOptions, start_engine
from refit_mv.farm.jobs import Key, Night, key_of, recipe_word
from refit_mv.farm.manifest import FILE, Manifest, State
from refit_mv.farm.night_page import night_page
from refit_mv.farm.performers import FILE as PERFORMERS_FILE
from refit_mv.farm.performers import GIVEN, Performer, performer_key, performers_text, read_performers
from refit_mv.farm.places import Place
from refit_mv.farm.receipts import FILE as RECEIPT
from refit_mv.farm.receipts import Receipt
from refit_mv.farm.stages import read_performer, write_performer
from refit_mv.farm.take_list import TakeEntry
from refit_mv.files import alone_in, complete_or_absent, found_at, made_folder
from refit_mv.pipeline import FitRequest

PAGE = "night.html"
# Takes are looked at side by side: a store answers each question after a while.
LOOKING = 8


@dataclass(frozen=True)
class BatchRequest:
    """What to do and with what. ``request`` says how every take is fitted. ``state`` is the folder of the manifest and
    of what engines keep (None: the output, where that is a folder of this machine); ``scratch`` where workers keep
    copies of what a store holds. ``performers``: a file of people who were met before.
    """

    entries: tuple[TakeEntry, ...]
    out: Place
    request: FitRequest
    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0
    state: Path | None = None
    scratch: Path | None = None
    performers: Path | None = None
    patience: Patience = field(default_factory=Patience)

    @property
    def state_folder(self) -> Path:
        """Where the manifest is.

        Raises:
            InputError: the output is a store, and no folder is given.
        """
        if self.state is not None:
            return self.state
        if self.out.remote:
            raise InputError(
                f"--out {self.out} is a store, which holds no manifest: give --state, a folder on this machine"
            )
        return self.out.path

    @property
    def night(self) -> Night:
        """What workers are told."""
        scratch = self.scratch or self.state_folder / "scratch"
        return Night(self.out.absolute, self.request, scratch.absolute(), self.gpus > 0)


@dataclass(frozen=True)
class Planned:
    """What would be done: per take its state, and why it is not what it was."""

    todo: tuple[str, ...]
    states: Mapping[str, State]
    refused: Mapping[str, str]
    keys: Mapping[str, Key]
    met: tuple[str, ...]


def plan_on_paper(batch: BatchRequest) -> Planned:
    """:func:`plan` without a trace: whoever is at work there does not notice.

    Raises:
        InputError: the performers' file or the manifest cannot be read.
    """
    folder = batch.state_folder
    with tempfile.TemporaryDirectory() as paper, ExitStack() as over:
        if found_at(folder / FILE) is not None:
            there = Manifest(folder)
            over.callback(there.close)
            there.copy(Path(paper))
        book = Manifest(Path(paper), write=True)
        over.callback(book.close)
        return plan(batch, book, keep_performers=False)


def plan(batch: BatchRequest, book: Manifest, keep_performers: bool = True) -> Planned:
    """Compare every take with what was done of it. ``keep_performers``: put those who were given into the output.

    Raises:
        InputError: the performers' file cannot be read.
    """
    night, recipe = batch.night, recipe_word(batch.request)
    keys: dict[str, Key] = {}
    refused: dict[str, str] = {}

    # Mostly all takes have one calibration.
    cameras = cache(calibration_words)

    def look(entry: TakeEntry) -> Key | str:
        try:
            return key_of(entry, batch.request, recipe, cameras)
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(LOOKING) as threads:
        for entry, key in zip(batch.entries, threads.map(look, batch.entries), strict=True):
            if isinstance(key, str):
                refused[entry.name] = key
            keys[entry.name] = Key("", recipe, "") if isinstance(key, str) else key
    performers = _performers(batch, night, keep_performers)
    fresh = {who for who, each in performers.items() if each is not None and _fresh(each, batch.request, keys)}
    met = tuple(identifier for identifier, who in performer_tasks(batch.entries).items() if who in fresh)
    with_keys = [(entry, keys[entry.name]) for entry in batch.entries]
    states = book.plan(with_keys)
    todo = []
    for entry in (each for each in batch.entries if each.name not in refused):
        waits = any((entry.day, name) not in fresh for name in entry.performers)
        summary = None if waits else _delivered(night, entry, keys[entry.name], performers)
        if summary is None:
            todo.append(entry.name)
        elif states[entry.name] is not State.DONE:
            # Whoever did it could not say so any more.
            book.begin(entry.name, keys[entry.name])
            book.end(entry.name, State.DONE, summary=summary)
            states[entry.name] = State.DONE
    for name, reason in refused.items():
        book.end(name, State.FAILED, reason)
    return Planned(tuple(todo), states, refused, keys, met)


def _delivered(
    night: Night, entry: TakeEntry, key: Key, performers: Mapping[tuple[str, str], Performer | None]
) -> str | None:
    """What the delivery of a take said, if it is there and of what the take and its performers are made from now."""
    receipt = Receipt.read((night.out / entry.name).read(RECEIPT))
    if receipt is None or not receipt.stands(key.word, lambda name: performers.get((entry.day, name))):
        return None
    return json.dumps(receipt.summary)


def _performers(batch: BatchRequest, night: Night, keep: bool) -> dict[tuple[str, str], Performer | None]:
    """By day and name whom the night has met, or was given; None where it has not yet. ``keep``: whom it was given."""
    wanted = set(performer_tasks(batch.entries).values())
    given = () if batch.performers is None else read_performers(batch.performers)
    mine = {(each.day, each.name): each for each in given if (each.day, each.name) in wanted}
    for performer in mine.values() if keep else ():
        write_performer(night, performer, Performer.file(performer.name, performer.day))
    return {(day, name): mine.get((day, name)) or read_performer(night.out, name, day) for day, name in wanted}


def _fresh(met: Performer, request: FitRequest, keys: Mapping[str, Key]) -> bool:
    """Whether a performer would be met from the same frames again. Takes that came later do not change them."""
    if met.key == GIVEN:
        return True
    changed = any(take in keys and keys[take].word != key for take, key in met.sources.items())
    return not changed and met.key == performer_key(request, met.name, met.day, met.sources)


@dataclass(frozen=True)
class Morning:
    """How the night went. ``seconds`` is how long it took, engine and all; ``worked`` what the stages took, each worker
    counted.
    """

    counts: Mapping[State, int]
    levels: Mapping[str, int]
    done_now: int
    failed_now: int
    page: Path
    seconds: float = 0.0
    worked: float = 0.0


def run_batch(batch: BatchRequest, told: Told, begins: Callable[[Planned], None]) -> Morning:
    """Do what is open. ``begins`` hears what that is, ``told`` of every take that ends.

    Raises:
        InputError: another batch is at work here, the engine is not there, or it went away.
    """
    folder = made_folder(batch.state_folder)
    with alone_in(folder), ExitStack() as over:
        began, book = time.perf_counter(), Manifest(folder, write=True)
        over.callback(book.close)
        # Workers get ready while takes are compared with what was done of them, where there seems to be need.
        early = None if book.finished([entry.name for entry in batch.entries]) else _engine(batch, folder, over)
        planned = plan(batch, book)
        begins(planned)
        ended = {State.DONE: 0, State.FAILED: len(planned.refused)}

        def count(name: str, state: State, said: str) -> None:
            ended[state] += 1
            told(name, state, said)

        for name, reason in planned.refused.items():
            told(name, State.FAILED, reason)
        before = _worked(book)
        try:
            if planned.todo:
                _work(batch, early or _engine(batch, folder, over), planned, book, count)
        finally:
            seconds = time.perf_counter() - began
            page = write_page(batch, book, folder)
        worked = _worked(book) - before
        counts = ended[State.DONE], ended[State.FAILED]
        return Morning(book.counts(), book.levels(), *counts, page, seconds, worked)


def _worked(book: Manifest) -> float:
    return sum((each.seconds for each in book.costs()), 0.0)


def _engine(batch: BatchRequest, folder: Path, over: ExitStack) -> Engine:
    """The engine of a night, which is closed when that is over."""
    options = EngineOptions(
        folder.resolve(), batch.workers, batch.address, batch.slurm, batch.gpus, takes=len(batch.entries)
    )
    engine = start_engine(batch.engine, options)
    over.callback(engine.close)
    return engine


def _work(batch: BatchRequest, engine: Engine, planned: Planned, book: Manifest, told: Told) -> None:
    # Of takes that were refused nobody is met.
    entries = {entry.name: entry for entry in batch.entries if entry.name not in planned.refused}
    Driver(batch.night, entries, planned.keys, engine, book, told, batch.patience).run(planned.todo, planned.met)


def write_page(batch: BatchRequest, book: Manifest, folder: Path) -> Path:
    """The page of the night, and who was met, beside the takes' folders.

    Raises:
        PassingError: the disk or the store refuses.
    """
    path = folder / PAGE
    with complete_or_absent(path) as temporary:
        temporary.write_text(night_page(book, str(batch.out)), encoding="utf-8", errors="backslashreplace")
    names = [PAGE]
    performers = [
        met
        for day, name in performer_tasks(batch.entries).values()
        if (met := read_performer(batch.night.out, name, day))
    ]
    if performers:
        with complete_or_absent(folder / PERFORMERS_FILE) as temporary:
            temporary.write_text(performers_text(performers), encoding="utf-8")
        names.append(PERFORMERS_FILE)
    if batch.out.remote:
        batch.out.send(folder, names)
    return path


def open_book(folder: Path) -> Manifest:
    """The book of a night, to look at.

    Raises:
        InputError: there is none.
    """
    if found_at(folder / FILE) is None and found_at(folder) is None:
        raise InputError(f"{folder}: no such folder; give the output of refit-mv batch")
    return Manifest(folder)


def wrong_files(out: Place, names: Sequence[str]) -> dict[str, list[str]]:
    """Of takes that are done, the files whose bytes are not those that were delivered.

    Raises:
        PassingError: the store cannot be reached.
    """
    wrong: dict[str, list[str]] = {}
    for name in names:
        place = out / name
        receipt = Receipt.read(place.read(RECEIPT))
        if receipt is None:
            wrong[name] = [RECEIPT]
            continue
        for file, expected in receipt.files.items():
            found = place.read(file)
            if found is None or hashlib.sha256(found).hexdigest() != expected.sha256:
                wrong.setdefault(name, []).append(file)
    return wrong
