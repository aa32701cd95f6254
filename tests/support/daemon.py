"""`roomtone run` as a process of its own, for tests that kill it, trace it, or read what it says."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from edge.commands.demo import RECORDING
from edge.voice.payloads import rfc3339
from tests.support.broker import HOST
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT


def switched(state: Path, word: str, device: str = "room", *, since: float | None = None) -> None:
    """Have a state folder say that listening was switched, as an earlier life of the sensor would have left it.

    since: at this Unix time; None: long ago.
    """
    state.mkdir(parents=True, exist_ok=True)
    kept = {"listening": word, "ts": "2026-01-31T12:00:00.000Z" if since is None else rfc3339(since)}
    (state / f"listening-{device}.json").write_text(json.dumps(kept))


class Daemon:
    """Runs the sensor on a recording while the context lasts, with the state folder `folder/state`.

    status: what it tells systemd of itself, newest last. log: its standard error so far. began_at: Unix time of its
    start; ready_at: of its telling that it is ready, None before. cores: those of the machine that it may use, None
    for all.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        recording: str | Path = RECORDING,
        mqtt: dict | None = None,
        edge: dict | None = None,
        wrapper: tuple[str, ...] = (),
        stdin: int | None = None,
        env: dict[str, str] | None = None,
        cores: set[int] | None = None,
    ) -> None:
        self.state = folder / "state"
        self.status: list[str] = []
        settings = {"host": HOST, "port": port, **(mqtt or {})}
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump({"edge": {"mqtt": settings, "state_folder": str(self.state), **(edge or {})}}))
        command = [sys.executable, "-m", "edge", "--config", str(config), "run"]
        self._command = [*wrapper, *command, *(["--input", str(recording)] if recording else [])]
        self._log = folder / "daemon.log"
        self._stdin, self._cores = stdin, cores
        self._notify = str(folder / "notify")
        self._env = {**os.environ, "NOTIFY_SOCKET": self._notify, "PYTHONUNBUFFERED": "1", **(env or {})}

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        Path(self._notify).unlink(missing_ok=True)
        self._socket.bind(self._notify)
        self._socket.settimeout(0.2)
        self._running = True
        self.ready_at: float | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.began_at = time.time()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=self._stdin, stdout=log, stderr=log, cwd=ROOT, env=self._env,
                preexec_fn=self._take_cores if self._cores else None,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            if self.process.poll() is None:
                self.kill()
            self._running = False
            self._reader.join()
            self._socket.close()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it in good order and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def finish(self) -> resource.struct_rusage:
        """Wait until it ends by itself, and return what it used. Raises RuntimeError if it failed."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise RuntimeError(f"the daemon ended with status {self.process.returncode}: {self.log}")
        return usage

    def wait_until_ready(self) -> None:
        self._wait(lambda: self.ready_at is not None, "READY")

    def wait_for_log(self, pattern: str) -> float:
        """Return how many seconds passed until the log matches."""
        return self._wait(lambda: re.search(pattern, self.log), pattern)

    def wait_for_status(self, pattern: str) -> float:
        """Return how many seconds passed until the newest status matches."""
        return self._wait(lambda: self.status and re.search(pattern, self.status[-1]), pattern)

    def _wait(self, condition, pattern: str) -> float:
        began_s = time.monotonic()
        wait_until(condition, lambda: f"{pattern!r} in status {self.status[-3:]} or in\n{self.log}")
        return time.monotonic() - began_s

    def _take_cores(self) -> None:
        os.sched_setaffinity(0, self._cores)

    def _read(self) -> None:
        while self._running:
            try:
                message = self._socket.recv(10_000).decode()
            except TimeoutError:
                continue
            if self.ready_at is None and "READY=1" in message:
                self.ready_at = time.time()
            self.status += re.findall(r"^STATUS=(.*)$", message, re.MULTILINE)
