"""What is asked over MQTT 5, and answered: a question names the topic on which its answer is to come.

A thread of its own, with a connection to the store of its own: recording never waits for a question.
"""

import logging
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.delivery.paho_client import paho
from edge.history.engine import StoreError
from edge.history.looking import HOURS_OF_WEEK, names, past, steps
from edge.history.store import History
from edge.voice.history import HistoryAnswer, HistoryGet, RoomPast
from edge.voice.payloads import ROOT, decoded, rfc3339

log = logging.getLogger("roomtone.history")

RECORDER = f"{ROOT}/history/recorder"  # whether there is somebody to ask
_ASKED = f"{ROOT}/history/get"
# Of what we say there ourselves nothing comes back.
_TOPICS = [(RECORDER, SubscribeOptions(qos=0, noLocal=True)), (_ASKED, SubscribeOptions(qos=0))]
ANSWERS = f"{ROOT}/history/answer"
_ANSWERED = re.compile(rf"{ANSWERS}/[A-Za-z0-9_-]{{1,64}}")  # and nowhere else: nobody speaks through us
_MOST_WAITING = 16
_LONGEST_QUESTION, _LONGEST_MARK = 1_000, 64  # bytes
_MOST_BYTES = 200_000  # of an answer: a page takes packets of 256 kB
_LONGEST_REST_S = 2.0
_DAYS = {"week": 7, "month": 30, "year": 365}


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it came, and where its answer goes."""

    client: paho.Client
    topic: str
    mark: bytes | None
    payload: bytes


class Answers:
    """Answers questions one by one; after each it rests as long as it worked."""

    def __init__(self, open_store: Callable[[], History]) -> None:
        self._open_store = open_store
        self._history: History | None = None
        self._client: paho.Client | None = None
        self._asked: queue.Queue[Question | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="answers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Say that there is nobody any more, and end after the answer in hand."""
        client, self._client = self._client, None
        if client is not None:
            client.publish(RECORDER, b"offline", qos=0, retain=True)
        try:
            self._asked.put_nowait(None)
        except queue.Full:
            return  # a daemon's thread ends with it
        self._thread.join(timeout=2.0)

    def opened(self, client: paho.Client) -> None:
        """Take questions on a connection, and say that there is somebody to ask."""
        self._client = client
        client.publish(RECORDER, b"online", qos=1, retain=True)
        client.subscribe(_TOPICS)

    def take(self, client: paho.Client, message: paho.MQTTMessage) -> bool:
        """Take what concerns questions, on the session's thread; return whether a message did.

        Another recorder that ends says that nobody is there: that is put right.
        """
        if message.topic == RECORDER:
            if client is self._client and message.payload != b"online":
                client.publish(RECORDER, b"online", qos=1, retain=True)
        elif message.topic == _ASKED:
            self._ask(client, message)
        return message.topic in (RECORDER, _ASKED)

    def _ask(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        """Take a question; one that names no place for its answer, or finds too many before it, is
        dropped: who asks asks again."""
        topic = getattr(message.properties, "ResponseTopic", "")
        mark = getattr(message.properties, "CorrelationData", None)
        fits = len(message.payload) <= _LONGEST_QUESTION and len(mark or b"") <= _LONGEST_MARK
        if not message.retain and fits and _ANSWERED.fullmatch(topic):
            try:
                self._asked.put_nowait(Question(client, topic, mark, message.payload))
            except queue.Full:
                log.debug("a question too many is dropped")

    def _work(self) -> None:
        while (question := self._asked.get()) is not None:
            before_s = time.thread_time()
            properties = Properties(PacketTypes.PUBLISH)
            if question.mark is not None:
                properties.CorrelationData = question.mark
            answer = msgspec.json.encode(self._answered(question.payload))
            question.client.publish(question.topic, answer, qos=0, properties=properties)
            time.sleep(min(_LONGEST_REST_S, time.thread_time() - before_s))
        self._close()

    def _answered(self, payload: bytes) -> HistoryAnswer:
        try:
            if self._history is None:
                self._history = self._open_store()
            return answer(self._history, payload, time.time())
        except StoreError as error:
            log.warning("%s: a question is not answered", error)
            self._close()
            return _refusal("the store of the history cannot be read just now")

    def _close(self) -> None:
        history, self._history = self._history, None
        if history is not None:
            history.give_up()


def answer(history: History, payload: bytes, now_s: float) -> HistoryAnswer:
    """Return what a question is answered with, at Unix time `now_s`. Raises StoreError."""
    try:
        asked = decoded(payload, HistoryGet)
    except ValueError as error:
        return _refusal(f"no question: {error}")
    try:
        zone = ZoneInfo(asked.time_zone)
    except (KeyError, ValueError, OSError):
        return _refusal("unknown time zone")
    rooms = names(history.engine)
    if asked.room is not None:
        rooms = {room: name for room, name in rooms.items() if name == asked.room}
    elif asked.after is not None:
        rooms = {room: name for room, name in rooms.items() if name > asked.after}
    over = steps(now_s, _DAYS[asked.span], _hours(asked), zone)
    found = past(history.engine, rooms, over, by_week=asked.room is not None)
    fitting = _fitting(found)
    return HistoryAnswer(
        ts=rfc3339(now_s),
        span=asked.span,
        time_zone=asked.time_zone,
        starts=over.starts(),
        rooms=fitting,
        more=fitting[-1].room if len(fitting) < len(found) else None,
        problem=f"nothing is kept of {asked.room}" if asked.room is not None and not rooms else None,
    )


def _hours(asked: HistoryGet) -> int:
    """Return how long a step is: one room is shown in more of them than many."""
    if asked.room is not None:
        return 1 if asked.span == "week" else 24
    return HOURS_OF_WEEK if asked.span == "year" else 24


def _fitting(found: list[RoomPast]) -> list[RoomPast]:
    """Return as many rooms, the first ones, as an answer has place for."""
    left = _MOST_BYTES
    for number, room in enumerate(found):
        left -= len(msgspec.json.encode(room))
        if left < 0 and number:
            return found[:number]
    return found


def _refusal(problem: str) -> HistoryAnswer:
    return HistoryAnswer(ts=rfc3339(time.time()), span="week", time_zone="UTC", starts=[], rooms=[], problem=problem)
