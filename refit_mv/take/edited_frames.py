"""Frames that were solved anew after a person's corrections, in a file beside their fit, which stays as it was.

The file is named by what is in it, and ``take.json`` says which one counts: whenever a process dies, the take is whole,
with the frames of before or of after.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, read_npz
from refit_mv.solve.feet import Contacts
from refit_mv.status import STATUS_CODES
from refit_mv.take.store import ResultStore

# What there is of contacts beside the fields of a store.
_CONTACTS = {"contact_probability": "float32", "contact_held": "bool"}
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, eq=False)
class EditedFrames:
    """Stretches of a person's rows (``start``, ``stop`` exclusive, in order, apart from each other), each with a
    ``key`` that tells what it was made from, and all fields of the store for their rows, one after the other; and, if
    the fit asked for them, their contacts (``contact_arrays``).
    """

    start: Int[np.ndarray, " stretch"]
    stop: Int[np.ndarray, " stretch"]
    key: tuple[str, ...]
    values: Mapping[str, np.ndarray]

    @staticmethod
    def joined(stretches: "Sequence[EditedFrames]") -> "EditedFrames":
        """Several, in the order of their rows."""
        ordered = sorted(stretches, key=lambda each: int(each.start[0]))
        names = [name for name in ordered[0].values if all(name in each.values for each in ordered)]
        return EditedFrames(
            np.concatenate([each.start for each in ordered]),
            np.concatenate([each.stop for each in ordered]),
            tuple(key for each in ordered for key in each.key),
            {name: np.concatenate([each.values[name] for each in ordered]) for name in names},
        )

    def stretch(self, start: int, stop: int, key: str) -> "EditedFrames | None":
        """The stretch of these rows alone, None where there is none or it was made from something else."""
        ends = np.cumsum(self.stop - self.start)
        for place, own in enumerate(zip(self.start.tolist(), self.stop.tolist(), self.key, strict=True)):
            if own == (start, stop, key):
                rows = slice(int(ends[place]) - (stop - start), int(ends[place]))
                values = {name: each[rows] for name, each in self.values.items()}
                return EditedFrames(self.start[[place]], self.stop[[place]], (key,), values)
        return None

    @cached_property
    def rows(self) -> Int[np.ndarray, " row"]:
        """The rows, in order."""
        return np.concatenate([np.arange(a, b) for a, b in zip(self.start, self.stop, strict=True)])

    @cached_property
    def digest(self) -> str:
        """A word for what is in it."""
        found = hashlib.sha256("\n".join(self.key).encode())
        for array in (self.start, self.stop, *(self.values[name] for name in sorted(self.values))):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]

    def write(self, take: Path, id: int) -> None:
        """Write them beside the person's results, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        key = np.array([list(each.encode()) for each in self.key], dtype=np.uint8)
        arrays: dict[str, Any] = {"start": self.start, "stop": self.stop, "key": key, **self.values}
        # Also where one of that name lies: it may be damaged.
        with complete_or_absent(_place(take, id, self.digest)) as temporary:
            np.savez(temporary, **arrays)

    @staticmethod
    def read(take: Path, id: int, digest: object, store: ResultStore) -> "EditedFrames":
        """What :meth:`write` made for the results in ``store``.

        Raises:
            InputError: nothing there, damaged, or of another fit.
        """
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"edited_frames is {digest!r:.40}")
        path = _place(take, id, digest)
        try:
            found = read_npz(path, "file of edited frames", ("start", "stop", "key", *store.fields, *_CONTACTS))
        except InputError as error:
            raise InputError(f"{error}; run refit-mv refit {take} again") from None
        try:
            start, stop = (found.pop(name).astype(np.int64, casting="safe") for name in ("start", "stop"))
            edited = EditedFrames(start, stop, tuple(bytes(each).decode() for each in found.pop("key")), found)
            good = len(start) == len(stop) == len(edited.key) > 0 and edited._fits(store)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise InputError(f"{path} is damaged or belongs to another fit; run refit-mv refit {take} again")
        return edited

    def _fits(self, store: ResultStore) -> bool:
        ends = np.stack([self.start, self.stop], axis=-1).ravel()
        own, beside = set(self.values) - set(_CONTACTS), set(self.values) & set(_CONTACTS)
        if own != set(store.fields) or len(beside) == 1 or ends[0] < 0 or ends[-1] > store.frame_count:
            return False
        if (np.diff(ends) < 0).any() or (self.start >= self.stop).any():
            return False
        layout = {name: ((len(self.rows), *each.shape), each.dtype) for name, each in store.fields.items()}
        if beside:
            layout |= {name: ((len(self.rows), len(Contacts.names)), kind) for name, kind in _CONTACTS.items()}
            probability = self.values["contact_probability"]
            if not ((probability >= 0) & (probability <= 1)).all():
                return False
        if any((self.values[name].shape, self.values[name].dtype.name) != each for name, each in layout.items()):
            return False
        known = all(np.isfinite(self.values[name]).all() for name in ("pelvis", "rotations"))
        return known and bool((self.values["status"] < len(STATUS_CODES)).all())

    def into(self, name: str, values: np.ndarray, first: int = 0) -> np.ndarray:
        """A field's values of rows from the ``first`` on, with these in place of theirs."""
        here = self._here(first, len(values))
        if here.any():
            values = values.copy()
            values[self.rows[here] - first] = self.values[name][here]
        return values

    def into_params(self, params: BodyParams, first: int = 0) -> BodyParams:
        """The parameters of rows from the ``first`` on, with these in place of theirs."""
        here = self._here(first, len(params))
        place = torch.from_numpy(self.rows[here] - first)
        pelvis, rotations = (torch.from_numpy(self.values[name][here]) for name in ("pelvis", "rotations"))
        return params.put(place, replace(params[place], pelvis=pelvis, rotations=rotations))

    def into_contacts(self, contacts: Contacts) -> Contacts:
        """The contacts of all rows, with these in place of theirs, if there are any."""
        if "contact_held" not in self.values:
            return contacts
        probability, held = contacts.probability.copy(), contacts.held.copy()
        probability[self.rows], held[self.rows] = self.values["contact_probability"], self.values["contact_held"]
        return replace(contacts, probability=probability, held=held)

    def _here(self, first: int, count: int) -> Bool[np.ndarray, " row"]:
        return (self.rows >= first) & (self.rows < first + count)


def contact_arrays(contacts: Contacts) -> dict[str, np.ndarray]:
    """What :class:`EditedFrames` hold of the contacts of their rows."""
    return {"contact_probability": contacts.probability.astype(np.float32), "contact_held": contacts.held}


def _place(take: Path, id: int, digest: str) -> Path:
    return take / "people" / str(id) / f"edited-{digest}.npz"


def edited_files(folder: Path) -> list[Path]:
    """All such files in a person's folder."""
    return [path for path in folder.glob("edited-*.npz") if _DIGEST.fullmatch(path.stem.removeprefix("edited-"))]


def clear_edited(take: Path, id: int, counts: EditedFrames | None) -> None:
    """Delete all of a person's but those that count."""
    kept = None if counts is None else _place(take, id, counts.digest)
    for path in edited_files(take / "people" / str(id)):
        if path != kept:
            # One that stays is in nobody's way.
            with suppress(OSError):
                path.unlink()
