"""Frames divided over cores: results in order, work inside work, and after a fork."""

import multiprocessing
import threading

import pytest
import torch

from refit_mv.solve.cores import over_cores

CPU = torch.device("cpu")


def _double(chosen: slice) -> list[int]:
    return [2 * frame for frame in range(chosen.start, chosen.stop)]


def test_slices_come_back_in_order() -> None:
    assert over_cores(_double, 7, 3, CPU) == [[0, 2, 4], [6, 8, 10], [12]]
    assert over_cores(_double, 0, 3, CPU) == []


def test_each_thread_computes_alone() -> None:
    assert over_cores(lambda _: torch.get_num_threads(), 4, 1, CPU) == [1, 1, 1, 1]


def test_work_inside_work_does_not_wait_for_itself() -> None:
    """With all threads busy waiting for each other this would hang."""
    nested = over_cores(lambda chosen: over_cores(_double, chosen.stop, 2, CPU), 40, 1, CPU)
    assert nested[-1][-1] == [76, 78]


def test_errors_arrive() -> None:
    def fails(chosen: slice) -> None:
        if chosen.start:
            raise ValueError(f"frame {chosen.start}")

    with pytest.raises(ValueError, match="frame 2"):
        over_cores(fails, 3, 2, CPU)


def _child(answers: "multiprocessing.SimpleQueue[list[list[int]]]") -> None:
    answers.put(over_cores(_double, 4, 2, CPU))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_starts_threads_of_its_own() -> None:
    over_cores(_double, 4, 2, CPU)
    assert any(thread.name.startswith("frames-") for thread in threading.enumerate())
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(answers,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answers.get() == [[0, 2], [4, 6]]
