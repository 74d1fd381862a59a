"""The one table of a ``.h5`` file that pandas wrote, read without pandas: its two layouts ("table", "fixed") as
``pandas/io/pytables.py`` has them, columns with several levels of names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from refit_mv.body.safe_unpickle import plain_pickle
from refit_mv.errors import InputError
from refit_mv.files import regular_file

MOST_BYTES = 2**30


@dataclass(frozen=True)
class Table:
    """``columns`` are the names of all levels, from the outer to the inner; ``index`` are the rows' labels as text."""

    columns: tuple[tuple[str, ...], ...]
    index: tuple[str, ...]
    values: Float[np.ndarray, "row column"]


def _array(found: object) -> np.ndarray:
    if not isinstance(found, h5py.Dataset) or found.size is None or found.nbytes > MOST_BYTES:
        raise ValueError("an array is missing or too large")
    return found[()]


def _attribute(found: h5py.HLObject, name: str) -> Any:
    return found.attrs[name]


def _texts(labels: np.ndarray) -> tuple[str, ...]:
    return tuple(label.decode("utf-8") if isinstance(label, bytes) else str(label) for label in labels.tolist())


def _columns(names: object) -> list[tuple[str, ...]]:
    if not isinstance(names, list) or not all(isinstance(name, tuple | list) for name in names):
        raise ValueError("its columns have no levels")
    return [tuple(map(str, name)) for name in names]


def _from_table(group: h5py.Group) -> Table:
    """Layout "table": rows are records of the index and of blocks of columns, whose names are pickled beside them."""
    table = group["table"]
    rows = _array(table)
    blocks = [name for name in rows.dtype.names or () if name != "index"]
    columns: list[tuple[str, ...]] = []
    for block in blocks:
        columns += _columns(plain_pickle(bytes(_attribute(table, f"{block}_kind"))))
    values = np.concatenate([rows[block].reshape(len(rows), -1) for block in blocks], axis=1)
    return Table(tuple(columns), _texts(rows["index"]), values.astype(np.float64))


def _from_fixed(group: h5py.Group) -> Table:
    """Layout "fixed": every block has its values, and for every level the names and which of them a column has."""
    columns: list[tuple[str, ...]] = []
    values = []
    for block in range(int(_attribute(group, "nblocks"))):
        levels = []
        for level in range(int(_attribute(group, f"block{block}_items_nlevels"))):
            names = _texts(_array(group[f"block{block}_items_level{level}"]))
            levels.append([names[place] for place in _array(group[f"block{block}_items_label{level}"]).tolist()])
        columns += zip(*levels, strict=True)
        values.append(_array(group[f"block{block}_values"]))
    return Table(tuple(columns), _texts(_array(group["axis1"])), np.concatenate(values, axis=1).astype(np.float64))


def read_table(path: Path, what: str) -> Table:
    """The table of a file, ``what`` it should be is for messages.

    Raises:
        InputError: no plain file, no HDF5, no table of pandas or several, one that is damaged.
    """
    regular_file(path, what, MOST_BYTES)
    try:
        with h5py.File(path, "r") as file:
            groups = [
                group for group in file.values() if isinstance(group, h5py.Group) and "pandas_type" in group.attrs
            ]
            if len(groups) != 1:
                raise ValueError(f"it has {len(groups)} tables of pandas")
            table = _from_table(groups[0]) if "table" in groups[0] else _from_fixed(groups[0])
            if table.values.shape != (len(table.index), len(table.columns)):
                raise ValueError("values and names do not fit together")
            return table
    except InputError as error:
        raise InputError(f"{what} {path}: {error}") from None
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{what} {path} is no table that pandas wrote ({reason})") from None
