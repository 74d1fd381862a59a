"""Processes of this machine, each with its threads held to one. Each is a pool of its own: when one dies, it is known
whose call it was, and the others do not notice.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from refit_mv.farm.calls import Call, Done, run_call
from refit_mv.farm.engine import Ended, EngineOptions
from refit_mv.farm.worker_process import die_with_parent, prepare_worker, worker_environment


def _prepare() -> None:
    die_with_parent()
    # Whoever presses Ctrl-C means the driver, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_worker()


class LocalProcesses:
    """One call at a time for each of some processes."""

    budget = 30.0

    def __init__(self, options: EngineOptions) -> None:
        count = options.workers or os.cpu_count() or 1
        self._gpus = options.gpus
        self._pools: list[ProcessPoolExecutor | None] = [None] * count
        self._running: dict[Future[tuple[Done, ...]], tuple[int, Call]] = {}
        self._last: list[str] = [""] * count
        # Whoever will have a take starts now: a process needs seconds to load what it works with.
        for slot in range(min(count, options.takes)):
            self._pool(slot)

    def room(self) -> int:
        return len(self._pools) - len(self._running)

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            slot = self._slot(call.tasks[0].take)
            self._last[slot] = call.tasks[0].take
            try:
                future = self._pool(slot).submit(run_call, call)
            except BrokenProcessPool:
                # It died while it had nothing to do: nobody's call is lost.
                self._drop(slot)
                future = self._pool(slot).submit(run_call, call)
            self._running[future] = slot, call

    def _slot(self, take: str) -> int:
        """A free process, if possible the one that has the take in memory."""
        busy = {slot for slot, _ in self._running.values()}
        free = [slot for slot in range(len(self._pools)) if slot not in busy]
        return min(free, key=lambda slot: (self._last[slot] != take, self._pools[slot] is None))

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        found = self._pools[slot]
        if found is None:
            # Spawned: a fork would take over this process's threads and open connections, but not their owners.
            found = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prepare)
            variables = worker_environment()
            if self._gpus:
                variables["CUDA_VISIBLE_DEVICES"] = str(slot % self._gpus)
            before = {name: os.environ.get(name) for name in variables}
            os.environ.update(variables)
            try:
                # A process starts when there is something to do, and takes these variables along.
                found.submit(os.getpid)
            finally:
                for name, value in before.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})
            self._pools[slot] = found
        return found

    def wait(self, seconds: float) -> list[Ended]:
        if not self._running:
            return []
        over, _ = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED)
        ended = []
        for future in over:
            slot, call = self._running.pop(future)
            try:
                ended.append(Ended(call, future.result()))
            except BrokenProcessPool:
                self._drop(slot)
                ended.append(Ended(call, lost="its worker process died (killed, or out of memory)"))
            except Exception as error:
                ended.append(Ended(call, lost=f"{type(error).__name__}: {error}"))
        return ended

    def _drop(self, slot: int) -> None:
        pool, self._pools[slot] = self._pools[slot], None
        if pool is not None:
            pool.shutdown(wait=False)

    def close(self) -> None:
        for pool in self._pools:
            if pool is not None:
                # Whoever stops in the middle does not wait for fits that nobody will fetch; and who has nothing to do
                # need not take a second to take libraries apart: what was made is on disk.
                processes = list((getattr(pool, "_processes", None) or {}).values())
                pool.shutdown(wait=False, cancel_futures=True)
                for process in processes:
                    process.terminate()
        self._running.clear()
