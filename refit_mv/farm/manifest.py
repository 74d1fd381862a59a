"""The night's book: which takes are waiting, running, done, stale or failed and why, as an SQLite file. One process
writes it; anybody may look meanwhile.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from refit_mv.errors import InputError, PassingError
from refit_mv.farm.calls import Done
from refit_mv.farm.jobs import Key
from refit_mv.farm.take_list import TakeEntry
from refit_mv.files import found_at

FILE = "manifest.sqlite"
VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS takes (
    name TEXT PRIMARY KEY, place TEXT NOT NULL, day TEXT NOT NULL, performers TEXT NOT NULL, key TEXT NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0, began REAL, ended REAL, level TEXT NOT NULL DEFAULT '',
    summary TEXT NOT NULL DEFAULT '', rank INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS takes_state ON takes (state, level);
CREATE TABLE IF NOT EXISTS stages (
    take TEXT NOT NULL, stage TEXT NOT NULL, part TEXT NOT NULL, seconds REAL NOT NULL, worker TEXT NOT NULL,
    peak_mb REAL NOT NULL, cpu REAL NOT NULL, ended REAL NOT NULL, error TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS costs (
    stage TEXT PRIMARY KEY, count INTEGER NOT NULL, seconds REAL NOT NULL, peak_mb REAL NOT NULL,
    cpu REAL NOT NULL);
CREATE INDEX IF NOT EXISTS stages_take ON stages (take);
"""


class State(StrEnum):
    """``stale``: it was done, but its inputs, the recipe or the version changed since."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STALE = "stale"


@dataclass(frozen=True)
class TakeRow:
    """What the book says of a take. ``summary`` is what its delivery said."""

    name: str
    place: str
    day: str
    performers: tuple[str, ...]
    key: str
    state: State
    reason: str
    tries: int
    seconds: float
    began: float | None
    ended: float | None
    summary: dict[str, Any]


@dataclass(frozen=True)
class StageCost:
    """What a stage cost over the whole night; ``peak_mb``: the most memory that a worker has had; ``cpu``: seconds of
    a core.
    """

    stage: str
    count: int
    seconds: float
    peak_mb: float
    cpu: float


class Manifest:
    """The book of one output. Opened to write, it is this process's alone."""

    def __init__(self, folder: Path, write: bool = False) -> None:
        path = folder / FILE
        if not write and found_at(path) is None:
            raise InputError(f"{folder}: no night was begun here (no {FILE} in it); give the output of refit-mv batch")
        self.path, self._write = path, write
        address = f"{path.resolve().as_uri()}?mode={'rwc' if write else 'ro'}"
        try:
            self._base = sqlite3.connect(address, uri=True, isolation_level=None, timeout=10)
            if write:
                # Readers do not wait for the writer, and a kill at any moment loses nothing that was committed.
                self._base.execute("PRAGMA journal_mode=WAL")
                self._base.execute("PRAGMA synchronous=NORMAL")
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not write:
                raise InputError(f"{folder}: a night was only just begun here; look again later")
            if version not in (0, VERSION):
                raise InputError(f"{path}: is of version {version}, this program writes {VERSION}; give another --out")
            if write:
                self._base.executescript(_TABLES)
                self._base.execute(f"PRAGMA user_version={VERSION}")
        except sqlite3.Error as error:
            if not write and isinstance(error, sqlite3.OperationalError):
                raise _unread(path, error) from None
            raise InputError(
                f"{path}: no manifest that can be used ({error}); delete it, finished takes are kept"
            ) from None

    @contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._base
        except sqlite3.OperationalError as error:
            if self._write:
                told = f"cannot write {self.path}: {error}; free some space, and run the same again"
                raise PassingError(told) from None
            raise _unread(self.path, error) from None
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: damaged ({error}); delete it, finished takes are kept") from None

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """All of the changes or none."""
        with self._asking() as base:
            base.execute("BEGIN IMMEDIATE")
            try:
                yield base
            except BaseException:
                base.execute("ROLLBACK")
                raise
            base.execute("COMMIT")

    def plan(self, takes: Sequence[tuple[TakeEntry, Key]]) -> dict[str, State]:
        """Enter takes as they are now, and say of each whether it has to be done."""
        states: dict[str, State] = {}
        with self._changing() as base:
            known = {row.name: row for row in self._rows("")}
            # Whoever kept this book before is gone, and what was running with them.
            base.execute(
                "UPDATE takes SET state = ?, reason = 'interrupted' WHERE state = ?", (State.WAITING, State.RUNNING)
            )
            for rank, (entry, key) in enumerate(takes):
                row, state, reason = known.get(entry.name), State.WAITING, ""
                if row is not None and row.state in (State.DONE, State.STALE):
                    changed = key.changed(row.key)
                    state = State.DONE if changed is None else State.STALE
                    reason = "" if changed is None else f"changed: {changed}"
                elif row is not None and row.state is State.RUNNING:
                    reason = "interrupted"
                told = (str(entry.take), entry.day, json.dumps(entry.performers))
                kept = row.key if row is not None and state in (State.STALE, State.DONE) else key.text
                base.execute(
                    "INSERT INTO takes (name, place, day, performers, key, state, reason, rank) "
                    "VALUES (?,?,?,?,?,?,?,?) "
                    "ON CONFLICT (name) DO UPDATE SET place=excluded.place, day=excluded.day, "
                    "performers=excluded.performers, key=excluded.key, state=excluded.state, reason=excluded.reason, "
                    "rank=excluded.rank",
                    (entry.name, *told, kept, state, reason, rank),
                )
                states[entry.name] = state
        return states

    def copy(self, folder: Path) -> None:
        """The same book in another folder, as it is now."""
        with self._asking() as base, closing(sqlite3.connect(folder / FILE)) as target:
            base.backup(target)

    def finished(self, names: Sequence[str]) -> bool:
        """Whether all of these takes were done, of whatever they were made from then."""
        return set(names) <= {row.name for row in self._rows("") if row.state is State.DONE}

    def begin(self, name: str, key: Key) -> None:
        """A take is being worked on."""
        with self._changing() as base:
            base.execute(
                "UPDATE takes SET tries = CASE state WHEN 'running' THEN tries ELSE 0 END, seconds = CASE state WHEN "
                "'running' THEN seconds ELSE 0 END, began = CASE state WHEN 'running' THEN began ELSE ? END, "
                "state = 'running', reason = '', key = ? WHERE name = ?",
                (time.time(), key.text, name),
            )

    def tried(self, take: str, done: Sequence[Done]) -> None:
        """What a take's stages said."""
        with self._changing() as base:
            base.executemany(
                "INSERT INTO stages VALUES (?,?,?,?,?,?,?,?,?)",
                [
                    (
                        take,
                        each.task.stage,
                        each.task.part,
                        each.seconds,
                        each.worker,
                        each.peak_mb,
                        each.cpu,
                        time.time(),
                        each.error,
                    )
                    for each in done
                ],
            )
            # Summed as it goes: whoever asks in the morning does not wait for a million rows.
            base.executemany(
                "INSERT INTO costs VALUES (?, 1, ?, ?, ?) ON CONFLICT (stage) DO UPDATE SET count = count + 1, "
                "seconds = seconds + excluded.seconds, peak_mb = MAX(peak_mb, excluded.peak_mb), "
                "cpu = cpu + excluded.cpu",
                [(each.task.stage, each.seconds, each.peak_mb, each.cpu) for each in done],
            )
            spent = sum(each.seconds for each in done)
            base.execute("UPDATE takes SET seconds = seconds + ? WHERE name = ?", (spent, take))

    def again(self, name: str, reason: str, tries: int) -> None:
        """A take failed, and is tried again."""
        with self._changing() as base:
            base.execute(
                "UPDATE takes SET reason = ?, tries = ? WHERE name = ?", (f"again after: {reason}", tries, name)
            )

    def end(self, name: str, state: State, reason: str = "", summary: str = "") -> None:
        """A take is done, or failed for good."""
        level = json.loads(summary)["level"] if summary else ""
        with self._changing() as base:
            base.execute(
                "UPDATE takes SET state = ?, reason = ?, ended = ?, level = ?, summary = ? WHERE name = ?",
                (state, reason, time.time(), level, summary, name),
            )

    def counts(self) -> dict[State, int]:
        """How many takes are in each state."""
        with self._asking() as base:
            found = dict(base.execute("SELECT state, COUNT(*) FROM takes GROUP BY state"))
        return {state: found.get(state, 0) for state in State}

    def levels(self) -> dict[str, int]:
        """How many takes that are done have each verdict."""
        with self._asking() as base:
            return dict(base.execute("SELECT level, COUNT(*) FROM takes WHERE state = 'done' GROUP BY level"))

    def takes(self, state: State | None = None, most: int | None = None) -> list[TakeRow]:
        """The takes in the order in which they were given, or those of one state."""
        where = "" if state is None else "WHERE state = :state"
        return self._rows(where, {"state": state}, most)

    def to_look_at(self, most: int) -> list[TakeRow]:
        """Takes that are done and not good, the worst first."""
        where = "WHERE state = 'done' AND level IN ('bad', 'check')"
        return self._rows(where, {}, most, "level, json_extract(summary, '$.points') DESC, rank")

    def _rows(
        self, where: str, values: dict[str, Any] | None = None, most: int | None = None, order: str = "rank"
    ) -> list[TakeRow]:
        names = "name, place, day, performers, key, state, reason, tries, seconds, began, ended, summary"
        limit = "" if most is None else f"LIMIT {int(most)}"
        with self._asking() as base:
            rows = base.execute(f"SELECT {names} FROM takes {where} ORDER BY {order} {limit}", values or {}).fetchall()
        return [_row(*row) for row in rows]

    def costs(self) -> list[StageCost]:
        """What the stages cost, failed tries included."""
        with self._asking() as base:
            query = "SELECT stage, count, seconds, peak_mb, cpu FROM costs ORDER BY seconds DESC"
            return [StageCost(*row) for row in base.execute(query)]

    def measured(self) -> list[tuple[str, str, float]]:
        """Of takes that are done: stage, take (of performers the day), and the seconds of a core that it took. Of what
        the last run asked for, each part counts once, with the most that it ever took: where it was there already it
        took nothing.
        """
        with self._asking() as base:
            query = (
                "WITH parts AS (SELECT stage, take, part, MAX(cpu) AS cpu, MAX(ended) AS last FROM stages "
                "WHERE error = '' GROUP BY take, stage, part) "
                "SELECT stage, take, SUM(cpu) FROM parts LEFT JOIN takes ON name = take AND state = 'done' "
                "WHERE stage = 'performer' OR (name IS NOT NULL AND last >= COALESCE(began, 0)) GROUP BY stage, take"
            )
            return base.execute(query).fetchall()

    def close(self) -> None:
        self._base.close()


def _row(name: str, place: str, day: str, performers: str, key: str, state: str, reason: str, *more: Any) -> TakeRow:
    """From the columns of a row."""
    tries, seconds, began, ended, summary = more
    told = json.loads(summary) if summary else {}
    people = tuple(json.loads(performers))
    return TakeRow(name, place, day, people, key, State(state), reason, tries, seconds, began, ended, told)


def _unread(path: Path, error: sqlite3.OperationalError) -> PassingError:
    # Whoever only looks shares a file of locks with who writes.
    return PassingError(f"cannot read {path}: {error}; look again later, from an account that may write to its folder")
