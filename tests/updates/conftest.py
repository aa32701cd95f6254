"""An owner, whose sensors are on a real broker, and what they say of their models."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.model import trial
from edge.voice.models import ring_topic
from tests.support.broker import HOST, Broker
from tests.support.owner import Owner
from tests.support.subscriber import Subscriber


class House(Owner):
    """An owner with a broker."""

    broker: Broker
    watcher: Subscriber

    def sensor(self, device: str = "attic", *, mqtt: dict | None = None, **store) -> "object":
        """Return the configuration of a sensor that takes what is published, with a state folder of its own."""
        edge = {
            "device": {"id": device}, "mqtt": {"host": HOST, "port": self.broker.port, **(mqtt or {})},
            "state_folder": str(self.folder / device), "homeassistant": {"enabled": False},
        }  # fmt: skip
        return self.config(edge=edge, called=device, **{"updates": "auto", **store})

    def publish(self, file: Path | bytes, ring: str = "house", *, topic: str | None = None) -> None:
        """Retain bytes, as whoever may write there could: by mosquitto's own client."""
        data = file if isinstance(file, bytes) else file.read_bytes()
        to = ["mosquitto_pub", "-p", str(self.broker.port), "-V", "5", "-q", "1", "-r", "-t", topic or ring_topic(ring)]
        subprocess.run([*to, *(["-s"] if data else ["-n"])], input=data, check=True)

    def install(self, sha256: str, device: str = "attic") -> None:
        """Send the command to install what is offered."""
        to = ["mosquitto_pub", "-p", str(self.broker.port), "-q", "1", "-t", f"roomtone/{device}/model/install"]
        subprocess.run([*to, "-m", f'{{"sha256": "{sha256}"}}'], check=True)

    def said(self, device: str = "attic") -> dict | None:
        """Return what a sensor said last of its model."""
        told = [one.json for one in self.watcher.on("model") if one.topic == f"roomtone/{device}/model"]
        return told[-1] if told else None

    def wait_for(self, result: str, device: str = "attic", *, offered: str | None = None) -> dict:
        """Return what a sensor says once it says this; of a model, by the beginning of what it is called."""

        def says(watcher: Subscriber) -> dict | None:
            told = self.said(device)
            if told is None or told["result"] != result:
                return None
            named = told["offered"] and told["offered"]["model"]
            return told if offered is None or (named or "").startswith(f"{offered}-") else None

        return self.watcher.wait_for(says)


@pytest.fixture
def house(tmp_path: Path, broker: Broker) -> Iterator[House]:
    made = House.with_keys(tmp_path)
    with Subscriber(broker.port, "roomtone/+/model") as watcher:
        object.__setattr__(made, "broker", broker)
        object.__setattr__(made, "watcher", watcher)
        yield made


@pytest.fixture
def quick_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that are over in a second, for what is not about how long they last."""
    monkeypatch.setattr(trial, "TRIAL_S", 1.0)
