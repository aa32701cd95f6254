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
from edge.voice.payloads import decoded

PAST = ("state", "timeline", "recent", "listening", "settings")
# Of what comes only after the answer to what was asked next, and of other brokers, which may be away.
_WAIT_S, _WAIT_FOR_OTHERS_S = 0.5, 2.0
_WAIT_AT_MOST_S = 10.0  # without an answer, which a broker owes: to go on would replace what it may still tell
ANSWER_S = 5.0  # in which a broker answers whoever asks
_SETTLED_S = 0.5  # without another one, after which all that is retained was told


def ask_broker(client: paho.Client, prefix: str) -> None:
    """Ask for a sensor's past. The answer to what follows on this connection tells that it has come: most brokers send
    all that is retained before they take the next packet."""
    client.subscribe([(prefix + name, 1) for name in PAST])


class Past:
    """Of a sensor's own: collects what comes on the first connection that lasts long enough, and beside it from
    `others`, so many brokers.

    Nobody has asked yet; then it is `awaited`, until `due_s`; then it is `known`, for good.
    A connection that is lost in between takes it back to the first of the three.
    """

    def __init__(self, others: int = 0) -> None:
        self.known = False
        self.due_s: float | None = None
        self._found: dict[str | None, dict[str, Word]] = {None: {}}  # by broker; None: the one that was asked
        self._brokers, self._answered = 1 + others, set[str | None]()

    @property
    def awaited(self) -> bool:
        """Whether a connection has asked, and the answer may still come."""
        return self.due_s is not None

    def ask(self, now_s: float) -> None:
        """A connection has asked for it."""
        self._found[None], self.due_s = {}, now_s + _WAIT_AT_MOST_S
        self._answered.discard(None)

    def answered(self, now_s: float, other: str | None = None) -> None:
        """The broker answered what it was asked after this, or an `other` one did: what is retained has come, or
        comes now."""
        if other is not None or self.awaited:
            self._answered.add(other)
        if self.awaited and None in self._answered:
            all_answered = len(self._answered) == self._brokers
            self.due_s = min(self.due_s, now_s + (_WAIT_S if all_answered else _WAIT_FOR_OTHERS_S))

    def remember(self, name: str, payload: Word, now_s: float, other: str | None = None) -> None:
        """One of PAST came."""
        if other is not None or self.awaited:
            self._found.setdefault(other, {})[name] = payload
        if self.awaited and [len(found) for found in self._found.values()] == self._brokers * [len(PAST)]:
            self.due_s = now_s

    def lost(self) -> None:
        """The connection is gone: the next one asks again."""
        self.due_s = None

    def tell(self) -> list[dict[str, Word]]:
        """Return what came, by name, from each broker, the newest first; it is known from now on."""
        self.known, self.due_s = True, None
        return sorted(self._found.values(), key=lambda found: seq_of(found.get("state")), reverse=True)


class _Numbered(msgspec.Struct):
    seq: int = 0


def seq_of(state: Word | None) -> int:
    """Return the number of a retained state, 0 where it is not one of ours."""
    try:
        return decoded(state.word, _Numbered).seq if state else 0
    except ValueError:
        return 0


class Retained(Owner):
    """A connection that reads what is retained. A context manager; raises UnavailableError where there is no broker.

    denied: why the broker lets something of what was last asked for not be read, by its own word. limits: the broker's.
    """

    def __init__(self, mqtt: Mqtt, client_id: str) -> None:
        self._client: paho.Client | None = None
        self._told: queue.SimpleQueue[paho.MQTTMessage | None] = queue.SimpleQueue()  # None: from here on they come
        self.denied: str | None = None
        self.limits = Limits()
        self._session = Session(access(mqtt), client_id, self)

    @property
    def address(self) -> str:
        return self._session.access.address

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
        self._client, self.limits = client, limits

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


class Writer(Retained):
    """One that also retains, and clears. A context manager; raises as Retained does."""

    def __init__(self, mqtt: Mqtt, client_id: str) -> None:
        super().__init__(mqtt, client_id)
        self._answers: queue.SimpleQueue[ReasonCode | None] = queue.SimpleQueue()  # None: the connection is gone

    def put(self, topic: str, payload: bytes, *, within_s: float = ANSWER_S, retain: bool = True) -> None:
        """Retain a payload, or just say it; an empty one that is retained clears the topic.

        Raises UnavailableError where the broker refuses.
        """
        while not self._answers.empty():
            self._answers.get()  # of connections that are over
        self._client.publish(topic, payload, qos=1, retain=retain)
        try:
            reason = self._answers.get(timeout=within_s)
        except queue.Empty as error:
            raise UnavailableError(f"broker {self.address}: no answer within {within_s:.0f} s") from error
        if reason is None or reason.is_failure:
            raise UnavailableError(f"broker {self.address}: refuses {topic}: {reason or 'it hung up'}")

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        self._answers.put(reason)

    def closed(self, client: paho.Client) -> None:
        self._answers.put(None)
