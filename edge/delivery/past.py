"""What the broker retained of a life: an earlier one of our own, read back once; or anybody's, by whoever asks."""

import queue
import time
from typing import Self

import msgspec
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Mqtt
from edge.delivery.access import access
from edge.delivery.packets import Limits, Word
from edge.delivery.paho_client import paho
from edge.delivery.session import Owner, Session
from edge.errors import UnavailableError

PAST = ("state", "timeline", "listening")
_WAIT_S, _WAIT_AT_MOST_S = 0.5, 2.0  # after an answer to the subscription, and without one
ANSWER_S = 5.0  # in which a broker answers whoever asks
_SETTLED_S = 0.5  # without another one, after which all that is retained was told


class Past:
    """Of a sensor's own: collects what comes on the first connection that lasts long enough.

    Nobody has asked yet; then it is `awaited`, until `due_s`; then it is `known`, for good.
    A connection that is lost in between takes it back to the first of the three.
    """

    def __init__(self) -> None:
        self.known = False
        self.due_s: float | None = None
        self._found: dict[str, Word] = {}

    @property
    def awaited(self) -> bool:
        """Whether a connection has asked, and the answer may still come."""
        return self.due_s is not None

    def ask(self, now_s: float) -> None:
        """A connection has asked for it."""
        self._found, self.due_s = {}, now_s + _WAIT_AT_MOST_S

    def answered(self, now_s: float) -> None:
        """The broker answered: what is retained comes now, if at all."""
        if self.awaited:
            self.due_s = min(self.due_s, now_s + _WAIT_S)

    def remember(self, name: str, payload: Word, now_s: float) -> None:
        """One of PAST came."""
        if self.awaited:
            self._found[name] = payload
            if len(self._found) == len(PAST):
                self.due_s = now_s

    def lost(self) -> None:
        """The connection is gone: the next one asks again."""
        self.due_s = None

    def tell(self) -> dict[str, Word]:
        """Return what came, by name; it is known from now on."""
        self.known, self.due_s = True, None
        return self._found


class _Numbered(msgspec.Struct):
    seq: int = 0


def seq_of(state: Word | None) -> int:
    """Return the number of a retained state, 0 where it is not one of ours."""
    try:
        return msgspec.json.decode(state.word, type=_Numbered).seq if state else 0
    except msgspec.DecodeError:
        return 0


class Retained(Owner):
    """A connection that reads what is retained. A context manager; raises UnavailableError where there is no broker.

    denied: why the broker lets something of what was last asked for not be read, by its own word.
    """

    def __init__(self, mqtt: Mqtt, client_id: str) -> None:
        self._client: paho.Client | None = None
        self._told: queue.SimpleQueue[paho.MQTTMessage | None] = queue.SimpleQueue()  # None: from here on they come
        self.denied: str | None = None
        self._session = Session(access(mqtt), client_id, self)
        self.address = self._session.access.address

    def read(self, topics: list[str]) -> dict[str, Word]:
        """Return what is retained on topics (patterns), by topic: as much of it as this account may read.

        Raises UnavailableError where the broker does not answer.
        """
        self._client.subscribe([(topic, 1) for topic in topics])
        found: dict[str, Word] = {}
        answered = False
        due_s = time.monotonic() + ANSWER_S
        while (left_s := due_s - time.monotonic()) > 0:
            try:
                message = self._told.get(timeout=left_s)
            except queue.Empty:
                break
            answered = answered or message is None
            if message is not None:
                if not message.retain:  # what sensors say meanwhile, without end
                    continue
                found[message.topic] = Word.of(message)
            due_s = time.monotonic() + _SETTLED_S
        if not answered:
            raise UnavailableError(f"broker {self.address}: no answer within {ANSWER_S:.0f} s")
        self._client.unsubscribe(topics)
        return found

    def opened(self, client: paho.Client, limits: Limits) -> None:
        self._client = client

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        self.denied = next((str(reason) for reason in reasons if reason.is_failure), None)
        self._told.put(None)

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        self._told.put(message)

    def __enter__(self) -> Self:
        self._session.start()
        try:
            self._session.require()
        except UnavailableError:
            self._session.stop()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._session.stop()
