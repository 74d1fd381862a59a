"""Slurm, through submitit: every round of calls is one job array. ``cluster=local`` among the settings runs the same
jobs as processes of this machine, for trying out.
"""

import logging
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from refit_mv.errors import InputError
from refit_mv.farm.calls import Call, run_on_worker
from refit_mv.farm.engine import Ended, EngineOptions
from refit_mv.farm.packages import needed
from refit_mv.farm.worker_process import worker_environment

# Calls come back in no time or in minutes: queues are asked this often.
POLL_SECONDS = 0.5
# The queue itself is asked this often which jobs it knows.
QUEUE_SECONDS = 10.0
# A job that waited for hours in a queue does all there is to do.
JOB_BUDGET = 3600.0
# As many jobs as a cluster of ours would take at once.
MOST_JOBS = 1000


class SlurmArrays:
    """Job arrays. Results come back through files in a folder that all machines see."""

    budget = JOB_BUDGET

    def __init__(self, options: EngineOptions) -> None:
        submitit = needed("submitit", "--engine slurm")
        settings = dict(options.settings or {})
        cluster = settings.pop("cluster", "slurm")
        if cluster not in ("slurm", "local"):
            raise InputError(f"--slurm cluster={cluster}: expected slurm, or local to try jobs out here")
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise InputError("no sbatch here: run on a machine of the Slurm cluster, or try --slurm cluster=local")
        self._local = cluster == "local"
        self._most = (options.workers or 2) if self._local else MOST_JOBS
        # It warns of every question that the accounting does not answer, where there is none.
        logging.getLogger("submitit").setLevel(logging.ERROR)
        self._folder = options.folder / "slurm"
        self._executor = submitit.AutoExecutor(folder=str(self._folder / "%j"), cluster=cluster)
        exports = [f"export {name}={value}" for name, value in worker_environment().items()]
        parameters: dict[str, Any] = {"name": "refit-mv", "cpus_per_task": 1, "timeout_min": 24 * 60}
        if cluster == "slurm":
            parameters |= {"slurm_setup": exports, "slurm_array_parallelism": options.workers or MOST_JOBS}
        if options.gpus:
            parameters["gpus_per_node"] = 1
        for name, value in settings.items():
            told = int(value) if value.isdecimal() else value
            parameters[name if name in _SHARED or cluster == "local" else f"slurm_{name}"] = told
        try:
            self._executor.update_parameters(**parameters)
        except (TypeError, ValueError, NameError) as error:
            raise InputError(f"--slurm: {' '.join(str(error).split())[:300]}") from None
        self._running: list[tuple[Any, Call]] = []
        self._missing: set[str] = set()
        self._asked = time.monotonic()

    def room(self) -> int:
        return max(self._most - len(self._running), 0)

    def submit(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        try:
            jobs = self._executor.map_array(run_on_worker, list(calls))
        except Exception as error:
            raise InputError(f"sbatch refused: {' '.join(str(error).split())[:300]}") from None
        self._running += zip(jobs, calls, strict=True)

    def wait(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        while self._running:
            over = [pair for pair in self._running if pair[0].done()]
            if over or time.monotonic() > until:
                self._running = [pair for pair in self._running if pair not in over]
                return [_ended(*pair) for pair in over]
            gone = self._gone()
            if gone:
                self._running = [pair for pair in self._running if pair not in gone]
                return [Ended(call, lost=f"job {job.job_id} ended without a result (killed?)") for job, call in gone]
            time.sleep(0.05 if self._local else POLL_SECONDS)
        return []

    def _gone(self) -> list[tuple[Any, Call]]:
        """Jobs that the queue knows no more, twice in a row, and that left nothing: clusters without accounting do not
        say that a job died.
        """
        if self._local or time.monotonic() - self._asked < QUEUE_SECONDS:
            return []
        self._asked = time.monotonic()
        command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        if asked.returncode:
            # The controller is away: nobody knows.
            return []
        queued = set(asked.stdout.split())
        missing = {job.job_id for job, _ in self._running if job.job_id not in queued}
        gone, self._missing = missing & self._missing, missing
        return [pair for pair in self._running if pair[0].job_id in gone and not pair[0].paths.result_pickle.exists()]

    def close(self) -> None:
        for job, _ in self._running:
            job.cancel()
        self._running = []


_SHARED = frozenset({"timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node", "name"})


def _ended(job: Any, call: Call) -> Ended:
    try:
        error = job.exception()
    except Exception as trouble:
        return Ended(call, lost=f"job {job.job_id}: {' '.join(str(trouble).split())[:300]}")
    if error is not None:
        said = " ".join(str(error).split())
        return Ended(call, lost=f"job {job.job_id} ({job.state}): {said[-300:]}")
    return Ended(call, job.result())
