"""Results on disk, written chunk by chunk, that survive a kill at any moment.

The file is plain HDF5, readable by any tool. Everything structural is written once, into a temporary file that is
renamed into place: all datasets exist at full size, contiguous, with their space allocated. From then on HDF5 never
writes again: chunks go to their known byte offsets with ``pwrite``, are synced to disk, and only then is the chunk's
``done`` byte set and synced. Whatever moment the process dies at, the file opens, and a chunk marked done is complete.
Several processes may write different chunks of one store.
"""

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from refit_mv.errors import InputError, PassingError
from refit_mv.files import complete_or_absent, found_at, refuse_leaving, regular_file

FORMAT = "refit-mv results"
VERSION = 1
# A month of frames.
LARGEST_RESULTS = 2**40
# Names of a rig's views, of a body's joints, a detector's habits: a damaged file can claim any size for them.
LARGEST_STATIC = 2**26
# The oldest file layout: its superblock has no "open for writing" flag that a killed process could leave behind.
LIBVER = ("earliest", "v108")
Static = np.ndarray | str | int | float | bool


@dataclass(frozen=True)
class Field:
    """One quantity that every frame has: the shape of a frame's value, its dtype (number or bool), and what it is, with
    units."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    description: str = ""


def _early_contiguous(fill: object, dtype: np.dtype) -> h5py.h5p.PropDCID:
    """Creation properties: one block of bytes at a fixed offset, allocated and filled at once (so a full disk shows at
    the start)."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)
    properties.set_fill_value(np.array(fill, dtype=dtype))
    properties.set_obj_track_times(False)
    return properties


def _create_block(group: h5py.File | h5py.Group, name: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.Dataset:
    # Rows never written read as NaN, not as a plausible zero.
    fill = np.nan if dtype.kind == "f" else 0
    space = h5py.h5s.create_simple(shape)
    kind = h5py.h5t.py_create(dtype, logical=True)
    h5py.h5d.create(group.id, name.encode(), kind, space, _early_contiguous(fill, dtype))
    return _dataset(group, name)


def _write_static(group: h5py.Group, name: str, value: Static) -> None:
    if isinstance(value, str):
        text = value.encode(errors="surrogateescape")
        # A dataset, not an attribute: attributes end at 64 kB. Fixed length, because variable-length text lives on
        # HDF5's heap.
        group.create_dataset(name, data=np.bytes_(text), dtype=h5py.string_dtype("utf-8", max(len(text), 1)))
        return
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"static '{name}': numbers, bools and text can be stored, not dtype {array.dtype}")
    group.create_dataset(name, data=array)


def _dataset(parent: h5py.File | h5py.Group, name: str) -> h5py.Dataset:
    found = parent[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"'{name}' is no dataset")
    return found


def _group(parent: h5py.File, name: str) -> h5py.Group:
    found = parent[name]
    if not isinstance(found, h5py.Group):
        raise KeyError(f"'{name}' is no group")
    return found


def _number(file: h5py.File, name: str) -> int:
    return int(np.asarray(file.attrs[name]))


def _text(node: h5py.File | h5py.Dataset, name: str) -> str:
    return bytes(np.asarray(node.attrs[name])).rstrip(b"\0").decode()


def _open_hdf5(path: Path) -> h5py.File:
    if found_at(path) is None:
        raise InputError(f"no result file {path}; run the fit first, or check the folder")
    regular_file(path, "result file", LARGEST_RESULTS)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is not a readable HDF5 file ({error}); delete it and run again") from None
    with _damage_told(path):
        told = file.attrs.get("format")
    if told != FORMAT:
        file.close()
        raise InputError(f"{path} is HDF5 but not a result file of this program; give another output folder")
    with _damage_told(path):
        version = _number(file, "version")
    if version != VERSION:
        file.close()
        raise InputError(f"{path} has result format {version}, this program reads {VERSION}; delete it and run again")
    return file


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (KeyError, OSError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is a damaged result file ({reason}); delete it and run again") from None


@dataclass(frozen=True)
class _Block:
    """Where a dataset's bytes lie in the file."""

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))


def _block(dataset: h5py.Dataset, rows: int) -> _Block:
    """Where a dataset of so many rows lies. What is not whole, in one piece and in this very file has no place: it
    could claim any size, and writing there would hit something else.
    """
    offset, held = dataset.id.get_offset(), dataset.id.get_storage_size()
    if offset is None or dataset.external or held != dataset.nbytes or dataset.shape[:1] != (rows,):
        raise ValueError(f"'{dataset.name}' is not {rows} rows in one piece")
    return _Block(offset, dataset.dtype, dataset.shape)


def _pwrite_all(handle: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(handle, view, offset)
        view, offset = view[written:], offset + written


class _Bytes(io.FileIO):
    """The file that HDF5 writes to. Told of a write that failed, HDF5 leaves the process in ruins when it closes: it is
    told that all went well, and the first failure is kept here.
    """

    failure: OSError | None = None

    def write(self, data) -> int:
        self._try(_pwrite_all, self.fileno(), memoryview(data), self.tell())
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        self._try(os.ftruncate, self.fileno(), length)
        return length

    def _try(self, change: Callable, *given: object) -> None:
        if self.failure is None:
            try:
                change(*given)
            except OSError as error:
                self.failure = error

    def check(self) -> None:
        """Raise what HDF5 was not told."""
        if self.failure is not None:
            raise self.failure


@contextmanager
def _new_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """An empty file at ``path`` to lay out, and what raises OSError as soon as the disk has refused a write."""
    with _Bytes(path, "w+") as raw:
        with h5py.File(raw, "w", libver=LIBVER) as file:
            yield file, raw.check
        raw.check()


@dataclass(frozen=True)
class ResultStore:
    """A result file: ``fields`` with a leading frame axis, ``static`` values, and which chunks of frames are
    finished."""

    path: Path
    frame_count: int
    chunk_frames: int
    fingerprint: str
    fields: Mapping[str, Field]
    _blocks: Mapping[str, _Block] = field(repr=False)
    _done: _Block = field(repr=False)

    @staticmethod
    def create(
        path: Path,
        frame_count: int,
        fields: Mapping[str, Field],
        static: Mapping[str, Static],
        chunk_frames: int,
        fingerprint: str = "",
    ) -> "ResultStore":
        """Lay out a new file at ``path``, replacing what was there; ``fingerprint`` names the inputs the results will
        belong to.

        Raises:
            ValueError: sizes that are not positive, a field that is no number or bool.
            InputError: the file cannot be written (no space, no permission).
        """
        if frame_count < 1 or chunk_frames < 1 or not fields:
            raise ValueError(
                f"a store needs frames, fields and a chunk length; got {frame_count}, {list(fields)}, {chunk_frames}"
            )
        dtypes = {name: np.dtype(spec.dtype) for name, spec in fields.items()}
        for name, dtype in dtypes.items():
            if dtype.kind not in "biuf":
                raise ValueError(f"field '{name}': numbers and bools can be stored, not dtype {dtype}")
            if any(size < 1 for size in fields[name].shape):
                raise ValueError(f"field '{name}': every axis needs at least one entry, got {fields[name].shape}")
        with complete_or_absent(path) as temporary, _new_hdf5(temporary) as (file, check):
            file.attrs["format"] = FORMAT
            file.attrs["version"] = VERSION
            file.attrs["chunk_frames"] = chunk_frames
            file.attrs["frame_count"] = frame_count
            file.attrs["fingerprint"] = np.bytes_(fingerprint.encode())
            frames = file.create_group("frames")
            for name, spec in fields.items():
                dataset = _create_block(frames, name, (frame_count, *spec.shape), dtypes[name])
                dataset.attrs["description"] = np.bytes_(spec.description.encode())
                check()
            group = file.create_group("static")
            for name, value in static.items():
                _write_static(group, name, value)
            _create_block(file, "done", (-(-frame_count // chunk_frames),), np.dtype("uint8"))
        return ResultStore.open(path)

    @staticmethod
    def open(path: Path, fingerprint: str | None = None) -> "ResultStore":
        """Open what :meth:`create` made, finished or not.

        Raises:
            InputError: no such file, not ours, damaged, or (with ``fingerprint`` given) made from other inputs.
        """
        with _open_hdf5(path) as file, _damage_told(path):
            stored = _text(file, "fingerprint")
            if fingerprint is not None and fingerprint != stored:
                raise InputError(
                    f"{path} holds results of other inputs (recording, calibration, body or settings changed since);"
                    " delete it or give another output folder"
                )
            frames = _group(file, "frames")
            datasets = {str(name): _dataset(frames, str(name)) for name in frames}
            fields = {
                name: Field(tuple(data.shape[1:]), data.dtype.name, _text(data, "description"))
                for name, data in datasets.items()
            }
            count, chunk = _number(file, "frame_count"), _number(file, "chunk_frames")
            if count < 1 or chunk < 1:
                raise ValueError(f"{count} frames in chunks of {chunk}")
            return ResultStore(
                path=path,
                frame_count=count,
                chunk_frames=chunk,
                fingerprint=stored,
                fields=fields,
                _blocks={name: _block(data, count) for name, data in datasets.items()},
                _done=_block(_dataset(file, "done"), -(-count // chunk)),
            )

    @property
    def chunk_count(self) -> int:
        return -(-self.frame_count // self.chunk_frames)

    def chunk_rows(self, index: int) -> slice:
        """The frames of a chunk, as positions from 0; the last chunk may be shorter."""
        if not 0 <= index < self.chunk_count:
            raise IndexError(f"chunk {index} of {self.chunk_count}")
        start = index * self.chunk_frames
        return slice(start, min(start + self.chunk_frames, self.frame_count))

    def write_chunk(self, index: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write all fields of one chunk and mark it finished. Durable on return.

        Raises:
            ValueError: fields missing or unknown, or arrays of another shape or kind than the store's.
            InputError: the disk refuses.
        """
        rows = self.chunk_rows(index)
        count = rows.stop - rows.start
        if set(arrays) != set(self.fields):
            raise ValueError(f"chunk {index}: got fields {sorted(arrays)}, the store has {sorted(self.fields)}")
        pieces: list[tuple[int, bytes]] = []
        for name, array in arrays.items():
            block, given = self._blocks[name], np.asarray(array)
            if given.shape != (count, *block.shape[1:]) or not np.can_cast(given.dtype, block.dtype, "same_kind"):
                raise ValueError(
                    f"chunk {index}, field '{name}': got {given.dtype} {given.shape}, expected {block.dtype} "
                    f"{(count, *block.shape[1:])}"
                )
            data = np.ascontiguousarray(given, dtype=block.dtype).tobytes()
            pieces.append((block.offset + rows.start * block.row_bytes, data))
        refuse_leaving(self.path)
        try:
            # No link: what it leads to is nobody's output.
            handle = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                for offset, data in pieces:
                    _pwrite_all(handle, data, offset)
                os.fsync(handle)
                # The mark may reach the disk only after the data has: hence two syncs.
                _pwrite_all(handle, b"\x01", self._done.offset + index)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise PassingError(
                f"cannot write {self.path}: {error.strerror}; the finished chunks are kept, run again to go on"
            ) from None

    def finished(self, index: int) -> bool:
        """Whether a chunk is complete on disk."""
        self.chunk_rows(index)
        return index not in self.unfinished()

    def unfinished(self) -> tuple[int, ...]:
        """Chunks still to be written, in order."""
        with _open_hdf5(self.path) as file, _damage_told(self.path):
            return tuple(int(index) for index in np.flatnonzero(_dataset(file, "done")[:] == 0))

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """A field for all frames or some (positions from 0); rows of unfinished chunks are NaN (0 where the field is no
        float)."""
        if name not in self.fields:
            raise KeyError(f"no field '{name}' in {self.path}; it has: {', '.join(self.fields)}")
        with _open_hdf5(self.path) as file, _damage_told(self.path):
            values = _dataset(_group(file, "frames"), name)[rows]
            written = np.repeat(_dataset(file, "done")[:] != 0, min(self.chunk_frames, self.frame_count))[
                : self.frame_count
            ][rows]
        # A chunk that was being written when the process died has some of its bytes: they are not results.
        values[~written] = np.nan if values.dtype.kind == "f" else 0
        return values

    def static_names(self) -> tuple[str, ...]:
        with _open_hdf5(self.path) as file, _damage_told(self.path):
            return tuple(_group(file, "static"))

    def read_static(self, name: str) -> Static:
        """A value given at creation: text as ``str``, single numbers as Python numbers, the rest as arrays."""
        names = self.static_names()
        if name not in names:
            raise KeyError(f"no static value '{name}' in {self.path}; it has: {', '.join(names)}")
        with _open_hdf5(self.path) as file, _damage_told(self.path):
            dataset = _dataset(_group(file, "static"), name)
            if dataset.nbytes > LARGEST_STATIC:
                raise ValueError(f"'{name}' claims {dataset.nbytes} bytes")
            if h5py.check_string_dtype(dataset.dtype) is not None:
                return bytes(dataset[()]).decode(errors="surrogateescape")
            value = dataset[()]
        array = np.asarray(value)
        return array if array.ndim else array.item()
