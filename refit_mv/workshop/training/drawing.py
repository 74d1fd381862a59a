"""Samples drawn by several processes side by side, in the order of their numbers: what is drawn does not depend on how
many draw it.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import torch

Drawn = TypeVar("Drawn")

# What each process draws with; set once in each of them.
_HELD: list[Callable[[int], object]] = []


def drawn(draw: Callable[[int], Drawn], numbers: Iterable[int], workers: int = 1) -> Iterator[Drawn]:
    """``draw(number)`` for every number, in order. ``draw`` must be picklable where there are several ``workers``."""
    if workers <= 1:
        yield from map(draw, numbers)
        return
    # A fresh interpreter each: a forked one would lack the threads that compiled loops run in.
    with ProcessPoolExecutor(workers, get_context("spawn"), _hold, (draw,)) as pool:
        for packed in pool.map(_draw, numbers):
            yield pickle.loads(packed)  # our own processes' answer, no file


def _hold(draw: Callable[[int], object]) -> None:
    torch.set_num_threads(1)
    _HELD.append(draw)


def _draw(number: int) -> bytes:
    # By value: tensors shared one by one would each keep a file open.
    return pickle.dumps(_HELD[0](number), protocol=5)
