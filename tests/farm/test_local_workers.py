"""Processes of this machine, and what happens when they are killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from refit_mv.farm.batch import run_batch
from refit_mv.farm.calls import Call
from refit_mv.farm.engine import EngineOptions
from refit_mv.farm.jobs import Night, TakeJob
from refit_mv.farm.local_processes import LocalProcesses
from refit_mv.farm.manifest import FILE, Manifest, State
from refit_mv.farm.places import Place
from refit_mv.farm.take_list import TakeEntry
from refit_mv.farm.tasks import Stage, Task
from refit_mv.pipeline import FitRequest
from refit_mv.recipe import FitRecipe
from tests.farm.single_runs import NAMES, numbers, quiet

RECIPE_TEXT = "optimizer: gauss-newton\noverlay: false\nchunk_frames: 2\n"


def test_two_processes_give_what_single_runs_give_and_a_killed_one_is_replaced(
    takes: Path, alone: Path, request_for, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill_a_worker(name: str, *_told: object) -> None:
        if not killed:
            row = sqlite3.connect(tmp_path / "out" / FILE).execute("SELECT worker FROM stages").fetchone()
            killed.append(int(row[0].rpartition(":")[2]))
            os.kill(killed[0], signal.SIGKILL)

    morning = run_batch(request_for([f"{takes}/*"], workers=2), kill_a_worker, quiet)
    assert killed and (morning.done_now, morning.failed_now) == (2, 0)
    for name in NAMES:
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)


def test_a_worker_that_died_idle_is_replaced(tmp_path: Path) -> None:
    engine = LocalProcesses(EngineOptions(tmp_path, 1, None, {}, 0, takes=1))
    try:
        pool = engine._pool(0)
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        # The pool notices by itself, some time later.
        while not pool._broken:
            time.sleep(0.01)
        night = Night(Place(str(tmp_path)), FitRequest(Path(), FitRecipe()), tmp_path, version="another")
        job = TakeJob(TakeEntry("one", Place("one")), night, "key")
        engine.submit([Call(night, (Task(Stage.READ, "one"),), (job,))])
        ended = []
        while not ended:
            ended = engine.wait(1.0)
        assert ended[0].lost == "" and "another version" in ended[0].done[0].error
    finally:
        engine.close()


def test_a_killed_driver_leaves_what_the_next_one_goes_on_with(takes: Path, alone: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(RECIPE_TEXT, encoding="utf-8")
    main = "from refit_mv.cli import main; main()"
    words = ["batch", f"{takes}/*", "--out", out, "--recipe", recipe, "--device", "cpu", "--workers", "1"]
    command = [sys.executable, "-c", main, *map(str, words)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert driver.stderr is not None
    for line in driver.stderr:
        if line.startswith("done: take_0"):
            break
    driver.kill()
    driver.wait()
    driver.stderr.close()
    stamp = (out / "take_0" / "batch.json").stat().st_mtime_ns
    # The orphaned worker ends when it notices that nobody listens; until then it may be at work on the next take.
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-500:]
    assert "kept" in ran.stderr or "done before" in ran.stderr
    assert (out / "take_0" / "batch.json").stat().st_mtime_ns == stamp
    for name in NAMES:
        assert numbers(out / name) == numbers(alone / name)
    assert Manifest(out).counts()[State.DONE] == 2


def test_workers_are_held_to_one_thread() -> None:
    from refit_mv.farm.worker_process import worker_environment
    from refit_mv.solve.cores import CORES

    code = (
        "import torch; from refit_mv.farm.worker_process import prepare_worker; prepare_worker(); "
        "from refit_mv.solve.cores import usable_cores; print(usable_cores(), torch.get_num_threads())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | worker_environment(), capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["1", "1"]
    assert worker_environment(3)[CORES] == "3"


def test_workers_keep_the_memory_that_they_free() -> None:
    code = (
        "import numpy, resource; from refit_mv.farm.worker_process import keep_memory; {first}"
        "count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt; "
        "large = lambda: numpy.ones(5_000_000).any(); large(); before = count(); "
        "large(), large(), large(); print(count() - before)"
    )
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", code.format(first=first)], stdout=-1, text=True, check=True).stdout)
        for first in ("keep_memory(); ", "")
    )
    # Three times 40 MB: 29,000 pages of the usual size, or 57 large ones where the system gives such.
    assert kept < 20 and (given_back > 50 or sys.platform != "linux")


@pytest.mark.parametrize("engine", ["ray", "loca"])
def test_unknown_engines_are_refused(takes: Path, cli, tmp_path: Path, engine: str) -> None:
    told = cli("batch", takes / "take_0", "--out", tmp_path / "out", "--engine", engine)
    assert told.code == 2 and "local, dask, slurm" in told.err
