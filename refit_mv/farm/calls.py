"""What an engine runs: some stages of one take in a row, in one process.

A call begins with one task and goes on with whatever that leads to, as long as there is one next thing to do and time
is left: so a take that nobody shares mostly stays where its arrays are in memory, and an engine is asked a few times
per take and not for every chunk.
"""

import os
import resource
import socket
import time
from dataclasses import dataclass

from refit_mv.errors import BusyError, InputError, PassingError
from refit_mv.farm.jobs import Night, TakeJob, version_word
from refit_mv.farm.stages import (
    associate_take,
    deliver_take,
    detect_view,
    fit_chunk,
    meet_one,
    meet_person,
    read_take,
)
from refit_mv.farm.tasks import ON_GPU, Found, Graph, Stage, Task, next_tasks
from refit_mv.farm.worker_process import prepare_worker

NOTHING = Found()
# Errors of the surroundings rather than of the take.
PASSING = (PassingError, OSError, MemoryError, EOFError, TimeoutError)


@dataclass(frozen=True)
class Call:
    """``tasks`` are the open ones of a take, the one to begin with first; ``over`` those that are not. ``jobs`` has the
    take, or of a performer all takes that they are in. ``budget``: seconds after which no
    other task is begun; ``spent``: on the take so far.
    """

    night: Night
    tasks: tuple[Task, ...]
    jobs: tuple[TakeJob, ...]
    over: frozenset[str] = frozenset()
    budget: float = 30.0
    spent: float = 0.0

    @property
    def id(self) -> str:
        return self.tasks[0].id

    @property
    def gpu(self) -> bool:
        return self.night.gpu and self.tasks[0].stage in ON_GPU


@dataclass(frozen=True)
class Done:
    """A task that was tried. ``error`` says why it failed, ``passing`` whether it may go well another time, ``busy``
    that somebody else is at work on it; ``peak_mb`` is the most memory the process has had, ``cpu`` the seconds of a
    core that the task took.
    """

    task: Task
    seconds: float
    found: Found = NOTHING
    error: str = ""
    passing: bool = False
    busy: bool = False
    worker: str = ""
    peak_mb: float = 0.0
    cpu: float = 0.0


def run_call(call: Call) -> tuple[Done, ...]:
    """Do as much of a call as there is time for. It raises nothing: what went wrong is told."""
    began, spent = time.perf_counter(), call.spent
    graph, told = Graph(call.tasks, call.over), []
    task: Task | None = call.tasks[0]
    while task is not None:
        done = _tried(call, task, spent)
        told.append(done)
        spent += done.seconds
        if done.error:
            break
        graph.done(task.id)
        if task.stage is not Stage.PERFORMER:
            graph.add(next_tasks(call.jobs[0].entry, task, done.found))
        ready = list(graph.ready.values())
        # Where the way forks, or another kind of machine is wanted, the engine decides who goes on.
        forks = len(ready) != 1 or (call.night.gpu and (ready[0].stage in ON_GPU) != (task.stage in ON_GPU))
        task = None if forks or time.perf_counter() - began > call.budget else ready[0]
    return tuple(told)


def _tried(call: Call, task: Task, spent: float) -> Done:
    began, cores_began = time.perf_counter(), time.process_time()
    error, passing, busy, found = "", False, False, NOTHING
    try:
        found = _run(call, task, spent)
    except InputError as refused:
        error, passing, busy = str(refused), isinstance(refused, PassingError), isinstance(refused, BusyError)
    except PASSING as trouble:
        error, passing = f"{type(trouble).__name__}: {trouble}", True
    except Exception as fault:
        error = f"{type(fault).__name__}: {fault}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker = f"{socket.gethostname()}:{os.getpid()}"
    error = " ".join(error.split())[:2000]
    return Done(
        task, time.perf_counter() - began, found, error, passing, busy, worker, peak, time.process_time() - cores_began
    )


def _run(call: Call, task: Task, spent: float) -> Found:
    if call.night.version != version_word():
        raise InputError(
            "this worker has another version of refit-mv than the command: install the same for both, start workers "
            "anew, and run again"
        )
    job = call.jobs[0]
    person, _, chunk = task.part.partition(":")
    match task.stage:
        case Stage.READ:
            return read_take(job)
        case Stage.DETECT:
            return detect_view(job, task.part)
        case Stage.ASSOCIATE:
            return associate_take(job)
        case Stage.PERFORMER:
            return meet_one(call.night, task.part, task.take, call.jobs)
        case Stage.MEET:
            return meet_person(job, int(person))
        case Stage.FIT:
            return fit_chunk(job, int(person), int(chunk))
        case Stage.DELIVER:
            return deliver_take(job, spent)


def run_on_worker(call: Call) -> tuple[Done, ...]:
    """:func:`run_call` in a process that somebody else started."""
    prepare_worker()
    return run_call(call)
