"""``dask.distributed``: workers of a scheduler somewhere, or a cluster of processes on this machine."""

import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

from refit_mv.errors import InputError
from refit_mv.farm.calls import Call, run_on_worker
from refit_mv.farm.engine import Ended, EngineGoneError, EngineOptions
from refit_mv.farm.packages import needed
from refit_mv.farm.worker_process import worker_environment

# Calls that wait at a worker, so that it need not ask for the next one.
AHEAD = 2
POLL_SECONDS = 0.02
# A scheduler that is away for longer is gone.
MOST_SECONDS_AWAY = 20.0
# Clusters that grow when there is work have no workers at first: said when there are none for longer, seconds.
SECONDS_ALONE = 10.0
# Workers watch themselves a hundred times a second, and remember a day of that: 3 MB a take, 0.2 MB a second.
NO_PROFILE = {"distributed.worker.profile.enabled": False}


class DaskCluster:
    """A client of a scheduler. With no address, scheduler and workers are this engine's own."""

    budget = 30.0

    def __init__(self, options: EngineOptions) -> None:
        self._distributed = needed("distributed", "--engine dask")
        self._cluster = None if options.address else self._own(options)
        try:
            self._client = self._distributed.Client(options.address or self._cluster, timeout=MOST_SECONDS_AWAY)
        except (OSError, ValueError) as error:
            raise InputError(f"--address {options.address}: no dask scheduler answers ({error})") from None
        self._running: dict[Any, Call] = {}
        self._alone_since: float | None = None

    def _own(self, options: EngineOptions) -> Any:
        settings = needed("dask.config", "--engine dask")
        settings.set({"distributed.nanny.pre-spawn-environ": worker_environment()} | NO_PROFILE)
        return self._distributed.LocalCluster(
            n_workers=options.workers or os.cpu_count() or 1,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=50,
            local_directory=str(options.folder / "dask"),
            resources={"GPU": 1} if options.gpus else None,
        )

    def room(self) -> int:
        if self._client.status != "running":
            return 0
        try:
            threads = sum(self._client.nthreads().values())
        except (OSError, TimeoutError):
            return 0
        self._tell_if_alone(threads)
        return max(AHEAD * threads - len(self._running), 0)

    def _tell_if_alone(self, threads: int) -> None:
        """Say that nobody is there to work."""
        if threads:
            self._alone_since = None
            return
        now = time.monotonic()
        self._alone_since = now if self._alone_since is None else self._alone_since
        if now - self._alone_since >= SECONDS_ALONE:
            self._alone_since = float("inf")
            address = self._client.scheduler.address
            warnings.warn(
                f"the dask scheduler has no workers; this waits for some: dask worker {address} --nthreads 1",
                stacklevel=2,
            )

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            resources = {"GPU": 1} if call.gpu else None
            # Order counts: takes that are begun are finished first.
            future = self._client.submit(
                run_on_worker, call, pure=False, resources=resources, priority=-len(self._running)
            )
            self._running[future] = call

    def wait(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        while True:
            # What the client knows already: it asks nobody, and a scheduler that is away raises nothing.
            over = [future for future in self._running if future.status != "pending"]
            if over:
                return [self._ended(future) for future in over]
            self._check()
            if not self._running or time.monotonic() > until:
                return []
            time.sleep(POLL_SECONDS)

    def _ended(self, future: Any) -> Ended:
        call, status = self._running.pop(future), future.status
        if status == "finished":
            try:
                return Ended(call, future.result(timeout=MOST_SECONDS_AWAY))
            except Exception as error:
                return Ended(call, lost=f"its result was lost ({type(error).__name__}: {error})")
        if status in ("cancelled", "lost"):
            self._check()
            return Ended(call, lost=f"dask says: {status}")
        error = future.exception(timeout=MOST_SECONDS_AWAY)
        if isinstance(error, self._distributed.KilledWorker):
            return Ended(call, lost="its workers died (killed, or out of memory)")
        return Ended(call, lost=f"{type(error).__name__}: {error}")

    def _check(self) -> None:
        """The scheduler is there, or comes back soon."""
        until = time.monotonic() + MOST_SECONDS_AWAY
        while self._client.status != "running":
            if time.monotonic() > until or self._client.status == "closed":
                raise EngineGoneError("the dask scheduler is gone; start it again and run the same command: it goes on")
            time.sleep(0.2)

    def close(self) -> None:
        for future in self._running:
            future.cancel(reason="the night is over") if self._client.status == "running" else None
        self._client.close(timeout=5)
        if self._cluster is not None:
            self._cluster.close(timeout=10)
