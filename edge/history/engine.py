"""Where a store is: a file of SQLite's, or a database of PostgreSQL's, behind the same few calls and the same SQL.

SQL is written for both: parameters are `?`, and what they name differently stands in braces (`Engine.words`).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from edge.errors import RoomtoneError

Row = tuple[Any, ...]


class StoreError(RoomtoneError):
    """The store cannot be opened, read or written, at least not now."""

    exit_status = 74


class TakenError(StoreError):
    """The store has a recorder already."""

    def __init__(self, place: str, whose: str) -> None:
        super().__init__(f"{place}: another recorder keeps this store ({whose}): stop one of the two, or name another "
                         "store for each")  # fmt: skip


class Work(Protocol):
    """A transaction that is open for writing; nobody else writes meanwhile."""

    def do(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Return how many rows a statement changed."""

    def each(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Do a statement for each row of parameters; return how many rows that changed."""

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a question."""


class Engine(Protocol):
    """A connection to a store. Of one thread. Every method raises StoreError, in words, where the store fails.

    place: what people call the store; words: what this engine calls types of columns.
    """

    place: str
    words: dict[str, str]

    def claim(self) -> None:
        """Be the store's only recorder while this connection lasts. Raises StoreError where another one is."""

    def writing(self) -> AbstractContextManager[Work]:
        """Open a transaction, which is on disk when the context ends; where it ends with an error, nothing of it is."""

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a question."""

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """Yield the rows of a question whose answer may be larger than memory."""

    def tidy(self) -> None:
        """Give back the space of what was deleted, and leave no trace of it."""

    def size_bytes(self) -> int:
        """Return how much the store holds."""

    def close(self) -> None:
        """End the connection."""
