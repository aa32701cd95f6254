"""How Home Assistant hears of the sensor: its description announced on every connect, or taken away for good."""

import queue

import msgspec
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import EdgeConfig
from edge.delivery.access import access
from edge.delivery.link import Link
from edge.delivery.packets import Limits
from edge.delivery.paho_client import paho
from edge.delivery.session import Owner, Session
from edge.errors import ConfigError, UnavailableError
from edge.voice.homeassistant import discovery, topic
from edge.voice.payloads import ROOT

_ANSWER_S = 5.0


def announce(link: Link, config: EdgeConfig, labels: list[str], model_id: str) -> None:
    """Have the device described on every connect, and again whenever Home Assistant says that it has started."""
    description = msgspec.json.encode(discovery(config.device, labels, model_id))
    link.retain_at(topic(config), description)
    link.listen(f"{config.homeassistant.prefix}/status", lambda said: link.resend() if said == b"online" else None)


def remove(config: EdgeConfig) -> str:
    """Take the device out of Home Assistant; return what was done.

    Raises UnavailableError where the broker is not there or refuses, ConfigError for the embedded one.
    """
    if config.mqtt.host == "embedded":
        raise ConfigError("edge.mqtt.host: embedded: there is nothing of Home Assistant's on a broker of our own")
    eraser = _Eraser(topic(config))
    session = Session(access(config.mqtt), f"{ROOT}-{config.device.id}-remove", eraser)
    session.start()
    try:
        session.require()
        reason = eraser.answer.get(timeout=_ANSWER_S)
    except queue.Empty as error:
        raise UnavailableError(f"broker {session.access.address}: no answer within {_ANSWER_S:.0f} s") from error
    finally:
        session.stop()
    if reason.is_failure:
        raise UnavailableError(f"broker {session.access.address}: refuses {topic(config)}: {reason}")
    return f"{topic(config)}: removed (a sensor that still runs with edge.homeassistant.enabled announces itself again)"


class _Eraser(Owner):
    """Clears one retained topic as soon as there is a connection."""

    def __init__(self, topic: str) -> None:
        self.answer: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        self._topic = topic

    def opened(self, client: paho.Client, limits: Limits) -> None:
        client.publish(self._topic, b"", qos=1, retain=True)

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        self.answer.put(reason)
