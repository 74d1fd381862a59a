"""Dividing frames over processor cores."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")

# Where many processes share a machine, each is told how many of its cores it may use.
CORES = "REFIT_MV_CORES"
_thread = threading.local()


def usable_cores() -> int:
    """How many cores this process may use."""
    told = os.environ.get(CORES, "")
    return max(int(told), 1) if told.isascii() and told.isdecimal() else os.cpu_count() or 1


def over_cores(work: Callable[[slice], T], frames: int, batch_frames: int, device: torch.device) -> list[T]:
    """``work`` on consecutive slices of the frames, side by side, results in order.

    The slices are the same however many cores there are, and so is the result, bit for bit. Frames are many and small:
    each thread computes alone, because threads inside one operation would fight.
    """
    slices = [slice(at, min(at + batch_frames, frames)) for at in range(0, frames, batch_frames)]
    cores = usable_cores() if device.type == "cpu" else 1
    # Work inside work stays where it is: its thread's place among the others is taken already.
    if not slices or cores == 1 or getattr(_thread, "works", False):
        return [work(chosen) for chosen in slices]
    if len(slices) == 1:
        # A live frame: handing it to another thread and back would cost it a tenth of its time.
        with _alone():
            return [work(slices[0])]
    return list(_threads(os.getpid(), cores).map(work, slices))


@cache
def _threads(process: int, cores: int) -> ThreadPoolExecutor:
    """Kept, because starting threads costs half a millisecond, a tenth of a live frame. Of one process only: threads do
    not survive a fork.
    """
    return ThreadPoolExecutor(cores, f"frames-{process}", initializer=_begin)


@contextmanager
def _alone() -> Iterator[None]:
    """Has the calling thread compute as the pool's threads do."""
    threads, _thread.works = torch.get_num_threads(), True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _thread.works = False


def _begin() -> None:
    _thread.works = True
    torch.set_num_threads(1)
