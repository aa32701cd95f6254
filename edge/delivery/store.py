"""Events on disk: a bounded SQLite file that exists only while something waits in it.

WAL with `synchronous=FULL`, so that what was appended survives a power cut. A file that is damaged is moved aside.
"""

import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from edge.voice.payloads import Event

log = logging.getLogger("roomtone.store")

_SCHEMA = """CREATE TABLE IF NOT EXISTS event (
    row INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL, payload BLOB NOT NULL
)"""
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
_COMPANIONS = ("", "-wal", "-shm", "-journal")


class Store:
    """A queue of events at `path`, oldest first. Not thread-safe: whoever uses it, uses it alone.

    Beyond `max_rows` or `max_bytes` (of JSON) the oldest are dropped and counted in `dropped`. `damaged` tells of a
    file that had to be moved aside; `generation` counts such files. Every method raises OSError, with the reason in
    words, where the disk does not let it.
    """

    def __init__(self, path: Path, *, max_rows: int, max_bytes: int) -> None:
        self.path = path
        self.rows = 0
        self.last_seq = 0  # the highest ever seen here
        self.dropped = 0
        self.damaged: str | None = None
        self.generation = 0
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._bytes = 0
        self._database: sqlite3.Connection | None = None

    def open_existing(self) -> None:
        """Look at what an earlier run left behind; without a file, nothing is touched."""
        if self.path.exists():
            self._guarded(self._open)
            if self._database is not None and self.rows == 0:
                self.close()

    def append(self, events: Sequence[Event]) -> list[int]:
        """Commit events, in order, and return their rows (an event that is there already keeps its own)."""
        rows = self._guarded(lambda: self._append(events)) or self._guarded(lambda: self._append(events))
        if rows is None:
            raise OSError(f"{self.path}: damaged again at once")
        return rows

    def read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        """Return up to `limit` events of the rows above `after`, in order."""
        if self._database is None:  # there is no file, or the disk did not give it so far
            self.open_existing()
        return self._guarded(lambda: self._read(after, limit)) or []

    def delete(self, rows: Iterable[int]) -> None:
        """Forget rows."""
        wanted = list(rows)
        if wanted and self._database is not None:
            self._guarded(lambda: self._delete(wanted))

    def close(self) -> None:
        """Close the file, and remove it where nothing waits in it."""
        if self._database is None:
            return
        self._database.close()
        self._database = None
        if self.rows == 0:
            try:
                for companion in _COMPANIONS:
                    self._file(companion).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: cannot be removed (%s)", self.path, error.strerror)

    def _guarded(self, action):
        """Run an action of the database; None where the file turned out to be damaged and was moved aside."""
        try:
            return action()
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if any(name.startswith(damage) for damage in _DAMAGED):
                self._move_aside(str(error))
                return None
            raise OSError(f"{self.path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._database is not None:
            return self._database
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=1.0, check_same_thread=False)
        try:
            # Exclusive: nobody else has business here, and WAL then needs no shared memory file.
            database.execute("PRAGMA locking_mode=EXCLUSIVE")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("PRAGMA journal_size_limit=1000000")
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _corrupt(found)
            with database:
                database.execute(_SCHEMA)
            counted = database.execute("SELECT count(*), total(length(payload)), max(seq) FROM event").fetchone()
        except BaseException:
            database.close()
            raise
        self.rows, self._bytes = counted[0], int(counted[1])
        self.last_seq = max(self.last_seq, counted[2] or 0)
        self._database = database
        return database

    def _append(self, events: Sequence[Event]) -> list[int]:
        database = self._open()
        rows, added_bytes, added = [], 0, 0
        with database:
            for event in events:
                payload = msgspec.json.encode(event)
                done = database.execute(
                    "INSERT OR IGNORE INTO event (event_id, seq, payload) VALUES (?, ?, ?)",
                    (event.event_id, event.seq, payload),
                )
                if done.rowcount:
                    rows.append(done.lastrowid)
                    added, added_bytes = added + 1, added_bytes + len(payload)
                else:
                    known = database.execute("SELECT row FROM event WHERE event_id = ?", (event.event_id,))
                    rows.append(known.fetchone()[0])
            dropped, dropped_bytes = self._bound(self.rows + added, self._bytes + added_bytes)
        self.rows += added - dropped
        self._bytes += added_bytes - dropped_bytes
        self.dropped += dropped
        self.last_seq = max([self.last_seq, *(event.seq for event in events)])
        return rows

    def _bound(self, rows: int, size: int) -> tuple[int, int]:
        """Drop the oldest rows that are too many, within the caller's transaction; return how many, and their bytes."""
        dropped, dropped_bytes, last = 0, 0, 0
        if rows <= self._max_rows and size <= self._max_bytes:
            return 0, 0
        for row, length in self._database.execute("SELECT row, length(payload) FROM event ORDER BY row"):
            if rows - dropped <= self._max_rows and size - dropped_bytes <= self._max_bytes:
                break
            dropped, dropped_bytes, last = dropped + 1, dropped_bytes + length, row
        self._database.execute("DELETE FROM event WHERE row <= ?", (last,))
        return dropped, dropped_bytes

    def _read(self, after: int, limit: int) -> list[tuple[int, Event]]:
        if self._database is None:
            return []
        found = self._database.execute(
            "SELECT row, payload FROM event WHERE row > ? ORDER BY row LIMIT ?", (after, limit)
        ).fetchall()
        events, unreadable = [], []
        for row, payload in found:
            try:
                events.append((row, msgspec.json.decode(payload, type=Event)))
            except msgspec.DecodeError:
                unreadable.append(row)
        if unreadable:
            log.error("%s: %d events that cannot be read are dropped", self.path, len(unreadable))
            self.dropped += len(unreadable)
            self._delete(unreadable)
            return events or self._read(found[-1][0], limit)
        return events

    def _delete(self, rows: list[int]) -> None:
        gone = []
        with self._database:
            for row in rows:
                gone += self._database.execute("DELETE FROM event WHERE row = ? RETURNING length(payload)", (row,))
        self.rows -= len(gone)
        self._bytes -= sum(length for (length,) in gone)

    def _move_aside(self, why: str) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        aside = self._file(".damaged")
        try:
            os.replace(self.path, aside)
            for companion in _COMPANIONS[1:]:
                self._file(companion).unlink(missing_ok=True)
        except OSError as error:
            raise OSError(f"{self.path}: damaged ({why}), and cannot be moved aside ({error.strerror})") from error
        self.rows = self._bytes = 0
        self.generation += 1
        self.damaged = f"{self.path} was damaged ({why}) and moved aside to {aside.name}: what waited in it is lost"
        log.error("%s", self.damaged)

    def _file(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def _corrupt(found: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error
