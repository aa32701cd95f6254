"""A real PostgreSQL for the tests: Debian's, in a folder of its own, on a free port; it can be killed."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.support.broker import HOST, free_port
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.system import lacking


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; without them the test is skipped, and fails in CI."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        lacking("postgresql is not installed (Debian package postgresql)")
    return found[-1].parent


class Postgres:
    """A server while the context lasts; `address` is that of a database in it. folder: a directory of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.address = f"postgresql://roomtone@{HOST}:{self.port}/postgres"
        self.log = folder.with_name(folder.name + ".log")
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            for place in (self.folder, *self.folder.parents):
                if place.stat().st_uid == 0 and place != Path("/"):
                    place.chmod(place.stat().st_mode | 0o011)
            shutil.chown(self.folder, "postgres", "postgres")
        initdb = [programs() / "initdb", "-D", self.folder / "data", "-U", "roomtone", "-A", "trust", "--no-sync"]
        subprocess.run(_as_nobody_of_note([*initdb, "-E", "UTF8", "--locale=C"]), check=True, capture_output=True)
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, on the same port every time, and wait until it answers."""
        settings = ["-c", f"port={self.port}", "-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories=",
                    "-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB", "-c", "shared_buffers=32MB",
                    "-c", "fsync=off"]  # fmt: skip  # it may be killed, and the machine runs on
        command = _as_nobody_of_note([programs() / "postgres", "-D", self.folder / "data", *settings])
        ready = [programs() / "pg_isready", "-q", "-h", HOST, "-p", str(self.port)]

        def answers() -> bool:
            if self._process is None or self._process.poll() is not None:  # an earlier one's end may not be over
                with self.log.open("ab") as log:
                    self._process = subprocess.Popen(command, stdout=log, stderr=log)
            return subprocess.run(ready).returncode == 0

        wait_until(answers, lambda: self.log.read_text(errors="replace")[-2_000:], every_s=0.3)

    def new_database(self, name: str) -> str:
        """Return the address of an empty database."""
        command = [programs() / "psql", "-q", self.address, "-c", f"CREATE DATABASE {name}"]
        made = subprocess.run(command, capture_output=True, text=True)
        assert made.returncode == 0, f"{made.stderr}\n{self.log.read_text(errors='replace')[-2_000:]}"
        return self.address.replace("/postgres", f"/{name}")

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None


def _as_nobody_of_note(command: list) -> list[str]:
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        lacking("there is no user postgres (Debian package postgresql)")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *words]
