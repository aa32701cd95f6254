"""A store in a file: SQLite, as Python brings it."""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge.history.engine import Row, StoreError, TakenError, Work

_WAIT_S = 20.0  # for another process that writes
_AT_A_TIME = 1_000  # rows
_SUFFIXES = ("", "-wal")
_ELSEWHERE = ": nothing can be kept there by whoever runs this: use sudo, or name another place (--store)"
_FULL, _LEAST_BYTES = ": its disk is full: make room there", 100_000
_CLAIMED = ".recorder"  # the end of the name of a file that a recorder has locked while it lives; in it, its process


class SqliteEngine:
    """A file at `path`. create: make it, and its folder, where it is not there.

    What is committed survives a power cut; what is deleted is overwritten.
    """

    words = {"bytes": "BLOB", "real": "REAL", "clustered": "WITHOUT ROWID"}  # noqa: RUF012 (never changed)

    def __init__(self, path: Path, *, create: bool) -> None:
        self.place = str(path)
        self._path = path
        self._claimed: int | None = None
        with self._guarded():
            if not create and not path.exists():
                raise StoreError(f"{path}: no history is kept there: `roomtone history record` begins one")
            if path.exists() and not path.is_file():
                raise StoreError(f"{path}: no file: name one, there or elsewhere (--store, or edge.history.store)")
            if create and not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            try:
                for setting in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON",
                                "journal_size_limit=4000000", "cache_size=-16000"):  # fmt: skip
                    self._database.execute(f"PRAGMA {setting}").fetchall()
            except BaseException:
                self._database.close()
                raise

    def claim(self) -> None:
        with self._guarded():
            self._claimed = os.open(f"{self._path}{_CLAIMED}", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(self._claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                process = os.read(self._claimed, 20).decode(errors="replace")
                raise TakenError(self.place, f"process {process}") from error
        with suppress(OSError):  # a full disk
            os.truncate(self._claimed, 0)
            os.write(self._claimed, str(os.getpid()).encode())

    @contextmanager
    def writing(self) -> Iterator[Work]:
        with self._guarded():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield _Work(self._database)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it already
                    self._database.execute("ROLLBACK")
                raise

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._guarded():
            return self._database.execute(sql, parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        with self._guarded():
            cursor = self._database.execute(sql, parameters)
            while rows := cursor.fetchmany(_AT_A_TIME):
                yield from rows

    def tidy(self) -> None:
        with self._guarded():
            self._database.executescript("PRAGMA incremental_vacuum")  # `execute` ends it after one page
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def size_bytes(self) -> int:
        files = (self._path.with_name(self._path.name + suffix) for suffix in _SUFFIXES)
        return sum(file.stat().st_size for file in files if file.exists())

    def close(self) -> None:
        if self._claimed is not None:
            os.close(self._claimed)
            self._claimed = None
        with self._guarded():
            self._database.close()

    def _is_full(self) -> bool:
        """Return whether its disk is, which SQLite may call an I/O error."""
        with suppress(OSError):
            return shutil.disk_usage(self._path.parent).free < _LEAST_BYTES
        return False

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise StoreError(f"{self.place}: damaged, or no history ({error}): bring back a copy of it, or move it "
                                 "away and begin anew") from error  # fmt: skip
            cannot = name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY"))
            advice = _FULL if self._is_full() else _ELSEWHERE if cannot else ""
            raise StoreError(f"{self.place}: {error}{advice}") from error
        except OSError as error:
            raise StoreError(f"{self.place}: {error.strerror}{_ELSEWHERE}") from error


class _Work:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def do(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._database.execute(sql, parameters).rowcount

    def each(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        return self._database.executemany(sql, rows).rowcount if rows else 0

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._database.execute(sql, parameters).fetchall()
