"""Whose session it is, and what it leaves behind."""

from dataclasses import dataclass

from paho.mqtt.reasoncodes import ReasonCode

from edge.delivery.packets import Limits
from edge.delivery.paho_client import paho


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """A retained message that the broker publishes for us when we vanish, or go to another broker."""

    topic: str
    payload: bytes


class Owner:
    """Whose session it is; called on the session's thread. Every connection has a client of its own."""

    twin = " (do two sensors have the same edge.device.id?)"  # what it may mean that somebody takes our session over

    def opened(self, client: paho.Client, limits: Limits) -> None:
        """The broker accepted us, within these limits."""

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        """The answer to a subscription."""

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        """A message."""

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        """The answer to a message of ours."""

    def closed(self, client: paho.Client) -> None:
        """The connection, if there was one, is over."""
