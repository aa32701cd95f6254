"""What a device left on the broker, taken off it: for a sensor that is gone, or has another name now."""

import difflib
import queue
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import EdgeConfig
from edge.delivery.paho_client import paho
from edge.delivery.past import ANSWER_S, Retained
from edge.errors import UnavailableError
from edge.state_folder import state_folder
from edge.voice import homeassistant
from edge.voice.payloads import ROOT

_MOST_NAMED = 10  # devices
_KEEPS_NOTHING = ("nothing to take off a broker: the embedded one keeps nothing when its sensor ends "
                  "(another broker: --config FILE, which names it)")  # fmt: skip


def forget(config: EdgeConfig, device: str) -> Iterator[str]:
    """Clear every retained topic of a device, its description for Home Assistant too; yield what was done, and what the
    sensor itself keeps, which stays.

    Raises UnavailableError where the broker is not there, refuses, or has nothing of it.
    """
    base, described = f"{ROOT}/{device}", homeassistant.topic(config, device)
    yield from _kept_here(config, device)
    if config.mqtt.host == "embedded":
        yield _KEEPS_NOTHING
        return
    with _Eraser(config, f"{ROOT}-{device}-forget") as eraser:
        found = eraser.read([f"{base}/#", described])
        for topic in found:
            eraser.clear(topic)
            yield f"{topic}: removed"
        unseen = described not in found and config.homeassistant.enabled  # who may not read it may still clear it
        if not found:
            with suppress(UnavailableError):
                if unseen:
                    eraser.clear(described)
            raise UnavailableError(f"{device}: nothing of it that this account may read is on broker {eraser.address}"
                                   f"{_likely(eraser, device)}")  # fmt: skip
        if unseen:
            eraser.clear(described)
            yield f"{described}: not seen, and cleared all the same, for an account that may write but not read it"
        messages = "1 retained message was" if len(found) == 1 else f"{len(found)} retained messages were"
        yield f"{device}: {messages} found on broker {eraser.address} and taken off it"
        if getattr(found.get(f"{base}/status"), "word", None) == b"online":
            yield f"{device} said `online`: if it still runs, it publishes again; stop it, then forget it"


def remove_from_homeassistant(config: EdgeConfig) -> Iterator[str]:
    """Take the device out of Home Assistant; yield what was done. Raises as `forget` does."""
    if config.mqtt.host == "embedded":
        yield _KEEPS_NOTHING
        return
    device, described = config.device.id, homeassistant.topic(config, config.device.id)
    with _Eraser(config, f"{ROOT}-{device}-remove") as eraser:
        eraser.clear(described)
        yield f"{described}: removed"
        yield "a sensor that still runs with edge.homeassistant.enabled announces itself again"
        yield f"{ROOT}/{device}/ stays as it is: `roomtone forget {device}` takes that off the broker, too"


def _kept_here(config: EdgeConfig, device: str) -> Iterator[str]:
    """Yield in words which files of a device are in the state folder of whoever asks."""
    folder = state_folder(config.state_folder)
    with suppress(OSError):
        names = [path.name for path in folder.iterdir()] if folder else []
        if files := [name for name in names if re.fullmatch(rf"[a-z]+-{device}(\.\w+)?", name)]:
            yield f"{folder}: {', '.join(sorted(files))} stay: where the sensor is gone, delete them, too"


def _likely(broker: Retained, device: str) -> str:
    """Return in words which device may be meant by a name that the broker does not know; empty where it knows none."""
    there = sorted({topic.split("/")[1] for topic in broker.read([f"{ROOT}/+/status", f"{ROOT}/+/state"])})
    if near := difflib.get_close_matches(device, there, n=1):
        return f": did you mean {near[0]}?"
    more = ", ..." if len(there) > _MOST_NAMED else ""
    return f": there are {', '.join(there[:_MOST_NAMED])}{more}" if there else ""


class _Eraser(Retained):
    """A connection that reads and clears retained topics. A context manager."""

    def __init__(self, config: EdgeConfig, client_id: str) -> None:
        super().__init__(config.mqtt, client_id)
        self._answers: queue.SimpleQueue[ReasonCode | None] = queue.SimpleQueue()  # None: the connection is gone

    def clear(self, topic: str) -> None:
        """Clear a topic. Raises UnavailableError where the broker refuses."""
        self._client.publish(topic, b"", qos=1, retain=True)
        try:
            reason = self._answers.get(timeout=ANSWER_S)
        except queue.Empty as error:
            raise UnavailableError(f"broker {self.address}: no answer within {ANSWER_S:.0f} s") from error
        if reason is None or reason.is_failure:
            raise UnavailableError(f"broker {self.address}: refuses {topic}: {reason or 'it hung up'}")

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        self._answers.put(reason)

    def closed(self, client: paho.Client) -> None:
        self._answers.put(None)

    def __enter__(self) -> Self:
        super().__enter__()
        while not self._answers.empty():
            self._answers.get()  # of connections that came to nothing
        return self
