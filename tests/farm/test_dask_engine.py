"""One scheduler with two workers for all tests of this file; then their deaths."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refit_mv.errors import InputError
from refit_mv.farm.batch import run_batch
from refit_mv.farm.dask_cluster import DaskCluster
from refit_mv.farm.engine import EngineOptions
from tests.farm.single_runs import NAMES, numbers, quiet

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


def test_workers_at_an_address_give_what_single_runs_give(takes, alone, request_for, cluster, tmp_path: Path) -> None:
    asked = request_for([f"{takes}/*"], engine="dask", address=cluster.scheduler_address)
    assert run_batch(asked, quiet, quiet).done_now == 2
    for name in NAMES:
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)


def test_a_killed_worker_costs_nothing(takes, alone, request_for, cluster, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(name: str, *_told: object) -> None:
        if not killed:
            with distributed.Client(cluster.scheduler_address) as client:
                killed.extend(client.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)

    asked = request_for([f"{takes}/*"], engine="dask", address=cluster.scheduler_address)
    morning = run_batch(asked, kill, quiet)
    assert killed and (morning.done_now, morning.failed_now) == (2, 0)
    for name in NAMES:
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)


_SCHEDULER = """
import distributed
if __name__ == "__main__":
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50)
    print(cluster.scheduler_address, flush=True)
    input()
"""


def test_a_killed_scheduler_is_told_and_the_next_run_goes_on(
    takes, alone, request_for, cluster, tmp_path: Path, monkeypatch
) -> None:
    script = tmp_path / "scheduler.py"
    script.write_text(_SCHEDULER, encoding="utf-8")
    scheduler = subprocess.Popen([sys.executable, script], stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True)
    assert scheduler.stdout is not None
    address = scheduler.stdout.readline().strip()

    def kill(*_told: object) -> None:
        monkeypatch.setattr("refit_mv.farm.dask_cluster.MOST_SECONDS_AWAY", 0.5)
        scheduler.kill()

    with scheduler, pytest.raises(InputError, match="the dask scheduler is gone; start it again"):
        run_batch(request_for([f"{takes}/*"], engine="dask", address=address), kill, quiet)
    monkeypatch.undo()
    first = [name for name in NAMES if (tmp_path / "out" / name / "batch.json").exists()]
    stamps = [(tmp_path / "out" / name / "batch.json").stat().st_mtime_ns for name in first]
    assert len(first) == 1
    morning = run_batch(request_for([f"{takes}/*"], engine="dask", address=cluster.scheduler_address), quiet, quiet)
    assert (morning.done_now, morning.failed_now) == (1, 0)
    assert stamps == [(tmp_path / "out" / name / "batch.json").stat().st_mtime_ns for name in first]
    for name in NAMES:
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)


def test_own_workers_do_not_remember_what_they_did(tmp_path: Path) -> None:
    engine = DaskCluster(EngineOptions(tmp_path, workers=1))
    try:
        watched = distributed.default_client().run(lambda dask_worker: "profile" in dask_worker.periodic_callbacks)
        assert list(watched.values()) == [False]
    finally:
        engine.close()


def test_a_cluster_without_workers_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("refit_mv.farm.dask_cluster.SECONDS_ALONE", 0.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as nobody:
        engine = DaskCluster(EngineOptions(tmp_path, address=nobody.scheduler_address))
        with pytest.warns(UserWarning, match="no workers; this waits for some: dask worker tcp://"):
            assert engine.room() == 0
        engine.close()


def test_no_scheduler_at_the_address_is_told(takes, request_for, monkeypatch) -> None:
    monkeypatch.setattr("refit_mv.farm.dask_cluster.MOST_SECONDS_AWAY", 0.5)
    with pytest.raises(InputError, match="no dask scheduler answers"):
        run_batch(request_for([f"{takes}/*"], engine="dask", address="tcp://127.0.0.1:9"), quiet, quiet)
