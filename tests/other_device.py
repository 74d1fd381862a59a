"""A device that is not the processor, on machines that have none: tensors with real numbers that claim to be elsewhere,
and refuse to be mixed with the processor's as a graphics card's would.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

# The one device that every build of PyTorch knows and that holds no numbers of its own.
ELSEWHERE = torch.device("meta")


class Distant(Tensor):
    """A tensor elsewhere; ``here`` are its numbers."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Distant":
        found = Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), dtype=here.dtype, device=ELSEWHERE, requires_grad=False
        )
        found.here = here
        return found

    def tolist(self) -> Any:
        """As any device's tensors have it, by way of the processor."""
        return self.here.tolist()

    def __repr__(self) -> str:
        return f"Distant({self.here!r})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carried_out(function, args, kwargs or {})


def carried_out(function: Any, args: Any, kwargs: Any) -> Any:
    """The operation on the numbers, its result where its arguments were, or where it was told to be."""
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    distant = any(isinstance(value, Distant) for value in given)
    moving = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    # Indices may come from the processor.
    indexing = function.__name__.startswith(("index.", "index_put", "_index_put"))
    for value in given:
        if distant and not moving and not isinstance(value, Distant) and value.ndim > 0:
            if indexing and not value.is_floating_point():
                continue
            raise AssertionError(f"{function}: a tensor of the processor among others, shape {tuple(value.shape)}")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    there = distant if asked is None else torch.device(asked).type == ELSEWHERE.type
    args, kwargs = tree_map(lambda value: value.here if isinstance(value, Distant) else value, (args, kwargs))
    found = function(*args, **kwargs)
    if function is torch.ops.aten.copy_.default or function is torch.ops.aten._local_scalar_dense.default:
        return given[0] if function is torch.ops.aten.copy_.default else found
    if function._schema.is_mutable and given and not function.__name__.endswith("out"):
        # In place: the first argument holds the numbers already.
        return next((value for value in given if isinstance(value, Distant)), found) if distant else found
    return tree_map(lambda value: Distant(value) if isinstance(value, Tensor) and there else value, found)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carried_out(function, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """``torch.tensor`` from Python's numbers does not pass by the operations."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.tensor and torch.device(kwargs.get("device") or "cpu") == ELSEWHERE:
            return function(*args, **{**kwargs, "device": "cpu"}).to(ELSEWHERE)
        if getattr(function, "__name__", "") == "new_tensor" and args and isinstance(args[0], Distant):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(ELSEWHERE)
        if function in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Distant):
            args = (args[0], _with_indices(args[1]), *args[2:])
        return function(*args, **kwargs)


def _with_indices(index: Any) -> Any:
    """Lists of places as the processor's tensors: otherwise they would be made where there are no numbers."""
    if isinstance(index, tuple):
        return tuple(_places(part) for part in index)
    return _places(index)


def _places(part: Any) -> Any:
    listed = isinstance(part, list | tuple) and all(isinstance(value, int | bool) for value in part)
    return torch.tensor(part) if listed else part


@contextmanager
def other_device() -> Iterator[torch.device]:
    """Within, ``ELSEWHERE`` is a device like any other."""
    with _Operations(), _Literals():
        yield ELSEWHERE
