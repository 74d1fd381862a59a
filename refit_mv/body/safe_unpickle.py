"""Read pickles, of SMPL models and of plain numbers, without running what they say.

An official ``.pkl`` was written by Python 2 and names a handful of classes: NumPy arrays, SciPy's sparse matrix,
chumpy's array. Exactly these (module, name) pairs are answered, and each by a stand-in that records what it is given;
arrays are then made from the records. Any other name is refused before anything is looked up. chumpy, which no longer
installs, is not needed: its array is the state's ``x``, its selection ``a.ravel()[idxs].reshape(preferred_shape)``.
"""

import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from refit_mv.errors import InputError
from refit_mv.files import regular_file

OFFICIAL = "get the file from its official source"
# The largest array any of the family needs is SMPL-X's shape space, 1.3e7 numbers.
MOST_NUMBERS = 10**8
# Objects take many times the bytes that a pickle needs to ask for them.
MOST_PLAIN_BYTES = 2**26


# What a damaged pickle, or one that fits no model, makes the machine below raise.
UNREADABLE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Recorded:
    """Stand-in for a pickled object: keeps arguments and state and does nothing with them."""

    kind = ""
    # On the class, because an object may be made without its constructor.
    arguments: Any = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _stand_in(kind: str) -> type[_Recorded]:
    # A new class each time, so that nothing one file says can reach the next.
    return type("_Recorded", (_Recorded,), {"kind": kind})


def _latin1(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` is used for by Python 3 writing protocol 2: bytes kept as text. No other codec is
    needed.
    """
    if encoding != "latin1":
        raise InputError(f"the pickle asks for the codec '{encoding}', SMPL files need latin1 alone: {OFFICIAL}")
    return text.encode("latin1")


def _rebuilt(cls: type, base: type, state: Any) -> _Recorded:
    """``copy_reg._reconstructor``, for stand-ins alone."""
    if not (isinstance(cls, type) and issubclass(cls, _Recorded)):
        raise InputError(f"the pickle rebuilds an object of an unexpected class: {OFFICIAL}")
    return cls()


def _answers() -> dict[tuple[str, str], object]:
    sparse, chumpy_array, chumpy_select = _stand_in("sparse"), _stand_in("chumpy array"), _stand_in("chumpy select")
    array, from_buffer, scalar = _stand_in("array"), _stand_in("from buffer"), _stand_in("scalar")
    answers: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): _stand_in("array class"),
        ("numpy", "dtype"): _stand_in("dtype"),
        ("scipy.sparse.csc", "csc_matrix"): sparse,
        ("scipy.sparse._csc", "csc_matrix"): sparse,
        ("chumpy.ch", "Ch"): chumpy_array,
        ("chumpy.reordering", "Select"): chumpy_select,
        ("copy_reg", "_reconstructor"): _rebuilt,
        ("copyreg", "_reconstructor"): _rebuilt,
        ("__builtin__", "object"): _stand_in("object"),
        ("builtins", "object"): _stand_in("object"),
        ("_codecs", "encode"): _latin1,
    }
    for core in ("numpy.core", "numpy._core"):
        answers[f"{core}.multiarray", "_reconstruct"] = array
        answers[f"{core}.multiarray", "scalar"] = scalar
        answers[f"{core}.numeric", "_frombuffer"] = from_buffer
    return answers


class _ModelUnpickler(pickle.Unpickler):
    def __init__(self, stream: io.BufferedIOBase) -> None:
        super().__init__(stream, encoding="latin1")
        self.answers = _answers()

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self.answers:
            asked = f"{module_name}.{global_name}"
            raise InputError(
                f"the pickle asks for '{asked}', which no SMPL model contains, and was not opened: {OFFICIAL}"
            )
        return self.answers[module_name, global_name]

    def persistent_load(self, pid: Any) -> Any:
        raise InputError(f"the pickle refers to objects outside itself, which no SMPL model does: {OFFICIAL}")


def _dtype(record: _Recorded) -> np.dtype | None:
    """Numbers of plain kinds; None for arrays of objects or text, which no model needs."""
    code = str(record.arguments[0])
    order = record.state[1] if record.state else "="
    if code.lstrip("<>=|")[:1] not in ("f", "i", "u", "b"):
        return None
    return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


def _numbers(record: _Recorded, shape: Any, data: Any, column_major: bool) -> np.ndarray | None:
    dtype = _dtype(record)
    if dtype is None:
        return None
    content = data.encode("latin1") if isinstance(data, str) else bytes(data)
    flat = np.frombuffer(content, dtype=dtype)
    return flat.reshape(tuple(int(size) for size in shape), order="F" if column_major else "C").astype(
        dtype.newbyteorder("=")
    )


def _csc(state: dict[str, Any]) -> np.ndarray:
    """A dense matrix out of compressed columns."""
    rows, columns = (int(size) for size in state["_shape" if "_shape" in state else "shape"])
    data, indices, starts = (np.asarray(_value(state[key])) for key in ("data", "indices", "indptr"))
    if len(starts) != columns + 1 or rows * columns > MOST_NUMBERS or np.any((indices < 0) | (indices >= rows)):
        raise ValueError("a sparse matrix does not fit its shape")
    dense = np.zeros((rows, columns))
    np.add.at(dense, (indices, np.repeat(np.arange(columns), np.diff(starts))), data)
    return dense


def _value(entry: Any) -> Any:
    """Arrays out of stand-ins; everything else as it is."""
    return _made(entry.kind, entry.arguments, entry.state) if isinstance(entry, _Recorded) else entry


def _made(kind: str, arguments: Any, state: Any) -> Any:
    match kind:
        case "array":
            _, shape, dtype, column_major, data = state
            return _numbers(dtype, shape, data, bool(column_major))
        case "from buffer":
            data, dtype, shape, order = arguments
            return _numbers(dtype, shape, data, order == "F")
        case "scalar":
            single = _numbers(arguments[0], (1,), arguments[1], False)
            return None if single is None else single[0]
        case "sparse":
            return _csc(state)
        case "chumpy array":
            return np.asarray(_value(state["x"]))
        case "chumpy select":
            chosen = np.asarray(_value(state["a"])).ravel()[np.asarray(_value(state["idxs"]))]
            shape = _value(state.get("preferred_shape"))
            return chosen if shape is None else chosen.reshape(tuple(int(size) for size in shape))
    return None


def read_model_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in an SMPL-family ``.pkl``; chumpy and sparse entries come as plain arrays, entries of no use
    (objects) as None.

    Raises:
        InputError: the file names anything outside the allow-list (the message names it), or is no such pickle.
    """
    try:
        with path.open("rb") as stream:
            content = _ModelUnpickler(stream).load()
        if not isinstance(content, dict):
            raise InputError(f"a body model is a dictionary of arrays, this pickle holds something else: {OFFICIAL}")
        return {str(key): _value(entry) for key, entry in content.items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} cannot be read as a body model ({type(error).__name__}: {reason}): {OFFICIAL}"
        ) from None


class _PlainUnpickler(pickle._Unpickler):
    """For lists, dictionaries, texts, numbers and NumPy arrays. It is Python's own machine, not the fast one, which
    makes room for four billion entries where a pickle of ten bytes numbers one so.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.answers = {
            asked: answer
            for asked, answer in _answers().items()
            if isinstance(answer, type) and asked[0].split(".")[0] == "numpy"
        }

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self.answers:
            asked = f"{module_name}.{global_name}"
            raise InputError(f"the pickle asks for {asked!r:.80} and was not opened: it may do harm")
        return self.answers[module_name, global_name]


def _plain(entry: Any, left: list[int], depth: int = 0) -> Any:
    """An entry with arrays out of stand-ins. What holds itself, or one thing many times, ends at the limits."""
    left[0] -= 1
    if left[0] < 0 or depth > 10:
        raise ValueError("it holds too much, or itself")
    if type(entry) is dict:
        return {_plain(key, left, depth + 1): _plain(value, left, depth + 1) for key, value in entry.items()}
    if type(entry) in (list, tuple):
        return type(entry)(_plain(part, left, depth + 1) for part in entry)
    return _value(entry)


def plain_pickle(content: bytes) -> Any:
    """The lists, dictionaries, texts, numbers and arrays of numbers in a pickle of any protocol.

    Raises:
        InputError: it asks for anything else (the message names it), is damaged, or of unreasonable size.
    """
    if len(content) > MOST_PLAIN_BYTES:
        raise InputError(
            f"a pickle of {len(content):.3g} bytes is larger than any of its kind ({MOST_PLAIN_BYTES:.3g})"
        )
    try:
        # Every object takes a byte at least, unless it is one that was there before.
        return _plain(_PlainUnpickler(content).load(), [len(content)])
    except InputError:
        raise
    except (*UNREADABLE, AssertionError, struct.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"the pickle is damaged ({type(error).__name__}: {reason})") from None


def read_plain_pickle(path: Path, what: str) -> Any:
    """:func:`plain_pickle` of a file, ``what`` it should be is for messages.

    Raises:
        InputError: as there, or no plain file.
    """
    regular_file(path, what, MOST_PLAIN_BYTES)
    try:
        return plain_pickle(path.read_bytes())
    except InputError as error:
        raise InputError(f"{what} {path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read the {what} ({error.strerror})") from None
