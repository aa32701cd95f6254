"""Messages as packets of a size that the broker takes: what is too large is shortened or held back, and said once."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.delivery.paho_client import paho
from edge.voice.payloads import HEARD, Event, State, Timeline
from edge.voice.sequence import Sequence

TIME = "ts"  # the user property of a word: RFC 3339
MOST_HELD_EVENTS = 1_000  # too large for this connection; beyond, all of them wait in the outbox
_LARGEST_PACKET = 262_144  # bytes we are willing to be sent; a full timeline has about 80,000
_UNLIMITED_PACKETS, _UNLIMITED_BYTES = 65_535, 268_435_460  # MQTT's own limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A payload as bytes, with the time since which it holds (RFC 3339, None if not known) beside it."""

    word: bytes
    ts: str | None

    @classmethod
    def of(cls, message: paho.MQTTMessage) -> "Word":
        """Return what came from a broker."""
        beside = dict(getattr(message.properties, "UserProperty", ()))
        return cls(word=message.payload, ts=beside.get(TIME))


Message = msgspec.Struct | Word | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the broker takes at a time (CONNACK): packets without acknowledgement, and bytes in a packet."""

    in_flight: int = _UNLIMITED_PACKETS
    packet_bytes: int = _UNLIMITED_BYTES

    @classmethod
    def of(cls, connack: Properties | None) -> "Limits":
        """Return what a broker's properties say."""
        return cls(
            in_flight=getattr(connack, "ReceiveMaximum", _UNLIMITED_PACKETS),
            packet_bytes=getattr(connack, "MaximumPacketSize", _UNLIMITED_BYTES),
        )


def connect_properties(lasts_s: int) -> Properties:
    """Return what we say of ourselves (CONNECT): for so long the broker keeps what comes for us while we are away."""
    properties = Properties(PacketTypes.CONNECT)
    properties.MaximumPacketSize = _LARGEST_PACKET
    properties.SessionExpiryInterval = lasts_s
    return properties


class Packets:
    """Makes payloads of messages. note: is told, once for each topic, of what does not fit as it is."""

    def __init__(self, sequence: Sequence, note: Callable[[str], None]) -> None:
        self.held_events = 0
        self._sequence, self._note = sequence, note
        self._limits = Limits()
        self._held: dict[str, str] = {}  # by topic: what was done
        self._said: set[tuple[str, str]] = set()

    @property
    def words(self) -> str | None:
        """What does not fit, in words; None where all does."""
        held = dict(self._held)  # a copy: others ask, too
        if not held:
            return None
        told = "; ".join(f"{done}: {', '.join(topic for topic in held if held[topic] == done)}"
                         for done in sorted(set(held.values())))  # fmt: skip
        return f"it takes packets of at most {self._limits.packet_bytes} bytes; {told}"

    def connected(self, limits: Limits) -> None:
        """There is a connection, with limits of its own."""
        self.held_events = 0
        if limits != self._limits:
            self._held.clear()
            self._said.clear()
        self._limits = limits

    def make(self, topic: str, message: Message, *, qos: int, is_event: bool) -> tuple[bytes, Properties | None] | None:
        """Return payload and properties of a PUBLISH packet, None where it has to be held back."""
        properties = None
        if isinstance(message, Word):
            if message.ts is not None:
                properties = Properties(PacketTypes.PUBLISH)
                properties.UserProperty = (TIME, message.ts)
            message = message.word
        room_bytes = self._limits.packet_bytes - _header_bytes(topic, properties, qos=qos)
        payload = self._encoded(message)
        if len(payload) <= room_bytes:
            if not is_event:
                self._held.pop(topic, None)
            return payload, properties
        if (payload := self._shortened(message, room_bytes)) is not None:
            self._say(topic, "shortened")
            return payload, properties
        self.held_events += is_event
        self._say(topic, "held back")
        return None

    def _encoded(self, message: msgspec.Struct | bytes) -> bytes:
        return message if isinstance(message, bytes) else msgspec.json.encode(self._sequence.corrected(message))

    def _shortened(self, message: msgspec.Struct | bytes, room_bytes: int) -> bytes | None:
        """Return a state without its scores, an event without how it was heard, or the newest runs of a timeline; None
        where nothing that fits is left."""
        if isinstance(message, State | Event):
            if isinstance(message, State):
                payload = self._encoded(msgspec.structs.replace(message, scores={}))
            else:
                fields = msgspec.to_builtins(self._sequence.corrected(message))
                payload = msgspec.json.encode({name: fields[name] for name in fields if name not in HEARD})
            return payload if len(payload) <= room_bytes else None
        return self._newest(message, room_bytes) if isinstance(message, Timeline) else None

    def _newest(self, timeline: Timeline, room_bytes: int) -> bytes | None:
        room_bytes -= len(self._encoded(msgspec.structs.replace(timeline, runs=[])))
        kept = 0
        for run in reversed(timeline.runs):
            room_bytes -= len(msgspec.json.encode(run)) + bool(kept)  # and a comma
            if room_bytes < 0:
                break
            kept += 1
        return self._encoded(msgspec.structs.replace(timeline, runs=timeline.runs[-kept:])) if kept else None

    def _say(self, topic: str, done: str) -> None:
        self._held[topic] = done
        if (topic, done) not in self._said:
            self._said.add((topic, done))
            self._note(
                f"{topic} is {done}: it takes packets of at most {self._limits.packet_bytes} bytes "
                "(mosquitto: max_packet_size)"
            )


def _header_bytes(topic: str, properties: Properties | None, *, qos: int) -> int:
    """Return how many bytes a PUBLISH packet has around its payload, at most (MQTT 5, section 3.3)."""
    longest_length = 4  # of the field that says how long the rest is
    identifier = 2 if qos else 0
    return 1 + longest_length + 2 + len(topic.encode()) + identifier + len(properties.pack() if properties else b"\0")
