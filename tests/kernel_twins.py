"""Kernels against the tensor operations they stand for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from refit_mv.kernels.compiling import DISPATCHED

T = TypeVar("T")


@contextmanager
def tensors_only() -> Iterator[None]:
    """No kernels within."""
    loops = [each.loop for each in DISPATCHED]
    for each in DISPATCHED:
        each.loop = None
    try:
        yield
    finally:
        for each, loop in zip(DISPATCHED, loops, strict=True):
            each.loop = loop


@pytest.fixture(scope="session")
def both() -> Callable[[Callable[[], T]], tuple[T, T]]:
    """The same by kernels and by tensors alone."""

    def run(work: Callable[[], T]) -> tuple[T, T]:
        with tensors_only():
            by_tensors = work()
        return work(), by_tensors

    return run
