"""A real Home Assistant for the tests: onboarded, with the MQTT integration set up.

`with Home(folder, broker.port) as home:` gives the sensor's entities (`home.states()`) and calls services.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Self

import pytest

from tests.support.broker import HOST, free_port
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT

PROGRAM = ROOT / os.environ.get("HOME_ASSISTANT", ".venv-homeassistant") / "bin" / "hass"
PREFIX = "homeassistant"
# The line, the traceback, and no line that begins with another date. The key is one that its own schema adds, of
# whichever part of that was just being compiled anew (edge/delivery/homeassistant.py).
LOST_AN_ENTITY = re.compile(
    r"^\S+ \S+ ERROR .* Exception in _async_setup_entity_entry_from_discovery .*\n"
    r"(?:(?!\d{4}-).*\n)*?KeyError: '\w+'$",
    re.MULTILINE,
)


def require_home_assistant() -> None:
    """Fail where it is not installed: whoever asks for it has called for it."""
    if not PROGRAM.exists():
        pytest.fail("needs Home Assistant: `make test-homeassistant` installs it")


class Home:
    """A real Home Assistant, onboarded, with the MQTT integration set up; read and switched over its REST interface."""

    CLIENT = "http://127.0.0.1/"

    def __init__(self, folder: Path, broker_port: int, *, more: str = "", **account: str) -> None:
        """more: what else its configuration.yaml has. account: the `username` and `password` for the broker, if any."""
        self.port = free_port()
        self._folder = folder
        (folder / ".storage").mkdir(parents=True)
        (folder / "configuration.yaml").write_text(
            "homeassistant: {name: t, latitude: 0, longitude: 0, elevation: 0, unit_system: metric, time_zone: UTC}\n"
            f"http: {{server_host: 127.0.0.1, server_port: {self.port}}}\n"
            f"api:\nonboarding:\nauth:\nlogger: {{default: warning}}\n{more}"
        )
        entry = {
            "created_at": "2025-01-01T00:00:00+00:00",
            "modified_at": "2025-01-01T00:00:00+00:00",
            "data": {"broker": HOST, "port": broker_port, **account},
            "options": {"discovery": True, "discovery_prefix": PREFIX},
            "domain": "mqtt",
            "entry_id": "mqtt1",
            "title": "broker",
            "source": "user",
            "version": 1,
            "minor_version": 2,
            "unique_id": None,
            "disabled_by": None,
            "discovery_keys": {},
            "pref_disable_new_entities": False,
            "pref_disable_polling": False,
            "subentries": [],
        }
        stored = {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
        (folder / ".storage" / "core.config_entries").write_text(json.dumps(stored))

    def __enter__(self) -> Self:
        with (self._folder / "output").open("wb") as output:
            command = [PROGRAM, "-c", self._folder]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        self._token = None
        try:
            self._onboard()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _onboard(self) -> None:
        self.wait_for(lambda: self._ask("/api/onboarding"), timeout_s=300)
        user = {"client_id": self.CLIENT, "name": "a", "username": "a", "password": "a", "language": "en"}
        code = self._ask("/api/onboarding/users", json.dumps(user).encode())["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": self.CLIENT}
        self._token = self._ask("/auth/token", urllib.parse.urlencode(form).encode(), form=True)["access_token"]

    def __exit__(self, *_) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _ask(self, path: str, data: bytes | None = None, *, form: bool = False):
        headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def states(self) -> dict[str, dict]:
        """Return the states of the sensor's entities by entity id."""
        return {state["entity_id"]: state for state in self._ask("/api/states") if "attic" in state["entity_id"]}

    def call(self, domain: str, service: str, entity: str, **data: object) -> None:
        self._ask(f"/api/services/{domain}/{service}", json.dumps({"entity_id": entity, **data}).encode())

    def wait_for(self, condition, timeout_s: float = PATIENCE_S):
        """Return what `condition` gives as soon as it is true.

        Raises RuntimeError where Home Assistant has ended, and TimeoutError, both with its words.
        """

        def holds():
            if (status := self._process.poll()) is not None:
                raise RuntimeError(f"Home Assistant ended with status {status}:\n{self.log()}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, KeyError):
                return condition()

        def seen() -> str:
            return f"Home Assistant says:\n{self.log()}\n{self._known()}"

        return wait_until(holds, seen, patience_s=timeout_s, every_s=0.25)

    def _known(self) -> str:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return "\n".join(f"{entity} {state['state']}" for entity, state in self.states().items())
        return "nothing"

    def log(self) -> str:
        log = self._folder / "home-assistant.log"
        return log.read_text() if log.exists() else (self._folder / "output").read_text()

    def complaints(self) -> list[str]:
        """Return what its log says of us, but for its own fault, for which we announce the device again."""
        log = LOST_AN_ENTITY.sub("", self.log())
        return [line for line in log.splitlines() if "mqtt" in line.lower() or "roomtone" in line.lower()]
