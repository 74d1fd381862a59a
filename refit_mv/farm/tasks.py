"""The stages of a night as a graph: what has to be done, and after what."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from refit_mv.farm.take_list import TakeEntry


class Stage(StrEnum):
    """In the order in which a take goes through them."""

    READ = "read"
    DETECT = "detect"
    ASSOCIATE = "associate"
    PERFORMER = "performer"
    MEET = "meet"
    FIT = "fit"
    DELIVER = "deliver"


STAGES = tuple(Stage)
# Stages that compute on the GPU where there is one.
ON_GPU = frozenset({Stage.PERFORMER, Stage.MEET, Stage.FIT, Stage.DELIVER})


@dataclass(frozen=True)
class Task:
    """One stage of one take; ``part`` is the view, the person, or the person and the chunk (``0:3``). Of a performer,
    ``take`` is the day and ``part`` the name. ``after``: tasks that must be over; ``whatever``: also if they failed.
    """

    stage: Stage
    take: str
    part: str = ""
    after: frozenset[str] = frozenset()
    whatever: bool = False

    @property
    def id(self) -> str:
        return task_id(self.stage, self.take, self.part)


def task_id(stage: Stage, take: str, part: str = "") -> str:
    """Names a task. Names of takes and performers hold no slash."""
    return f"{take}/{stage}/{part}"


@dataclass(frozen=True)
class PersonFound:
    """Somebody to fit. ``performer``: who of the night's performers they are; ``goes_on``: of every chunk whether it
    needs the results of the one before.
    """

    id: int
    performer: str | None
    goes_on: tuple[bool, ...]


@dataclass(frozen=True)
class Found:
    """What a stage says of what comes next. ``views``: to detect; ``people``: to fit; ``summary``: of a take that is
    delivered, as JSON.
    """

    views: tuple[str, ...] = ()
    people: tuple[PersonFound, ...] = ()
    summary: str = ""


def first_tasks(entries: Sequence[TakeEntry], known: Iterable[str] = ()) -> list[Task]:
    """What a night begins with. ``known``: ids of performers' tasks that need not be done."""
    tasks = [Task(Stage.READ, entry.name) for entry in entries]
    wanted: dict[str, tuple[str, str, set[str]]] = {}
    for entry in entries:
        for name in entry.performers:
            identifier = task_id(Stage.PERFORMER, entry.day, name)
            wanted.setdefault(identifier, (entry.day, name, set()))[2].add(task_id(Stage.ASSOCIATE, entry.name))
    over = set(known)
    tasks += [
        Task(Stage.PERFORMER, day, name, frozenset(after), whatever=True)
        for identifier, (day, name, after) in wanted.items()
        if identifier not in over
    ]
    return tasks


def next_tasks(entry: TakeEntry, task: Task, found: Found) -> list[Task]:
    """What a finished stage of a take leads to."""
    take = entry.name
    if task.stage is Stage.READ:
        detect = [Task(Stage.DETECT, take, view, frozenset({task.id})) for view in found.views]
        after = frozenset(each.id for each in detect) or frozenset({task.id})
        return [*detect, Task(Stage.ASSOCIATE, take, after=after)]
    if task.stage is not Stage.ASSOCIATE:
        return []
    tasks: list[Task] = []
    for person in found.people:
        after = {task.id}
        if person.performer is not None:
            after.add(task_id(Stage.PERFORMER, entry.day, person.performer))
        met = Task(Stage.MEET, take, str(person.id), frozenset(after))
        tasks.append(met)
        for chunk, goes_on in enumerate(person.goes_on):
            part = f"{person.id}:{chunk}"
            after = {met.id} | ({task_id(Stage.FIT, take, f"{person.id}:{chunk - 1}")} if goes_on else set())
            tasks.append(Task(Stage.FIT, take, part, frozenset(after)))
    fits = frozenset(each.id for each in tasks if each.stage is Stage.FIT)
    return [*tasks, Task(Stage.DELIVER, take, after=fits)]


class Graph:
    """Tasks that are open, and which of them may be done now."""

    def __init__(self, tasks: Iterable[Task] = (), over: Iterable[str] = ()) -> None:
        """``over``: ids of tasks that are done already."""
        self.open: dict[str, Task] = {}
        self.ready: dict[str, Task] = {}
        self.over = set(over)
        self._lacking: dict[str, set[str]] = {}
        self._followers: dict[str, list[str]] = {}
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> None:
        """Tasks that are not over yet, and not here yet."""
        for task in tasks:
            if task.id in self.over or task.id in self.open:
                continue
            self.open[task.id] = task
            lacking = set(task.after) - self.over
            self._lacking[task.id] = lacking
            for before in lacking:
                self._followers.setdefault(before, []).append(task.id)
            if not lacking:
                self.ready[task.id] = task

    def done(self, identifier: str) -> None:
        """A task is over."""
        self.open.pop(identifier, None)
        self.ready.pop(identifier, None)
        self._lacking.pop(identifier, None)
        self.over.add(identifier)
        for follower in self._followers.pop(identifier, ()):
            lacking = self._lacking.get(follower)
            if lacking is not None:
                lacking.discard(identifier)
                if not lacking:
                    self.ready[follower] = self.open[follower]

    def followers(self, identifier: str) -> list[Task]:
        """Open tasks that wait for one."""
        return [self.open[each] for each in self._followers.get(identifier, ()) if each in self.open]

    def give_up(self, take: str) -> None:
        """Nothing more is done for a take; what waits for it whatever happens does not wait for ever."""
        for identifier in [each.id for each in self.open.values() if each.take == take and not each.whatever]:
            for gone in (self.open, self.ready, self._lacking):
                gone.pop(identifier, None)
        self.done(task_id(Stage.ASSOCIATE, take))
