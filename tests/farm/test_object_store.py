"""Inputs and outputs in an object store: one server for all tests of this file, behind a wire that can be cut."""

import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from refit_mv.errors import PassingError
from refit_mv.farm.batch import plan, run_batch, wrong_files
from refit_mv.farm.jobs import TakeJob
from refit_mv.farm.manifest import Manifest, State
from refit_mv.farm.places import Place
from refit_mv.farm.stages import associate_take
from refit_mv.farm.take_list import read_takes
from refit_mv.farm.workplace import at_work
from refit_mv.files import made_folder
from refit_mv.pipeline import FitRequest
from refit_mv.recipe import with_smoothing
from tests.farm.single_runs import NAMES, RECIPE, numbers, quiet

pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


@dataclass
class Wire:
    """Passes bytes on between a client and the server; ``cuts`` of the next connections end after ``after`` bytes."""

    port: int
    cuts: int = 0
    after: int = 1500
    cut: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.port))
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.cuts > 0 and len(data) > self.after:
                    self.cuts, self.cut = self.cuts - 1, self.cut + 1
                    target.sendall(data[: self.after])
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    wire = Wire(port)
    threading.Thread(target=wire.serve, daemon=True).start()
    told = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{wire.listener.getsockname()[1]}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    yield wire
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    wire.listener.close()
    server.stop()


@pytest.fixture
def bucket(wire: Wire, takes_folder: Path, request: pytest.FixtureRequest) -> str:
    """A bucket with the takes in it."""
    import s3fs

    name = re.sub(r"\W|_", "-", request.node.name)[-60:].strip("-")
    store = s3fs.S3FileSystem()
    store.mkdir(name)
    store.put(f"{takes_folder}/", f"{name}/takes", recursive=True)
    return f"s3://{name}"


def fetched(out: Place, to: Path) -> Path:
    """A take's output, on this machine."""
    out.fetch(out.files(), to)
    return to


def test_inputs_and_outputs_in_a_store_change_no_number(bucket, alone, request_for, here, tmp_path: Path) -> None:
    here()
    out = Place(f"{bucket}/out")
    asked = request_for([f"{bucket}/takes/*"], out=out, state=tmp_path / "state")
    assert run_batch(asked, quiet, quiet).done_now == 2
    for name in NAMES:
        assert numbers(fetched(out / name, tmp_path / name)) == numbers(alone / name)
    assert wrong_files(out, NAMES) == {}
    assert b"take_0/report.html" in (out.read("night.html") or b"")
    # Copies are gone, and what is there is not made again.
    assert not any(path.is_dir() for path in (tmp_path / "state" / "scratch").glob("take_*"))
    again = here()
    run_batch(request_for([f"{bucket}/takes/*"], out=out, state=tmp_path / "state"), quiet, quiet)
    assert again.calls == []
    # Even the manifest may be lost: receipts are believed.
    lost = here()
    again = request_for([f"{bucket}/takes/*"], out=out, state=tmp_path / "other")
    assert run_batch(again, quiet, quiet).counts[State.DONE] == 2
    assert lost.calls == []
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "person_0.npz").write_bytes(b"torn")
    (out / "take_1").send(tmp_path / "torn", ["person_0.npz"])
    assert wrong_files(out, NAMES) == {"take_1": ["person_0.npz"]}


@pytest.mark.parametrize("after", [0, 1500])
def test_a_connection_cut_in_the_middle_loses_nothing(bucket, wire, alone, request_for, here, tmp_path, after) -> None:
    here()
    out = Place(f"{bucket}/out")
    asked = request_for([f"{bucket}/takes/take_0"], out=out, state=tmp_path / "state")

    def cut(_: object) -> None:
        wire.cuts, wire.cut, wire.after = 2, 0, after

    morning = run_batch(asked, quiet, cut)
    assert wire.cut == 2
    assert morning.done_now == 1
    assert numbers(fetched(out / "take_0", tmp_path / "take_0")) == numbers(alone / "take_0")
    assert wrong_files(out, ["take_0"]) == {}


def test_a_store_that_is_away_is_told_and_nothing_is_lost(bucket, wire, request_for, here, tmp_path: Path) -> None:
    here()
    asked = request_for([f"{bucket}/takes/take_0"], out=Place(f"{bucket}/out"), state=tmp_path / "state")

    def cut(_: object) -> None:
        wire.cuts, wire.after = 10_000, 0

    try:
        with pytest.raises(PassingError, match="check the address"):
            run_batch(asked, quiet, cut)
    finally:
        wire.cuts = 0
    (row,) = Manifest(tmp_path / "state").takes(State.FAILED)
    assert "check the address, the credentials and the network" in row.reason
    here()
    assert run_batch(asked, quiet, quiet).done_now == 1


PAIR = "%YAML:1.0\n---\nnames: []\n"


@pytest.fixture
def shelf() -> Iterator[str]:
    """A store in this process's memory, with nothing in it."""
    import fsspec

    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield "memory://shelf"
    system.store.clear()


def put(place: str, content: str | bytes) -> None:
    import fsspec

    system, path = fsspec.core.url_to_fs(place)
    system.pipe_file(path, content.encode() if isinstance(content, str) else content)


def test_all_files_of_a_calibration_come_from_a_store(shelf: str, request_for, tmp_path: Path) -> None:
    for name, content in (
        ("rigs/intri.yml", PAIR),
        ("rigs/extri.yml", PAIR),
        ("rigs/notes.pdf", "notes"),
        ("take/film", "film"),
        ("empty/film", "film"),
    ):
        put(f"{shelf}/{name}", content)

    def looked(calibration: str):
        entries = read_takes([f"{shelf}/take"], f"{shelf}/{calibration}")
        asked = request_for([], entries=entries, state=tmp_path / "state", out=Place(f"{shelf}/out"))
        return asked, plan(asked, Manifest(made_folder(tmp_path / "state"), write=True))

    for calibration, there in (("rigs/intri.yml", "intri.yml"), ("rigs", "")):
        asked, before = looked(calibration)
        assert before.refused == {}
        (entry,) = asked.entries
        with at_work(TakeJob(entry, asked.night, before.keys["take"].word)) as request:
            assert request.calib is not None and (there == "" or request.calib.name == there)
            folder = request.calib if request.calib.is_dir() else request.calib.parent
            assert sorted(path.name for path in folder.iterdir()) == ["extri.yml", "intri.yml"]
        put(f"{shelf}/rigs/extri.yml", PAIR + f"{calibration[:2]}{len(calibration)}: 1\n")
        assert looked(calibration)[1].keys["take"].inputs != before.keys["take"].inputs
        with at_work(TakeJob(entry, asked.night, before.keys["take"].word)) as request:
            assert (folder / "extri.yml").read_text() != PAIR
    assert "give the calibration file itself" in looked("empty")[1].refused["take"]
    assert "no such file or folder" in looked("rigs/other.toml")[1].refused["take"]


def machine(shelf: str, scratch: Path, request_for, take: Path) -> TakeJob:
    """A take as one machine works on it, with copies of its own."""
    asked = request_for([take], out=Place(f"{shelf}/out"), state=scratch, scratch=scratch)
    return TakeJob(asked.entries[0], asked.night, "key")


def test_two_machines_do_not_undo_what_the_other_did(shelf: str, request_for, tmp_path: Path) -> None:
    (tmp_path / "take").mkdir()
    one, other = (machine(shelf, tmp_path / name, request_for, tmp_path / "take") for name in ("one", "other"))
    out = Place(f"{shelf}/out/take")

    def write(job: TakeJob, name: str, text: str) -> None:
        with at_work(job, shared=True) as request:
            made_folder((request.out_folder / name).parent)
            (request.out_folder / name).write_text(text)

    write(one, "people/0/fit.h5", "first")
    with at_work(other, shared=True) as request:
        mine = request.out_folder
        assert (mine / "people/0/fit.h5").read_text() == "first"
        # Meanwhile the first machine goes on, and this one does something else.
        write(one, "people/0/fit.h5", "second")
        made_folder(mine / "people/1")
        (mine / "people/1/fit.h5").write_text("first")
        put(f"{shelf}/out/take/.half.1.0.tmp", "somebody's")
    assert out.read("people/0/fit.h5") == b"second"
    with at_work(other, shared=True):
        assert (mine / "people/0/fit.h5").read_text() == "second"
    with at_work(one, shared=True) as request:
        (request.out_folder / "people/1/fit.h5").unlink()
    with at_work(other, shared=True):
        assert not (mine / "people/1/fit.h5").exists()
    assert sorted(out.files()) == [".half.1.0.tmp", "people/0/fit.h5"]


def test_chunks_of_one_file_in_a_store_wait_for_one_another(shelf: str, request_for, takes_folder, tmp_path) -> None:
    still = FitRequest(Path(), with_smoothing(RECIPE, "off"), device="cpu")
    for out, goes_on in ((f"{shelf}/out", (False, True, True)), (str(tmp_path / "out"), (False, False, False))):
        asked = request_for([takes_folder / "take_0"], out=Place(out), state=tmp_path / "state", request=still)
        (person,) = associate_take(TakeJob(asked.entries[0], asked.night, "key")).people
        assert person.goes_on == goes_on
