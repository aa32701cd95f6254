"""A real mosquitto for the tests: free ports, optional websockets with a web page, passwords, TLS; it can be killed.

`with Broker(folder, http_dir="edge/dashboard") as broker:` gives `broker.port` and `broker.page_url`; after
`broker.kill()` and `broker.start()` the ports are the same and what was retained is still there.
"""

import os
import random
import signal
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.delivery.embedded import stir
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.system import require_program

HOST = "127.0.0.1"
_PORTS = (12_000, 32_000)


def free_port() -> int:
    """Return a TCP port nobody listens on just now.

    Below the ports the kernel hands to outgoing connections: one of those could take it while the broker is away, or a
    client that knocks at it meanwhile be connected to itself. Every process that runs tests has ports of its own, for
    the same reason.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.randrange(_PORTS[0] + worker, _PORTS[1], workers)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


class Broker:
    """A mosquitto child process on loopback; a context manager that starts and stops it.

    folder: a directory of its own for configuration, persistence and log.
    websockets: adds a websockets listener (`websockets_port`, `page_url`), with `http_dir` served as its web pages.
    users: names and passwords; without them anybody may connect. acl: lines of a mosquitto ACL file.
    certificate, key: PEM files; every listener then speaks TLS only. extra: further lines of configuration.
    host, port: where it listens, if not on 127.0.0.1 and a free one.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        websockets: bool = False,
        http_dir: str | Path | None = None,
        users: dict[str, str] | None = None,
        acl: str | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        extra: str = "",
        host: str = HOST,
        port: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.port = port or free_port()
        self.websockets_port = free_port() if websockets or http_dir else None
        self.log_path = self.folder / "mosquitto.log"
        self._tls = (Path(certificate).resolve(), Path(key).resolve()) if certificate and key else None
        self._http_dir = Path(http_dir).resolve() if http_dir else None
        self._users = users or {}
        self._acl = acl
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def page_url(self) -> str:
        """The address of the pages in `http_dir`, which is the websockets listener's too."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.websockets_port}/"

    @property
    def websockets_url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://{self.host}:{self.websockets_port}/"

    @property
    def log(self) -> str:
        """What mosquitto has said so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        """Start it, on the same ports every time, and wait until it listens."""
        program = require_program("mosquitto", "mosquitto")
        conf = self.folder / "mosquitto.conf"
        conf.write_text(self._configuration(), encoding="utf-8")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(conf)], stdout=log, stderr=log)
        for port in filter(None, (self.port, self.websockets_port)):
            self._wait_for(port)
        if self._http_dir:
            threading.Thread(target=stir, args=(self._process, self.port), daemon=True).start()

    def allow(self, acl: str) -> None:
        """Have another access list hold from now on."""
        self._acl = acl
        self._access()
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it as an administrator would (SIGTERM): it saves what it holds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL): it keeps what it saved up to a second ago."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Have it hear and say nothing any more, until it is killed or thawed; to its clients it is still there."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_for(self, port: int) -> None:
        def listens() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"mosquitto ended at once:\n{self.log}")
            with socket.socket() as probe:
                return probe.connect_ex((self.host, port)) == 0

        wait_until(listens, lambda: f"mosquitto does not listen on {port}:\n{self.log}")

    def _configuration(self) -> str:
        tls = [f"certfile {self._tls[0]}", f"keyfile {self._tls[1]}"] if self._tls else []
        lines = [
            # Started as root, mosquitto would become a user that cannot read the test's folder.
            "user root",
            f"allow_anonymous {'false' if self._users else 'true'}",
            "persistence true",
            f"persistence_location {self.folder.resolve()}/",
            "autosave_interval 1",
            "max_queued_messages 0",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            *self._access(),
            f"listener {self.port} {self.host}",
            *tls,
        ]
        if self.websockets_port:
            # Without the domain, a websockets listener of mosquitto 2.0 is open to every interface.
            lines += [f"listener {self.websockets_port} {self.host}", "socket_domain ipv4", "protocol websockets", *tls]
            if self._http_dir:
                lines.append(f"http_dir {self._http_dir}")
        return "\n".join([*lines, self._extra, ""])

    def _access(self) -> list[str]:
        lines = []
        if self._users:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{name}:{word}\n" for name, word in self._users.items()), encoding="utf-8")
            passwords.chmod(0o600)
            hash_with = require_program("mosquitto_passwd", "mosquitto")
            subprocess.run([hash_with, "-U", str(passwords)], check=True, capture_output=True)
            lines.append(f"password_file {passwords.resolve()}")
        if self._acl is not None:
            acl = self.folder / "acl"
            acl.write_text(self._acl, encoding="utf-8")
            acl.chmod(0o600)
            lines.append(f"acl_file {acl.resolve()}")
        return lines
