"""Kernels against the tensor operations they stand for."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from refit_mv.kernels.compiling import tensors_only

T = TypeVar("T")


@pytest.fixture(scope="session")
def both() -> Callable[[Callable[[], T]], tuple[T, T]]:
    """The same by kernels and by tensors alone."""

    def run(work: Callable[[], T]) -> tuple[T, T]:
        with tensors_only():
            by_tensors = work()
        return work(), by_tensors

    return run
