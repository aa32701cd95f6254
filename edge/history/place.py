"""Which store is meant: as it is named, or as configured, or a file in the state folder."""

from pathlib import Path

from edge.config import EdgeConfig
from edge.credentials import secret
from edge.errors import ConfigError
from edge.history.engine import Engine
from edge.history.postgres import PostgresEngine
from edge.history.sqlite import SqliteEngine
from edge.history.store import History
from edge.state_folder import state_folder

FILE = "history.sqlite"


def opened(config: EdgeConfig, store: str | None, *, create: bool = False) -> History:
    """Return the history in a store. create: where there is none yet, begin one.

    Raises StoreError where it cannot be opened, ConfigError where there is no place for one.
    """
    return History(_engine(config, store or config.history.store, create=create))


def _engine(config: EdgeConfig, store: str | None, *, create: bool) -> Engine:
    if store is None:
        folder = state_folder(config.state_folder)
        if folder is None:
            raise ConfigError("edge.history.store: this user has no home: name a file, or a postgresql:// address")
        store = str(folder / FILE)
    if "://" in store:
        return PostgresEngine(store, secret("edge.history.password_file", config.history.password_file))
    return SqliteEngine(Path(store).expanduser(), create=create)
