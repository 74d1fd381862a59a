"""A fit that is killed and resumed ends with the bits of one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refit_mv import person_solver
from refit_mv.errors import InputError
from refit_mv.take.store import ResultStore

# Chunks of one or two frames, each synced to disk, leave many moments to be killed in.
RECIPES = {
    "gauss-newton": "optimizer: gauss-newton\nchunk_frames: 1\nsubject_frames: 4\noverlay: false\n",
    "refit": "optimizer: refit\nchunk_frames: 1\nsubject_frames: 4\noverlay: false\n",
    "scipy": (
        "optimizer: scipy\nchunk_frames: 2\nsubject_frames: 2\noverlay: false\n"
        "scipy: {kernels: [3.0, 1.0], evaluations: 8, shared_evaluations: 3}\n"
    ),
}
STORE = Path("people/0/fit.h5")
ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 120.0


def finished_chunks(path: Path) -> int:
    """0 while there is no store yet; it appears whole or not at all."""
    try:
        store = ResultStore.open(path)
        return store.chunk_count - len(store.unfinished())
    except InputError:
        return 0


def kill_after(arguments: list[str], store: Path, chunks: int) -> None:
    """Run the program and kill it, uncatchably, as soon as so many chunks are done."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from refit_mv.cli import main; main()", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        if finished_chunks(store) >= chunks:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL, output


def contents(path: Path) -> dict[str, bytes]:
    """Every stored number, as bytes: equality leaves no room for tolerance."""
    store = ResultStore.open(path)
    assert store.unfinished() == ()
    fields = {name: store.read(name).tobytes() for name in store.fields}
    return fields | {name: np.asarray(store.read_static(name)).tobytes() for name in store.static_names()}


@pytest.mark.parametrize("optimizer", RECIPES)
def test_killed_and_resumed_is_bit_for_bit_the_same(
    cli: Callable, session_copy: Callable, tmp_path: Path, optimizer: str
) -> None:
    session, recipe = session_copy(frames=16), tmp_path / "recipe.yaml"
    recipe.write_text(RECIPES[optimizer])
    common = ["fit", str(session), "--recipe", str(recipe)]
    killed, calm = tmp_path / "killed", tmp_path / "calm"

    kill_after([*common, "--out", str(killed)], killed / STORE, chunks=3)
    done = finished_chunks(killed / STORE)
    total = ResultStore.open(killed / STORE).chunk_count
    assert 3 <= done < total
    assert not (killed / "person_0.npz").exists()

    # Killed a second time on the way: resuming can be resumed.
    kill_after([*common, "--out", str(killed), "--resume"], killed / STORE, chunks=done + 2)
    between = finished_chunks(killed / STORE)
    assert done + 2 <= between < total

    assert cli(*common, "--out", killed, "--resume").code == 0
    assert cli(*common, "--out", calm).code == 0
    assert contents(killed / STORE) == contents(calm / STORE)
    with np.load(killed / "person_0.npz") as one, np.load(calm / "person_0.npz") as other:
        assert set(one.files) == set(other.files)
        assert all(one[name].tobytes() == other[name].tobytes() for name in one.files)


def test_finished_chunks_are_not_fitted_again(
    cli: Callable, session_copy: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done is taken as it is: a marked value in a finished chunk survives resuming."""
    session, recipe = session_copy(frames=6), tmp_path / "recipe.yaml"
    recipe.write_text("optimizer: gauss-newton\nchunk_frames: 2\noverlay: false\n")
    out = tmp_path / "out"
    assert cli("fit", session, "--recipe", recipe, "--out", out).code == 0
    before = ResultStore.open(out / STORE).read("cost")

    def forbidden(*_: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(person_solver, "initialise", forbidden)
    assert cli("fit", session, "--recipe", recipe, "--out", out, "--resume").code == 0
    np.testing.assert_array_equal(ResultStore.open(out / STORE).read("cost"), before)
    # Without --resume it does start over, which the planted fault shows.
    with pytest.raises(AssertionError, match="fitted again"):
        cli("fit", session, "--recipe", recipe, "--out", out)


def test_resume_without_anything_to_resume_starts_afresh(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("fit", session_copy(), "--out", out, "--no-overlay", "--resume").code == 0
    assert (out / "report.html").is_file()


def test_overlay_may_be_switched_between_runs(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    """Whether pictures are drawn does not change the numbers, so it does not forbid resuming."""
    session, out = session_copy(frames=3), tmp_path / "out"
    assert cli("fit", session, "--out", out, "--no-overlay").code == 0
    assert not (out / "overlay").exists()
    assert cli("fit", session, "--out", out, "--resume").code == 0
    assert len(list((out / "overlay").glob("*.mp4"))) == 2
