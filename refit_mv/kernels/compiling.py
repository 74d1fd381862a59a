"""How kernels are compiled, and when they are used.

Every kernel equals a function written in PyTorch, which is the definition: it serves other devices and carries
gradients. ``serves`` is the one place where the choice is made. Kernels release the interpreter's lock, treat frames
one by one (so that a frame's result does not depend on its batch), and are kept on disk after the first use.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numba import njit
from torch import Tensor

T = TypeVar("T")

# What rounding may reorder. Not among it: the assumption that there are no infinities and NaNs, because frames that
# went astray are found by them.
FREEDOM = {"contract", "reassoc", "nsz", "arcp"}

_allowed = True


def compiled(function: Callable[..., T]) -> Callable[..., T]:
    """Compile a loop over arrays at its first call. Where nothing may be written, neither beside the module nor in the
    user's cache, each process compiles anew.

    Loops that loops call become part of them (``forceinline``): left apart, the linker binds them to copies that were
    optimised elsewhere, and code just compiled would round differently from the same code read from the cache, so that
    a run killed in its first minute could not be resumed to the bit.
    """
    # Type checkers that wrap every function of a package would hide the loop from the compiler.
    loop = inspect.unwrap(function)
    how = {"nogil": True, "forceinline": True, "fastmath": FREEDOM, "error_model": "numpy"}
    try:
        return njit(cache=True, **how)(loop)
    except RuntimeError:
        return njit(**how)(loop)


def serves(*tensors: Tensor) -> bool:
    """Whether kernels may take the place of tensor operations: one precision, on the processor, and nobody waits for a
    gradient.
    """
    if not _allowed:
        return False
    kind = tensors[0].dtype
    if kind is not torch.float32 and kind is not torch.float64:
        return False
    gradients = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor.dtype is not kind or not tensor.is_cpu or (gradients and tensor.requires_grad):
            return False
    return True


@contextmanager
def tensors_only() -> Iterator[None]:
    """No kernels within: to compare both."""
    global _allowed
    before, _allowed = _allowed, False
    try:
        yield
    finally:
        _allowed = before


def array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, row by row."""
    # A third of the time of ``tensor.detach().contiguous().numpy()``: hundreds of them are asked for in a millisecond's
    # work.
    return (tensor.detach() if tensor.requires_grad else tensor).contiguous().numpy()
