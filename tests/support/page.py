"""What the dashboard has of a broker, without a browser: websockets, under the page's own path, and no name."""

import json

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.broker import HOST


class Page:
    """A client of the broker on a port of this machine, from its making on; `messages` grows, oldest first."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets")
        self.client.ws_set_options(path="/mqtt")
        self.client.on_connect = lambda client, *_: client.subscribe("roomtone/#")
        self.client.on_message = lambda _client, _data, message: self.messages.append((message.topic, message.payload))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect_async(HOST, port)
        self.client.loop_start()

    def has(self, topic: str, payload: bytes) -> bool:
        return (topic, payload) in self.messages

    def of(self, kind: str, field: str) -> list:
        """Return a field of each message so far whose topic ends in `/kind`, oldest first."""
        return [json.loads(payload)[field] for topic, payload in list(self.messages) if topic.endswith(f"/{kind}")]
