"""A night: the graph's ready tasks go to the engine, what they say goes into the book, and what failed for a passing
reason is tried again later.
"""

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from refit_mv.farm.calls import Call, Done
from refit_mv.farm.engine import Ended, Engine
from refit_mv.farm.jobs import Key, Night, TakeJob
from refit_mv.farm.manifest import Manifest, State
from refit_mv.farm.take_list import TakeEntry
from refit_mv.farm.tasks import STAGES, Graph, Stage, Task, first_tasks, next_tasks, task_id
from refit_mv.ranges import require_not_negative, require_positive

# Asked so often whether it is time to try something again.
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Patience:
    """A task is tried ``tries`` times, after ``pause`` seconds and then ``growth`` times as long each time. While
    somebody else is at work on it (jobs of a driver that was killed), it is asked for every ``pause``, for ``busy``
    seconds.
    """

    tries: int = 3
    pause: float = 5.0
    growth: float = 4.0
    busy: float = 3600.0

    def __post_init__(self) -> None:
        require_positive(self, "tries", "growth")
        require_not_negative(self, "pause", "busy")

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        return self.pause * self.growth ** (failures - 1)


# Called with a take's name, its state, and what there is to say.
Told = Callable[[str, State, str], None]


@dataclass
class Driver:
    """Runs what is open. ``keys`` has what each take is made from; ``told`` hears of every take that ends."""

    night: Night
    entries: Mapping[str, TakeEntry]
    keys: Mapping[str, Key]
    engine: Engine
    book: Manifest
    told: Told
    patience: Patience = field(default_factory=Patience)
    spent: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)
    _busy_since: dict[str, float] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _later: list[tuple[float, str]] = field(default_factory=list)
    _order: dict[str, int] = field(default_factory=dict)
    _graph: Graph = field(default_factory=Graph)

    def run(self, takes: Sequence[str], met: Sequence[str]) -> None:
        """Do these takes. ``met``: ids of performers' tasks that are done.

        Raises:
            EngineGoneError: the engine broke.
            PassingError: the book cannot be written.
        """
        self._order = {name: place for place, name in enumerate(takes)}
        self._graph = Graph(over=met)
        self._graph.add(first_tasks([self.entries[name] for name in takes], met))
        while self._graph.open:
            self._submit()
            waits = self._later[0][0] - time.monotonic() if self._later else WAIT_SECONDS
            if not self._running and not self._later:
                self._stuck()
                continue
            if self._running:
                ended = self.engine.wait(min(max(waits, 0.0), WAIT_SECONDS))
            else:
                time.sleep(min(max(waits, 0.0), WAIT_SECONDS))
                ended = []
            for each in ended:
                self._heard(each)

    def _ready(self) -> list[Task]:
        """What may be done now: late stages first, so that takes that were begun are finished."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)
        waiting = {identifier for _, identifier in self._later}
        ready = [task for task in self._graph.ready.values() if task.id not in self._running | waiting]
        return sorted(ready, key=lambda task: (-STAGES.index(task.stage), self._order.get(task.take, -1)))

    def _submit(self) -> None:
        room = self.engine.room()
        if room <= 0:
            return
        calls = [self._call(task) for task in self._ready()[:room]]
        for call in calls:
            self._running.add(call.id)
            if call.tasks[0].stage is not Stage.PERFORMER and call.tasks[0].take not in self.spent:
                self.spent[call.tasks[0].take] = 0.0
                self.book.begin(call.tasks[0].take, self.keys[call.tasks[0].take])
        if calls:
            self.engine.submit(calls)

    def _call(self, head: Task) -> Call:
        """A task, and those of its take that may follow it in the same process."""
        if head.stage is Stage.PERFORMER:
            names = [
                entry.name
                for entry in self.entries.values()
                if entry.day == head.take and head.part in entry.performers
            ]
            tasks, jobs = (head,), tuple(self._job(name) for name in names)
        else:
            own = head.part.partition(":")[0]
            following = [
                task
                for task in self._graph.open.values()
                if task.take == head.take
                and task.id != head.id
                and task.stage is not Stage.PERFORMER
                and (task.stage in (Stage.ASSOCIATE, Stage.DELIVER) or task.part.partition(":")[0] == own)
                and task.id not in self._running
                # What may begin now is a call of its own.
                and task.id not in self._graph.ready
            ]
            tasks, jobs = (head, *following), (self._job(head.take),)
        over = frozenset(each for task in tasks for each in task.after if each in self._graph.over)
        spent = self.spent.get(head.take, 0.0)
        return Call(self.night, tasks, jobs, over, budget=self.engine.budget, spent=spent)

    def _job(self, name: str) -> TakeJob:
        return TakeJob(self.entries[name], self.night, self.keys[name].word)

    def _heard(self, ended: Ended) -> None:
        self._running.discard(ended.call.id)
        head = ended.call.tasks[0]
        self.book.tried(head.take, ended.done)
        self.spent[head.take] = self.spent.get(head.take, 0.0) + sum(each.seconds for each in ended.done)
        for done in ended.done:
            if done.busy and self._wait_for_others(done):
                continue
            if done.error:
                self._failed(done.task, done.error, done.passing)
            elif done.task.id in self._graph.open:
                self._done(done)
        if ended.lost:
            self._failed(head, ended.lost, passing=True)

    def _done(self, done: Done) -> None:
        task = done.task
        self._graph.done(task.id)
        if task.stage is Stage.PERFORMER:
            return
        self._graph.add(next_tasks(self.entries[task.take], task, done.found))
        if task.stage is Stage.DELIVER:
            self.book.end(task.take, State.DONE, summary=done.found.summary)
            self.told(task.take, State.DONE, done.found.summary)

    def _wait_for_others(self, done: Done) -> bool:
        """Ask again later, if it was not for too long."""
        now = time.monotonic()
        if now - self._busy_since.setdefault(done.task.id, now) > self.patience.busy:
            return False
        heapq.heappush(self._later, (now + self.patience.pause, done.task.id))
        if done.task.stage is not Stage.PERFORMER:
            self.book.again(done.task.take, done.error, self._failures.get(done.task.id, 0))
        return True

    def _failed(self, task: Task, reason: str, passing: bool) -> None:
        if task.id not in self._graph.open:
            return
        self._failures[task.id] = failures = self._failures.get(task.id, 0) + 1
        if passing and failures < self.patience.tries:
            heapq.heappush(self._later, (time.monotonic() + self.patience.after(failures), task.id))
            if task.stage is not Stage.PERFORMER:
                self.book.again(task.take, reason, failures)
            return
        if task.stage is Stage.PERFORMER:
            waiting = {each.take for each in self._graph.followers(task.id)}
            waiting |= {name for name, entry in self.entries.items() if self._wants(entry, task) and self._open(name)}
            self._graph.done(task.id)
            for name in waiting:
                self._give_up(name, reason)
        else:
            self._give_up(task.take, f"{task.stage}: {reason}")

    def _wants(self, entry: TakeEntry, performer: Task) -> bool:
        return entry.day == performer.take and performer.part in entry.performers

    def _open(self, take: str) -> bool:
        return any(task.take == take and not task.whatever for task in self._graph.open.values())

    def _give_up(self, name: str, reason: str) -> None:
        self._graph.give_up(name)
        self.book.end(name, State.FAILED, reason)
        self.told(name, State.FAILED, reason)

    def _stuck(self) -> None:
        """Nothing runs and nothing can: the engine has no room (a cluster without workers), or tasks wait for one that
        will never be.
        """
        if self._graph.ready:
            self.engine.wait(WAIT_SECONDS)
            time.sleep(WAIT_SECONDS)
            return
        for name in {task.take for task in self._graph.open.values()}:
            self._graph.give_up(name)
            self.book.end(name, State.FAILED, "waits for a stage that is not there; report this")


def performer_tasks(entries: Sequence[TakeEntry]) -> dict[str, tuple[str, str]]:
    """Ids of performers' tasks, and who and which day they are about."""
    return {
        task_id(Stage.PERFORMER, entry.day, name): (entry.day, name) for entry in entries for name in entry.performers
    }
