"""One scheduler with two workers for all tests of this file; then their deaths."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.farm.batch import run_batch
from tests.farm.single_runs import NAMES, numbers, quiet

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator["distributed.LocalCluster"]:
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


def test_no_scheduler_at_the_address_is_told(takes, request_for, monkeypatch) -> None:
    monkeypatch.setattr("refit_mv.farm.dask_cluster.MOST_SECONDS_AWAY", 0.5)
    with pytest.raises(InputError, match="no dask scheduler answers"):
        run_batch(request_for([f"{takes}/*"], engine="dask", address="tcp://127.0.0.1:9"), quiet, quiet)
