"""A store in a PostgreSQL database, for a building: through psycopg, which `roomtone[postgres]` brings."""

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from edge.errors import UnavailableError
from edge.history.engine import Row, StoreError, TakenError, Work

_ONE_WRITER = 0x726F6F6D  # the number of a lock that whoever writes holds
_ONE_RECORDER = _ONE_WRITER + 1  # and of one that a recorder holds while it lives
# After so long, some 30 s, the server knows that a recorder's machine is gone, and gives its lock to the next one.
_ALIVE = {"idle": 15, "interval": 5, "count": 3}
_AT_A_TIME = 1_000  # rows
_CONNECT_S = 5


class PostgresEngine:
    """A database at a postgresql:// address. Without a password, PostgreSQL's own ways hold: ~/.pgpass, PGPASSWORD.

    Raises UnavailableError where psycopg is not installed.
    """

    words = {"bytes": "BYTEA", "real": "DOUBLE PRECISION", "clustered": ""}  # noqa: RUF012 (never changed)

    def __init__(self, address: str, password: str | None = None) -> None:
        self.place = _without_password(address)
        if importlib.util.find_spec("psycopg") is None:
            raise UnavailableError(f"{self.place}: psycopg is not installed; `{sys.executable} -m pip install "
                                   "'psycopg[binary]'` does it")  # fmt: skip
        import psycopg

        self._psycopg = psycopg
        with self._guarded():
            secret = {} if password is None else {"password": password}
            name = f"roomtone {os.getpid()} on {platform.node()}"
            self._database = psycopg.connect(
                address, connect_timeout=_CONNECT_S, autocommit=True, application_name=name, **secret
            )
            self._database.execute("SET synchronous_commit = on")

    def claim(self) -> None:
        with self._guarded():
            for name, value in _ALIVE.items():
                self._database.execute(f"SET tcp_keepalives_{name} = {value}")
        if not self.ask("SELECT pg_try_advisory_lock(?)", (_ONE_RECORDER,))[0][0]:
            holder = self.ask("SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
                              "WHERE locktype = 'advisory' AND granted AND objid = ?", (_ONE_RECORDER,))  # fmt: skip
            raise TakenError(self.place, holder[0][0] if holder else "somewhere")

    @contextmanager
    def writing(self) -> Iterator[Work]:
        with self._guarded(), self._database.transaction():
            self._database.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_WRITER,))
            yield _Work(self._database)

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._guarded():
            return self._database.execute(_ours(sql), parameters).fetchall()

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        with self._guarded(), self._database.transaction(), self._database.cursor("roomtone") as cursor:
            cursor.execute(_ours(sql), parameters)
            while rows := cursor.fetchmany(_AT_A_TIME):
                yield from rows

    def tidy(self) -> None:
        with self._guarded():
            self._database.execute("VACUUM event, minute, minute_label, hour, hour_label, day, day_label")

    def size_bytes(self) -> int:
        return self.ask("SELECT pg_database_size(current_database())")[0][0]

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            said = str(error).strip().splitlines() or [repr(error)]
            raise StoreError(f"{self.place}: {said[0]}") from error


class _Work:
    def __init__(self, database) -> None:
        self._database = database

    def do(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._database.execute(_ours(sql), parameters).rowcount

    def each(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        if not rows:
            return 0
        with self._database.cursor() as cursor:
            cursor.executemany(_ours(sql), rows)
            return cursor.rowcount

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._database.execute(_ours(sql), parameters).fetchall()


def _ours(sql: str) -> str:
    """Return SQL as psycopg wants it."""
    return sql.replace("%", "%%").replace("?", "%s")


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host, query=""))
