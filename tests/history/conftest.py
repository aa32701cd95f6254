"""Both kinds of stores, each real: a file of SQLite's, and a database of a PostgreSQL of the tests' own."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="psycopg is not installed (roomtone[postgres])")
    with Postgres(tmp_path_factory.mktemp("postgres") / "server") as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.heavy)])  # heavy: a server of its own
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Returns where an empty store can be, each time another."""

    def make() -> str:
        if request.param == "sqlite":
            return str(tmp_path / f"history-{next(_numbers)}.sqlite")
        return request.getfixturevalue("postgres").new_database(f"history_{next(_numbers)}")

    return make


@pytest.fixture
def store(new_store: Callable[[], str]) -> str:
    """Where an empty store can be."""
    return new_store()
