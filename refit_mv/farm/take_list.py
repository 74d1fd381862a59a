"""Which takes a night is about: folders by name or pattern, or a list of them as YAML or CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refit_mv.errors import InputError
from refit_mv.farm.places import Place, matching
from refit_mv.files import found_at, read_text
from refit_mv.strict_yaml import nearest, read_yaml, validated

LISTS = (".yaml", ".yml", ".csv")
# Ten thousand takes as a program writes them, at a minute; more go as CSV.
MOST_BYTES = 2**20


@dataclass(frozen=True)
class TakeEntry:
    """One take. ``name`` is its folder in the output; ``calibration`` None: as ``fit`` looks for it. ``performers``
    are the names of its people in the order in which a fit numbers them; on one ``day`` a name is one body.
    """

    name: str
    take: Place
    calibration: Place | None = None
    day: str = ""
    performers: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    """What a list says of a take."""

    take: str
    name: str | None = None
    calibration: str | None = None
    day: str | None = None
    performers: tuple[str, ...] = ()


def read_takes(words: Sequence[str], calibration: str | None = None) -> tuple[TakeEntry, ...]:
    """The takes that words name: folders, patterns, and lists. ``calibration`` is that of takes whose list says none.

    Raises:
        InputError: no such folder, a list that cannot be read, or two takes of one name.
    """
    entries: list[TakeEntry] = []
    usual = None if calibration is None else Place(calibration)
    for word in words:
        if "://" not in word and word.lower().endswith(LISTS) and (found_at(Path(word)) or "*" not in word):
            entries += [_entry(row, Path(word), usual) for row in _rows(Path(word))]
        else:
            entries += [TakeEntry(place.name, place, usual) for place in matching(word)]
    if not entries:
        raise InputError("no takes: give session folders, a pattern such as 'takes/*', or a list (.yaml, .csv)")
    for entry in entries:
        _check_name(entry)
    names = [entry.name for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InputError(f"two takes are called {twice}; give them names of their own in a take list (name: …)")
    return tuple(map(_for_everybody, entries))


def _for_everybody(entry: TakeEntry) -> TakeEntry:
    """The entry as workers in other folders read it."""
    calibration = None if entry.calibration is None else entry.calibration.absolute
    return replace(entry, take=entry.take.absolute, calibration=calibration)


def _check_name(entry: TakeEntry) -> None:
    for word in (entry.name, entry.day, *entry.performers):
        if word in (".", "..") or "/" in word or "\\" in word or word.startswith(".") or len(word) > 100:
            raise InputError(f"take {entry.take}: '{word:.40}' cannot be part of a file's name; give another")
    if not entry.name:
        raise InputError(f"take {entry.take} has no name; give one in a take list (name: …)")
    if len(set(entry.performers)) < len(entry.performers):
        raise InputError(f"take {entry.name}: a performer is named twice; each person is somebody else")


def _entry(row: _Row, source: Path, usual: Place | None) -> TakeEntry:
    take = _beside(row.take, source)
    calibration = usual if row.calibration is None else _beside(row.calibration, source)
    return TakeEntry(row.name or take.name, take, calibration, row.day or "", row.performers)


def _beside(word: str, source: Path) -> Place:
    """What a list names, from where the list lies."""
    return Place(word.rstrip("/") if "://" in word else str(source.parent / word))


def _rows(path: Path) -> list[_Row]:
    rows, problems = [], []
    for place, item in enumerate(_from_csv(path) if path.suffix.lower() == ".csv" else _from_yaml(path), 1):
        row, wrong = validated(_Row, item) if isinstance(item, dict) else (None, ("expected a take, such as take: a",))
        rows += [] if row is None else [row]
        problems += [f"take {place}: {each}" for each in wrong]
    if problems:
        raise InputError(f"{path}: {'; '.join(problems[:5])}")
    return rows


def _from_yaml(path: Path) -> list[Any]:
    content = read_yaml(path, "take list", MOST_BYTES)
    listed = content.get("takes") if isinstance(content, dict) and set(content) == {"takes"} else content
    if not isinstance(listed, list):
        raise InputError(f"{path}: expected a list of takes, such as '- take: take_001', got {type(content).__name__}")
    return [{"take": item} if isinstance(item, str) else _of_text(item) for item in listed]


def _of_text(item: Any) -> Any:
    """One performer may be named without a list; a number is a name as well."""
    if not isinstance(item, Mapping):
        return item
    told = {
        key: str(value) if key in ("name", "day") and isinstance(value, int) else value for key, value in item.items()
    }
    if isinstance(told.get("performers"), str):
        told["performers"] = [told["performers"]]
    return told


def _from_csv(path: Path) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(read_text(path, "take list")), skipinitialspace=True)
    known = list(_Row.__dataclass_fields__)
    unknown = [name for name in reader.fieldnames or () if name not in known]
    if unknown or "take" not in (reader.fieldnames or ()):
        raise InputError(
            f"{path}: unknown column '{unknown[0]}', {nearest(unknown[0], known)}"
            if unknown
            else f"{path}: has no column 'take'; the first line names the columns: take,calibration,day,performers"
        )
    rows = []
    for line in reader:
        if None in line or None in line.values():
            raise InputError(f"{path}, line {reader.line_num}: {len(reader.fieldnames or ())} columns are expected")
        told: dict[str, Any] = {name: value.strip() for name, value in line.items() if value.strip()}
        if "performers" in told:
            told["performers"] = [name.strip() for name in told["performers"].replace(";", " ").split()]
        rows.append(told)
    return rows
