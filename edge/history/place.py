"""Which store is meant: as it is named, or as configured, or a file in the state folder."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edge.config import EdgeConfig
from edge.credentials import secret
from edge.errors import ConfigError
from edge.files import nearest, unwritable
from edge.history.engine import Engine, StoreError
from edge.history.postgres import PostgresEngine
from edge.history.sqlite import SqliteEngine
from edge.history.store import History
from edge.state_folder import state_folder

FILE = "history.sqlite"
_TRIED = "roomtone_tried"  # a table that is there for a moment, which nobody else sees


def opened(config: EdgeConfig, store: str | None, *, create: bool = False, alone: bool = False) -> History:
    """Return the history in a store. create: where there is none yet, begin one. alone: as its only recorder.

    Raises StoreError where it cannot be opened, ConfigError where there is no place for one.
    """
    engine = _engine(config, _place(config, store or config.history.store), create=create)
    try:
        if alone:
            engine.claim()
        return History(engine)
    except StoreError:
        with suppress(StoreError):
            engine.close()
        raise


class Tried(NamedTuple):
    """How a store is. folder: where its file is; None of a database."""

    words: str
    folder: Path | None


def tried(config: EdgeConfig) -> Tried:
    """Write into the configured store, and leave it as it is. Raises StoreError where that fails, ConfigError where
    there is no place for one, UnavailableError where it cannot be reached from here."""
    store = _place(config, config.history.store)
    path = None if "://" in store else Path(store).expanduser()
    if path is not None and not path.exists():
        if trouble := unwritable(path, folder=False):
            raise StoreError(f"{path}: {trouble}: give it to whoever records, or name another (edge.history.store)")
        return Tried(f"{path}: nothing is kept yet, and it can be written", nearest(path))
    engine = _engine(config, store, create=False)
    try:
        with engine.writing() as work:
            work.do(f"CREATE TABLE {_TRIED} (one INTEGER)")
            work.do(f"DROP TABLE {_TRIED}")
        return Tried(f"{engine.place}: {engine.size_bytes() / 1e6:.0f} MB, can be written", path and path.parent)
    finally:
        with suppress(StoreError):
            engine.close()


def _place(config: EdgeConfig, store: str | None) -> str:
    if store is not None:
        return store
    folder = state_folder(config.state_folder)
    if folder is None:
        raise ConfigError("edge.history.store: this user has no home: name a file, or a postgresql:// address")
    return str(folder / FILE)


def _engine(config: EdgeConfig, store: str, *, create: bool) -> Engine:
    if "://" in store:
        return PostgresEngine(store, secret("edge.history.password_file", config.history.password_file))
    return SqliteEngine(Path(store).expanduser(), create=create)
