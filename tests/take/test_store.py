"""The store keeps every finished chunk through a kill at any moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.take import store as store_module
from refit_mv.take.store import Field, ResultStore

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {
    "rotation": Field((2, 24, 3, 3), "float32", "joint rotations, local"),
    "status": Field((), "bool"),
    "count": Field((4,), "int32"),
}


def chunk(index: int, rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(index)
    return {
        "rotation": rng.normal(size=(rows, 2, 24, 3, 3)).astype(np.float32),
        "status": rng.random(rows) > 0.5,
        "count": rng.integers(1, 1000, (rows, 4), dtype=np.int32),
    }


def expect(store: ResultStore, index: int) -> None:
    rows = store.chunk_rows(index)
    for name, values in chunk(index, rows.stop - rows.start).items():
        assert np.array_equal(store.read(name, rows), values), (index, name)


CLAIMS = {
    "more rows": ("frames/count", {"data": np.zeros((108, 4), "int32")}),
    "rows that nobody wrote": ("frames/count", {"shape": (105, 4), "chunks": (5, 4), "dtype": "int32"}),
    "rows in another file": ("frames/count", {"shape": (105, 4), "dtype": "int32", "external": [("x", 0, 1680)]}),
    "marks of more chunks": ("done", {"data": np.zeros(7, "uint8")}),
    "text without end": ("static/names", {"shape": (10**9,), "chunks": (1024,), "dtype": "S17"}),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_file_that_claims_what_it_does_not_hold_is_refused(tmp_path: Path, claim: str) -> None:
    place, given = CLAIMS[claim]
    ResultStore.create(tmp_path / "r.h5", 105, FIELDS, {"names": "a b"}, 20, "abc")
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        kept = dict(file[place].attrs)
        del file[place]
        file.create_dataset(place, **given).attrs.update(kept)
    with pytest.raises(InputError, match="damaged result file"):
        ResultStore.open(tmp_path / "r.h5").read_static("names")


def test_what_is_written_is_read(tmp_path):
    static = {
        "view_names": '["a", "ä"]',
        "empty": "",
        "fps": 29.97,
        "frames": 7,
        "shape": np.arange(10.0),
        "long": "x" * 200_000,
    }
    store = ResultStore.create(tmp_path / "r.h5", 105, FIELDS, static, 20, "abc")
    assert (store.chunk_count, store.unfinished()) == (6, tuple(range(6)))
    for index in (5, 0, 3):
        rows = store.chunk_rows(index)
        store.write_chunk(index, chunk(index, rows.stop - rows.start))
    again = ResultStore.open(tmp_path / "r.h5", "abc")
    assert again.unfinished() == (1, 2, 4)
    assert again.finished(3)
    assert not again.finished(4)
    for index in (0, 3, 5):
        expect(again, index)
    assert np.isnan(again.read("rotation", slice(20, 60))).all()
    assert again.fields == FIELDS
    for name, value in static.items():
        assert np.array_equal(again.read_static(name), value)
        assert isinstance(again.read_static(name), type(value))
    with h5py.File(tmp_path / "r.h5") as file:  # any HDF5 reader sees plain datasets
        assert file["frames/rotation"].shape == (105, 2, 24, 3, 3)
        assert file["frames/rotation"].attrs["description"] == b"joint rotations, local"
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.h5"]


def test_writing_changes_no_byte_of_the_structure(tmp_path):
    path = tmp_path / "r.h5"
    store = ResultStore.create(path, 40, FIELDS, {}, 10)
    before = path.read_bytes()
    store.write_chunk(2, chunk(2, 10))
    after = path.read_bytes()
    assert len(before) == len(after)
    changed = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    # Only the chunk's own rows of each field, and one mark.
    own = np.zeros(len(after), dtype=bool)
    for block in store._blocks.values():
        own[block.offset + 20 * block.row_bytes : block.offset + 30 * block.row_bytes] = True
    own[store._done.offset + 2] = True
    assert own[changed].all()
    assert len(changed) > 0


WRITER = """
import sys, time
import numpy as np
sys.path[:0] = {paths!r}
from pathlib import Path
from test_store import chunk
from refit_mv.take import store as module
store = module.ResultStore.open(Path({path!r}), "abc")
whole = module._pwrite_all
started = []
def slow(handle, data, offset):  # in pieces, so that kills fall inside rows
    for start in range(0, len(data), 40000):
        whole(handle, data[start : start + 40000], offset + start)
        if not started:
            print("go", flush=True)
            started.append(True)
        time.sleep(0.001)
module._pwrite_all = slow
{fault}
for index in store.unfinished():
    rows = store.chunk_rows(index)
    store.write_chunk(index, chunk(index, rows.stop - rows.start))
"""
MARK_FIRST = """
original = module.ResultStore.write_chunk
def faulty(self, index, arrays):
    import os
    handle = os.open(self.path, os.O_RDWR); os.pwrite(handle, b"\\x01", self._done.offset + index); os.close(handle)
    original(self, index, arrays)
module.ResultStore.write_chunk = faulty
"""


def run_and_kill(path, delay: float, fault: str = "") -> bool:
    """Start a writer, kill it ``delay`` seconds after its first write; whether it was still running."""
    script = WRITER.format(paths=[os.path.dirname(__file__)], path=str(path), fault=fault)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return process.returncode == -signal.SIGKILL


def test_kills_at_random_moments_lose_no_finished_chunk(tmp_path):
    path = tmp_path / "r.h5"
    ResultStore.create(path, 12000, FIELDS, {"fps": 60.0}, 150, "abc")
    rng = np.random.default_rng(7)
    kills = 0
    for _ in range(5):
        kills += run_and_kill(path, float(rng.uniform(0.01, 0.15)))
        store = ResultStore.open(path, "abc")
        assert store.read_static("fps") == 60.0
        unfinished = store.unfinished()
        for index in set(range(store.chunk_count)) - set(unfinished):
            expect(store, index)
        for index in unfinished:
            assert np.isnan(store.read("rotation", store.chunk_rows(index))).all()
    store = ResultStore.open(path)
    assert kills == 5
    assert 0 < len(store.unfinished()) < store.chunk_count, (
        "kills must fall between the first and the last chunk to test anything"
    )
    for index in store.unfinished():
        store.write_chunk(index, chunk(index, 150))
    for index in range(store.chunk_count):
        expect(store, index)


def test_the_kill_test_catches_a_mark_set_too_early(tmp_path):
    path = tmp_path / "r.h5"
    ResultStore.create(path, 3000, FIELDS, {}, 1500, "abc")
    assert run_and_kill(path, 0.0, MARK_FIRST)  # 2.6 MB in pieces of 40 kB, a millisecond each: certainly unfinished
    store = ResultStore.open(path)
    assert store.finished(0)
    with pytest.raises(AssertionError):
        expect(store, 0)


def test_other_inputs_are_refused(tmp_path):
    ResultStore.create(tmp_path / "r.h5", 10, FIELDS, {}, 5, "abc")
    with pytest.raises(InputError, match="other inputs"):
        ResultStore.open(tmp_path / "r.h5", "abd")


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path):
    good = tmp_path / "r.h5"
    ResultStore.create(good, 100, FIELDS, {}, 5, "abc")
    (tmp_path / "cut.h5").write_bytes(good.read_bytes()[:50_000])
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.attrs["format"], file.attrs["version"] = store_module.FORMAT, 99
    for name in ("cut.h5", "text.h5", "other.h5", "new.h5", "none.h5"):
        with pytest.raises(InputError) as caught:
            ResultStore.open(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        ResultStore.create(tmp_path / "file" / "r.h5", 10, FIELDS, {}, 5)


def test_wrong_chunks_are_programming_errors_and_write_nothing(tmp_path):
    store = ResultStore.create(tmp_path / "r.h5", 100, FIELDS, {}, 10)
    good = chunk(0, 10)
    for bad in (
        {name: value for name, value in good.items() if name != "count"},
        good | {"extra": np.zeros(10)},
        good | {"rotation": good["rotation"][:9]},
        good | {"count": good["count"].astype(float)},
    ):
        with pytest.raises(ValueError, match="chunk 0"):
            store.write_chunk(0, bad)
    with pytest.raises(IndexError):
        store.write_chunk(10, good)
    with pytest.raises(ValueError, match="dtype"):
        ResultStore.create(tmp_path / "s.h5", 10, {"name": Field((), "S8")}, {}, 5)
    with pytest.raises(ValueError, match="needs frames"):
        ResultStore.create(tmp_path / "s.h5", 0, FIELDS, {}, 5)
    assert store.unfinished() == tuple(range(10))


# Before anything, at the header, inside the fields, and one byte before the end.
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_full_disk_is_one_line_and_what_was_there_stays(share: float, tmp_path):
    path = tmp_path / "r.h5"
    ResultStore.create(path, 105, FIELDS, {"note": "x" * 5000}, 20, "abc").write_chunk(0, chunk(0, 20))
    # In a process of its own: limits cannot be raised again, and a crash would end the tests.
    code = (
        "import resource, sys; from refit_mv.errors import InputError; from pathlib import Path\n"
        "from refit_mv.take.store import ResultStore; from tests.take.test_store import FIELDS\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: ResultStore.create(Path(sys.argv[1]), 105, FIELDS, {'note': 'x' * 5000}, 20)\n"
        "except InputError as error: print(error)"
    )
    limit = int(share * path.stat().st_size)
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path), str(limit)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"cannot write {path}: File too large")
    expect(ResultStore.open(path, "abc"), 0)
    assert list(tmp_path.iterdir()) == [path]
