"""Where a worker works on a take: in its folders where they are on this machine, else in copies of them that come from
and go back to a store.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.farm.calibrations import stored
from refit_mv.farm.jobs import TakeJob, digest, local_request
from refit_mv.farm.places import Place, sha256
from refit_mv.farm.receipts import FILE as RECEIPT
from refit_mv.files import alone_in, complete_or_absent, entries, found_at, made_folder, read_json
from refit_mv.pipeline import FitRequest

# What was fetched and sent, by name, so that nothing travels twice.
_RECORD = ".travelled.json"


@contextmanager
def at_work(job: TakeJob, shared: bool = False) -> Iterator[FitRequest]:
    """The take's request on this machine. What is written into its output goes to the store when the block ends well.
    ``shared``: others may work on other people of the take.

    Raises:
        PassingError: another process is there, or a connection broke.
    """
    scratch = job.night.scratch / job.entry.name
    session = _fetched(job.entry.take, scratch, "session")
    calib = _fetched_calibration(job.entry.calibration, scratch)
    out = made_folder(job.out.path if not job.out.remote else scratch / "out")
    if job.out.remote:
        with _queued(scratch):
            _pull(job.out, out, scratch)
    with alone_in(out, shared):
        yield local_request(job, session, calib, out)
    if job.out.remote:
        with _queued(scratch):
            _push(job.out, out, scratch)


def tidy(job: TakeJob) -> None:
    """Remove the copies of a take that is finished."""
    if job.out.remote or job.entry.take.remote:
        shutil.rmtree(job.night.scratch / job.entry.name, ignore_errors=True)


def _fetched(place: Place, scratch: Path, what: str) -> Path:
    """A remote folder, on this machine."""
    if not place.remote:
        return place.path
    folder = made_folder(scratch / what / place.name)
    with _queued(scratch):
        _fetch(place, place.files(), folder, scratch, f"{what}/")
    return folder


def _fetched_calibration(place: Place | None, scratch: Path) -> Path | None:
    """A calibration, on this machine, with all files that it is read from."""
    if place is None or not place.remote:
        return None if place is None else place.path
    source, files = stored(place)
    # Of files that are called alike in two places none is taken for the other.
    name = f"calibration/{digest(source.url)}"
    folder = made_folder(scratch / name)
    with _queued(scratch):
        for gone in (path for path in entries(folder) if path.is_file() and path.name not in files):
            gone.unlink()
        _fetch(source, files, folder, scratch, f"{name}/")
    return folder if source == place else folder / place.name


@contextmanager
def _queued(scratch: Path) -> Iterator[None]:
    """One process of this machine after the other."""
    made_folder(scratch)
    with (scratch / ".queue").open("w") as handle:
        flock(handle, LOCK_EX)
        yield


def _record(scratch: Path) -> dict[str, str]:
    path = scratch / _RECORD
    if found_at(path) is None:
        return {}
    with suppress(InputError, TypeError, ValueError, AttributeError):
        return {str(name): str(word) for name, word in read_json(path, "record of travels").items()}
    return {}


def _remember(scratch: Path, record: dict[str, str]) -> None:
    with complete_or_absent(scratch / _RECORD, durable=False) as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


def _fetch(place: Place, there: Mapping[str, str], folder: Path, scratch: Path, prefix: str) -> None:
    """What of the files that are there has not arrived yet, as it is there now."""
    record = _record(scratch)
    missing = {
        name: stamp
        for name, stamp in there.items()
        if record.get(prefix + name) != stamp or found_at(folder / name) is None
    }
    try:
        for name, stamp in missing.items():
            place.fetch({name: stamp}, folder)
            record[prefix + name] = stamp
            if prefix == "out/":
                # The store has it: it goes back when it has become different here, and not before.
                record[f"sent/{name}"] = _content(folder / name)
    finally:
        # After a broken connection it goes on where it was.
        _remember(scratch, record)


def _pull(place: Place, out: Path, scratch: Path) -> None:
    """What others did since: what they sent arrives, what they removed goes, unless it became different here."""
    there = {name: stamp for name, stamp in place.files().items() if _travels(name)}
    record = _record(scratch)
    for name in [known for known in _sent(record) if known not in there]:
        if found_at(out / name) is not None and _content(out / name) == record[f"sent/{name}"]:
            (out / name).unlink()
        record.pop(f"sent/{name}")
    _remember(scratch, record)
    _fetch(place, there, out, scratch, "out/")
    for packed in sorted((out / "pose").glob("*.zip")) if (out / "pose").is_dir() else []:
        folder = packed.with_suffix("")
        if not folder.exists():
            with zipfile.ZipFile(packed) as archive:
                archive.extractall(folder)


def _push(place: Place, out: Path, scratch: Path) -> None:
    """What became different since it travelled last, the receipt after everything else."""
    for folder in sorted((out / "pose").glob("*_json")) if (out / "pose").is_dir() else []:
        _packed(folder)
    names = travelling(out)
    record = _record(scratch)
    now = {name: _content(out / name) for name in names}
    changed = [name for name in names if record.get(f"sent/{name}") != now[name]]
    try:
        for name in changed:
            place.send(out, [name])
            record[f"sent/{name}"] = now[name]
        gone = [name for name in _sent(record) if name not in now]
        place.remove(gone)
        for name in gone:
            record.pop(f"sent/{name}")
        if changed:
            # What was sent need not come back; what others sent meanwhile has still to come.
            there = place.files()
            record |= {f"out/{name}": there[name] for name in changed if name in there}
    finally:
        _remember(scratch, record)


def _sent(record: Mapping[str, str]) -> list[str]:
    """Names of the files that the store had, of the content that is recorded, when they travelled last."""
    return [name.removeprefix("sent/") for name in record if name.startswith("sent/")]


def _content(path: Path) -> str:
    return f"sha256 {sha256(path)}"


def _packed(folder: Path) -> None:
    """A view's many small files as one, made anew when there are more of them."""
    target, names = folder.with_name(f"{folder.name}.zip"), [path.name for path in entries(folder)]
    names = [name for name in names if not name.startswith(".")]
    if found_at(target) is not None:
        with zipfile.ZipFile(target) as archive:
            if len(archive.namelist()) == len(names):
                return
    with complete_or_absent(target, durable=False) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())


def travelling(out: Path) -> list[str]:
    """The files of an output that go to a store, the receipt last."""
    found = [name for path in sorted(out.rglob("*")) if path.is_file() and _travels(name := str(path.relative_to(out)))]
    return [name for name in found if name != RECEIPT] + [name for name in found if name == RECEIPT]


def _travels(name: str) -> bool:
    """Not what is being written, nor the many small files of a view, which are packed."""
    path = Path(name)
    return not path.name.startswith(".") and not path.parent.name.endswith("_json")
