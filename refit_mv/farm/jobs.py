"""What a worker is told about a take, and what the take is made from, in words that change with it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from refit_mv import __version__
from refit_mv.errors import InputError
from refit_mv.farm.calibrations import calibration_words, own_words
from refit_mv.farm.places import Place, sha256
from refit_mv.farm.take_list import TakeEntry
from refit_mv.files import LARGEST_ARCHIVE, regular_file
from refit_mv.pipeline import FitRequest
from refit_mv.profile_choice import AUTO, NONE
from refit_mv.take.fingerprint import NUMBERS, as_plain

# Of a request, what says where and not what.
_PLACES = frozenset({"session", "calib", "out", "resume", "recipe"})


def digest(text: str) -> str:
    """A short word for a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def version_word() -> str:
    """A word for what this process would compute."""
    return digest(f"{NUMBERS} {__version__}")


@dataclass(frozen=True)
class Night:
    """What all takes of a night share. ``request`` says how they are fitted (its session is none of them). ``scratch``
    is where workers keep what comes from and goes to a store. ``gpu``: fits ask the engine for one. ``version``: the
    command's, which its workers must have.
    """

    out: Place
    request: FitRequest
    scratch: Path
    gpu: bool = False
    version: str = field(default_factory=version_word)


@dataclass(frozen=True)
class Key:
    """What a take is made from: its inputs, how it is fitted, and by which version."""

    inputs: str
    recipe: str
    version: str

    @property
    def word(self) -> str:
        return digest(f"{self.inputs} {self.recipe} {self.version}")

    def changed(self, earlier: str) -> str | None:
        """What became different since ``earlier``, a :attr:`text`; None: nothing."""
        parts = earlier.split(" ")
        if len(parts) != 3:
            return "inputs"
        before = Key(*parts)
        names = [each.name for each in fields(self) if getattr(self, each.name) != getattr(before, each.name)]
        return " and ".join(names) or None

    @property
    def text(self) -> str:
        """All parts, as a manifest keeps them."""
        return f"{self.inputs} {self.recipe} {self.version}"


@dataclass(frozen=True)
class TakeJob:
    """One take of a night, as it travels to a worker."""

    entry: TakeEntry
    night: Night
    key: str

    @property
    def out(self) -> Place:
        return self.night.out / self.entry.name


def recipe_word(request: FitRequest) -> str:
    """A word for how takes are fitted."""
    options = {
        each.name: as_plain(getattr(request, each.name))
        for each in fields(request)
        if each.name not in _PLACES and each.name != "frames"
    }
    frames = request.frames
    options["frames"] = None if frames is None else [frames.start, frames.stop, frames.step]
    return digest(json.dumps([as_plain(request.recipe), options], sort_keys=True, default=str))


def key_of(
    entry: TakeEntry,
    request: FitRequest,
    recipe: str,
    calibration: Callable[[Place], tuple[str, ...]] = calibration_words,
) -> Key:
    """What a take is made from. ``recipe`` is the request's :func:`recipe_word`; ``calibration`` says what cameras are
    read from, for who asks about many takes with one.

    Raises:
        InputError: the take is not there, or cannot be read.
        PassingError: it cannot be reached.
    """
    try:
        files = entry.take.files()
        if not files:
            raise InputError(f"{entry.take}: no such folder, or nothing in it")
        told = [f"{name} {stamp}" for name, stamp in files.items() if not name.startswith("refit/")]
        told += own_words(entry.take) if entry.calibration is None else calibration(entry.calibration)
        for word, none in ((request.body, ("open",)), (request.detector_profile, (NONE, AUTO))):
            if word not in none:
                told.append(sha256(regular_file(Path(word), "file", most_bytes=LARGEST_ARCHIVE)))
    except OSError as error:
        where, why = error.filename or entry.take, error.strerror or error
        raise InputError(f"{where}: cannot be read ({why}); give what may be read") from None
    told += [entry.day, *entry.performers]
    return Key(digest("\n".join(told)), recipe, version_word())


def local_request(job: TakeJob, session: Path, calib: Path | None, out: Path) -> FitRequest:
    """The request that fits the take here."""
    return replace(job.night.request, session=session, calib=calib, out=out, resume=False)
