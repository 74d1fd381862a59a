"""How kernels are compiled, and when they take the place of tensor operations.

A kernel is a loop over arrays; beside each user of one stands its twin in PyTorch, which is the definition: it serves
other devices and carries gradients. ``compiled_by`` ties the two and is the one place where the choice is made. Kernels
release the interpreter's lock, treat frames one by one (so that a frame's result does not depend on its batch), and are
kept on disk after the first use.
"""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, update_wrapper
from pickle import UnpicklingError
from typing import ParamSpec, TypeVar, cast

import numpy as np
import torch
from numba import njit
from numba.core.caching import FunctionCache
from torch import Tensor

T = TypeVar("T")
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

# What rounding may reorder. Not among it: the assumption that there are no infinities and NaNs, because frames that
# went astray are found by them.
FREEDOM = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Callable[..., T]) -> Callable[..., T]:
    """Compile a loop over arrays at its first call. Where nothing may be written, neither beside the module nor in the
    user's cache, each process compiles anew.

    Loops that loops call become part of them (``forceinline``): left apart, the linker binds them to copies that were
    optimised elsewhere, and code just compiled would round differently from the same code read from the cache, so that
    a run killed in its first minute could not be resumed to the bit.
    """
    # Type checkers that wrap every function of a package would hide the loop from the compiler.
    loop = inspect.unwrap(function)
    made = njit(nogil=True, forceinline=True, fastmath=FREEDOM, error_model="numpy")(loop)
    with suppress(RuntimeError):
        setattr(made, "_cache", _SpareCache(loop))  # noqa: B010 (the name is the dispatcher's own)
    return made


class _SpareCache(FunctionCache):
    """Numba's cache, which the program can do without: a full disk, a folder closed meanwhile and damaged files cost
    time alone.
    """

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, UnpicklingError) as error:
            _say_once(str(self.cache_path), str(getattr(error, "strerror", None) or error))
            if not isinstance(error, OSError):
                with suppress(OSError):
                    self.flush()


@cache
def _say_once(folder: str, reason: str) -> None:
    warnings.warn(f"compiled loops cannot be kept in {folder} ({reason}): every start compiles anew", stacklevel=2)


_KINDS = frozenset({torch.float32, torch.float64, torch.int64})


class Packed(ABC):
    """Something that a kernel takes as one record of ``arrays``. ``sample`` is one of its tensors: its device and
    precision are those of all.
    """

    @property
    @abstractmethod
    def arrays(self) -> tuple: ...

    @property
    @abstractmethod
    def sample(self) -> Tensor: ...


class Dispatch:
    """A function on tensors with a kernel for the cases that most callers have.

    Tensors, tuples of tensors (records keep their type) and ``Packed`` things become arrays, all else is passed on;
    ``definition`` is the function as PyTorch does it.
    """

    def __init__(self, definition: Callable, loop: Callable, flatten: int | None, spread: bool) -> None:
        update_wrapper(self, definition)
        self.definition, self.loop, self.flatten, self.spread = definition, loop, flatten, spread

    def __call__(self, *given):
        arrays = None if self.loop is None else self._arrays(given)
        if arrays is None:
            return self.definition(*given)
        if self.flatten is not None:
            return self._flat(given[0], self.flatten)
        found = self.loop(*arrays)
        return tuple(map(torch.from_numpy, found)) if isinstance(found, tuple) else torch.from_numpy(found)

    def _arrays(self, given: tuple) -> list | None:
        """What the loop takes; None where it may not serve. Hundreds of calls are made in a millisecond's work: one
        pass over the arguments decides and converts.
        """
        gradients, kinds, arrays = torch.is_grad_enabled(), set(), []
        for value in given:
            if isinstance(value, Tensor):
                parts, found = (value,), None
            elif isinstance(value, Packed):
                parts, found = (value.sample,), value
            elif isinstance(value, tuple) and value and isinstance(value[0], Tensor):
                parts, found = value, None
            else:
                arrays.append(value)
                continue
            # On the processor, in a precision that loops are made for, and nobody waits for a gradient.
            for part in parts:
                if not part.is_cpu or part.dtype not in _KINDS or (gradients and part.requires_grad):
                    return None
                kinds.add(part.dtype)
            record = found.arrays if found is not None else [array(part) for part in parts]
            if self.spread or (len(parts) == 1 and found is None):
                arrays += record
            else:
                arrays.append(record if found is not None else type(value)(*record))
        # Indices may lie beside numbers; numbers are of one precision.
        return arrays if len(kinds - {torch.int64}) == 1 else None

    def _flat(self, tensor: Tensor, own: int) -> Tensor:
        """One tensor, whose leading axes are all of one batch."""
        batch = tensor.shape[: tensor.ndim - own]
        found = torch.from_numpy(self.loop(array(tensor.reshape(-1, *tensor.shape[len(batch) :]))))
        return found.view(*batch, *found.shape[1:])


# All of them, for whoever compares kernels with their definitions.
DISPATCHED: list[Dispatch] = []


def compiled_by(
    loop: Callable, flatten: int | None = None, spread: bool = False
) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """The function below it defines what ``loop`` does faster where it may. ``flatten``: the one argument's own number
    of axes, all before them being of a batch; otherwise frames are the first axis of everything. ``spread``: the loop
    takes the parts of records one by one.
    """

    def tie(definition: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        DISPATCHED.append(Dispatch(definition, loop, flatten, spread))
        return cast(Callable[Parameters, Returned], DISPATCHED[-1])

    return tie


def array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, row by row."""
    # A third of the time of ``tensor.detach().contiguous().numpy()``: hundreds of them are asked for in a millisecond's
    # work.
    return (tensor.detach() if tensor.requires_grad else tensor).contiguous().numpy()
