"""What a device left on the broker, taken off it: for a sensor that is gone, or has another name now."""

import queue
from collections.abc import Iterable, Iterator
from typing import Self

from paho.mqtt.reasoncodes import ReasonCode

from edge.config import EdgeConfig
from edge.delivery.paho_client import paho
from edge.delivery.past import ANSWER_S, Retained
from edge.errors import ConfigError, UnavailableError
from edge.voice import homeassistant
from edge.voice.payloads import ROOT


def forget(config: EdgeConfig, device: str) -> Iterator[str]:
    """Clear every retained topic of a device, its description for Home Assistant too; yield what was done.

    Raises UnavailableError where the broker is not there or refuses, ConfigError for the embedded one.
    """
    base, described = f"{ROOT}/{device}", homeassistant.topic(config, device)
    with _Eraser(config, f"{ROOT}-{device}-forget") as eraser:
        found = eraser.read([f"{base}/#", described])
        yield from eraser.clear(found)
        if described not in found and config.homeassistant.enabled:  # who may not read it may still clear it
            yield from eraser.clear([described])
        yield f"{device}: {len(found) or 'no'} retained messages were found on broker {eraser.address} and taken off it"
        if getattr(found.get(f"{base}/status"), "word", None) == b"online":
            yield f"{device} said `online`: if it still runs, it publishes again; stop it, then forget it"


def remove_from_homeassistant(config: EdgeConfig) -> Iterator[str]:
    """Take the device out of Home Assistant; yield what was done. Raises as `forget` does."""
    device = config.device.id
    with _Eraser(config, f"{ROOT}-{device}-remove") as eraser:
        yield from eraser.clear([homeassistant.topic(config, device)])
        yield "a sensor that still runs with edge.homeassistant.enabled announces itself again"
        yield f"{ROOT}/{device}/ stays as it is: `roomtone forget {device}` takes that off the broker, too"


class _Eraser(Retained):
    """A connection that reads and clears retained topics. A context manager."""

    def __init__(self, config: EdgeConfig, client_id: str) -> None:
        if config.mqtt.host == "embedded":
            raise ConfigError("edge.mqtt.host: embedded, and a broker of ours keeps nothing: name the one to clear")
        super().__init__(config.mqtt, client_id)
        self._answers: queue.SimpleQueue[ReasonCode | None] = queue.SimpleQueue()  # None: the connection is gone

    def clear(self, topics: Iterable[str]) -> Iterator[str]:
        """Clear topics; yield a line for each. Raises UnavailableError where the broker refuses."""
        for topic in topics:
            self._client.publish(topic, b"", qos=1, retain=True)
            try:
                reason = self._answers.get(timeout=ANSWER_S)
            except queue.Empty as error:
                raise UnavailableError(f"broker {self.address}: no answer within {ANSWER_S:.0f} s") from error
            if reason is None or reason.is_failure:
                raise UnavailableError(f"broker {self.address}: refuses {topic}: {reason or 'it hung up'}")
            yield f"{topic}: removed"

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        self._answers.put(reason)

    def closed(self, client: paho.Client) -> None:
        self._answers.put(None)

    def __enter__(self) -> Self:
        super().__enter__()
        while not self._answers.empty():
            self._answers.get()  # of connections that came to nothing
        return self
