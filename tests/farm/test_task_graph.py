"""What follows what."""

from refit_mv.farm.places import Place
from refit_mv.farm.take_list import TakeEntry
from refit_mv.farm.tasks import Found, Graph, PersonFound, Stage, first_tasks, next_tasks, task_id

ONE, TWO = (TakeEntry(name, Place(name), None, "monday", ("anna",)) for name in ("one", "two"))
TIED = PersonFound(0, None, (False, True, True))
FREE = PersonFound(1, None, (False, False, True))


def run_all(graph: Graph, entry: TakeEntry, found: dict[Stage, Found]) -> list[list[str]]:
    """Rounds of everything that is ready."""
    rounds = []
    while graph.ready:
        now = list(graph.ready.values())
        rounds.append(sorted(f"{task.stage} {task.part}".strip() for task in now))
        for task in now:
            graph.done(task.id)
            graph.add(next_tasks(entry, task, found.get(task.stage, Found())))
    return rounds


def test_chunks_wait_only_for_what_they_need() -> None:
    entry = TakeEntry("one", Place("one"))
    found = {Stage.READ: Found(views=("left", "right")), Stage.ASSOCIATE: Found(people=(TIED, FREE))}
    assert run_all(Graph(first_tasks([entry])), entry, found) == [
        ["read"],
        ["detect left", "detect right"],
        ["associate"],
        ["meet 0", "meet 1"],
        ["fit 0:0", "fit 1:0", "fit 1:1"],
        ["fit 0:1", "fit 1:2"],
        ["fit 0:2"],
        ["deliver"],
    ]


def test_a_performer_waits_for_all_takes_of_the_day_even_those_that_failed() -> None:
    graph = Graph(first_tasks([ONE, TWO]))
    performer = task_id(Stage.PERFORMER, "monday", "anna")
    for name, entry in (("one", ONE),):
        graph.done(task_id(Stage.READ, name))
        graph.add(next_tasks(entry, first_tasks([entry])[0], Found()))
        graph.done(task_id(Stage.ASSOCIATE, name))
    assert performer not in graph.ready
    graph.give_up("two")
    assert list(graph.ready) == [performer]


def test_whoever_is_met_already_is_not_waited_for() -> None:
    performer = task_id(Stage.PERFORMER, "monday", "anna")
    graph = Graph(first_tasks([ONE], [performer]), over=[performer])
    assert performer not in graph.open
    associate = next(task for task in next_tasks(ONE, first_tasks([ONE])[0], Found()) if task.stage is Stage.ASSOCIATE)
    graph.done(associate.id)
    graph.add(next_tasks(ONE, associate, Found(people=(PersonFound(0, "anna", (False,)),))))
    assert task_id(Stage.MEET, "one", "0") in graph.ready
