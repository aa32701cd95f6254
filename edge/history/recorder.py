"""The recorder: a subscriber whose session outlives its connections, and who acknowledges an event when it is on disk.

Events come at least once, because what is not acknowledged comes again, and are kept exactly once, by their event_id.
Timelines and states are not queued for whoever is away: the broker retains the newest, and they tell of a day.
"""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.reasoncodes import ReasonCode

from edge import config
from edge.delivery.access import Access
from edge.delivery.packets import Limits
from edge.delivery.paho_client import paho
from edge.delivery.session import Owner, Session, Will
from edge.errors import printable
from edge.history.answers import RECORDER, Answers
from edge.history.engine import StoreError
from edge.history.metrics import Condition
from edge.history.sensors import KINDS, MOST_DEVICES, Sensors
from edge.history.store import History, oldest_ms
from edge.history.taken import Taken, taken
from edge.history.told.days import DAY_MS, Days, day_of
from edge.history.told.inbox import Inbox
from edge.history.told.samples import Samples, sample_of
from edge.voice.payloads import ROOT

log = logging.getLogger("roomtone.history")

AWAY_S = 14 * 86_400  # for so long a broker keeps events for a recorder that is away
TOPICS = {"event": 1, "timeline": 0, "recent": 0, "state": 0}
_DEVICE = re.compile(r"[a-z0-9-]{1,64}")
_MOST_SAID = 100  # of warnings
_TOGETHER, LONGEST_WAIT_S = 16, 5.0  # events are committed when so many wait, or one for so long
_MINUTES_S = 60.0  # between two commits of minutes
_EXPIRE_S, _SOON_S, _AGAIN_S = 3_600.0, 1.0, 2.0  # the last after a store that failed
_CLOCK_IS_SET_S = 86_400.0  # after so long this machine's clock is believed without a sensor's
_AHEAD_MS = 120_000  # by which a sensor's clock may be before ours


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A message that is not acknowledged yet, with what it brought: nothing, where that cannot be kept."""

    client: paho.Client
    mid: int
    event: tuple[str, Taken] | None


class Recorder(Owner):
    """Keeps what sensors say. open_store: opens the store, and again after it failed. answers: answers questions.
    sensors: takes what they say of themselves, where metrics are wanted. kept: events that were new.
    """

    twin = " (does another recorder keep a copy of this store?)"

    def __init__(
        self, open_store: Callable[[], History], answers: Answers, access: Access, settings: config.History,
        sensors: Sensors | None,
    ) -> None:  # fmt: skip
        self.kept = 0
        self._open_store, self._settings, self._sensors = open_store, settings, sensors
        self._history: History | None = open_store()
        self._inbox: Inbox[tuple[paho.Client, paho.MQTTMessage | int]] = Inbox()
        self._client: paho.Client | None = None
        self._subscribed = False
        self._waiting: list[_Delivery] = []
        self._since_s = 0.0  # the oldest of them
        self._days = Days()
        self._samples = Samples()
        self._began_s = self._minutes_due_s = self._expire_due_s = time.monotonic()
        self._clock_agrees = False  # with a sensor's
        self._again_s = 0.0
        self._problem: str | None = None  # of the store
        self._said: set[tuple[str, str]] = set()
        self._answers = answers
        will = Will(topic=RECORDER, payload=b"offline")
        self._session = Session(access, self._history.client_id, self, will=will, lasts_s=AWAY_S)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Record until told to stop; then what has come is committed, as far as the store lets it."""
        log.info("keeping history in %s", self._history.engine.place)
        self._session.start()
        self._answers.start()
        try:
            while not stopping():
                self._step(timeout_s=0.2)
        finally:
            self._drain()
            self._again_s = 0.0
            self._commit()
            self._commit_minutes()
            self._answers.stop()
            self._session.stop()
            if self._history is not None:
                self._history.engine.close()

    def condition(self) -> Condition:
        """Return how it is, from any thread."""
        session, waiting = self._session, len(self._waiting) + len(self._inbox)
        ends_s = {"broker": session.certificate_ends_s, "recorder": session.access.own_certificate_ends_s}
        return Condition(session.problem is None, self._problem is None, self.kept, waiting, ends_s)

    def _step(self, timeout_s: float) -> None:
        if (came := self._inbox.get(timeout_s)) is not None:
            self._take(*came)
            self._drain()
        now_s = time.monotonic()
        if self._waiting and (len(self._waiting) >= _TOGETHER or now_s - self._since_s >= LONGEST_WAIT_S):
            self._commit()
        if now_s >= self._minutes_due_s or (self._days.many and now_s >= self._again_s):
            self._commit_minutes()
        if now_s >= self._expire_due_s:
            self._expire()

    def _drain(self) -> None:
        while self._inbox and len(self._waiting) < _TOGETHER and not self._days.many:
            self._take(*self._inbox.get(0.0))

    def _take(self, client: paho.Client, message: paho.MQTTMessage | int) -> None:
        if isinstance(message, int):  # when a connection ended, Unix milliseconds
            self._samples.cut_short(message)
            return
        _, device, kind = message.topic.split("/")
        if kind == "event":
            found = taken(message.payload) if _DEVICE.fullmatch(device) else "no device's name"
            if isinstance(found, str):
                self._ignore(message.topic, found)
            if not self._waiting:
                self._since_s = time.monotonic()
            self._waiting.append(_Delivery(client, message.mid, None if isinstance(found, str) else (device, found)))
        elif _DEVICE.fullmatch(device) and self._samples.admit(device, MOST_DEVICES):
            if kind == "state":
                if (sample := sample_of(message.payload)) is not None:
                    self._samples.take(device, sample)
            elif (day := day_of(message.payload)) is not None:
                ahead_ms = day.until_ms - 1_000 * time.time()
                self._clock_agrees |= abs(ahead_ms) < DAY_MS
                if ahead_ms <= _AHEAD_MS:
                    self._days.take(device, day, whole=kind == "timeline")
                else:
                    self._ignore(message.topic, "a day that is still to come: is a clock wrong, there or here?")

    def _ignore(self, topic: str, why: str) -> None:
        if (topic, why) not in self._said and len(self._said) < _MOST_SAID:
            self._said.add((topic, why))
            log.warning("%s: not kept: %s", topic, printable(why))

    def _commit(self) -> None:
        """Commit the events that wait, and only then acknowledge them."""
        events = [each.event for each in self._waiting if each.event is not None]
        if self._waiting and self._done(lambda history: self._count(history.take(events))):
            for each in self._waiting:
                if each.client is self._client:  # on a connection that is over it would say nothing: it comes again
                    each.client.ack(each.mid, 1)
            self._waiting.clear()

    def _count(self, new: int) -> None:
        self.kept += new

    def _commit_minutes(self) -> None:
        self._minutes_due_s = time.monotonic() + _MINUTES_S
        days = {device: (day, list(self._samples.of(device))) for device, day in self._days.untaken.items()}

        def keep(history: History) -> None:
            history.take_days(days)
            history.sum_up(int(time.time()) // 3_600)

        if self._done(keep):
            for device, (day, _) in days.items():
                self._samples.kept(device, day.until_ms)
            self._days.kept()

    def _expire(self) -> None:
        """Delete what is older than it may be, once it is sure what time it is: a clock that is years ahead would
        otherwise cost the whole history."""
        now_s = time.monotonic()
        if not self._clock_agrees and now_s - self._began_s < _CLOCK_IS_SET_S:
            self._expire_due_s = now_s + _SOON_S
            return
        self._expire_due_s = now_s + _EXPIRE_S
        self._done(lambda history: history.expire(oldest_ms(self._settings, round(1_000 * time.time()))))

    def _done(self, work: Callable[[History], None]) -> bool:
        """Have a store that may fail do something; return whether it did. What failed is tried again, and said once."""
        if time.monotonic() < self._again_s:
            return False
        try:
            if self._history is None:
                self._history = self._open_store()
            work(self._history)
        except StoreError as error:
            if str(error) != self._problem:
                log.warning("%s: what comes now waits at the broker; trying again", error)
            self._problem = str(error)
            self._again_s = time.monotonic() + _AGAIN_S
            if self._history is not None:
                self._history.give_up()
            self._history = None
            return False
        if self._problem is not None:
            log.info("%s: keeps history again", self._history.engine.place)
        self._problem = None
        return True

    # What the session tells, on its thread.

    def opened(self, client: paho.Client, limits: Limits) -> None:
        client.manual_ack_set(True)
        self._client = client
        self._days.connected()
        also = [kind for kind in KINDS if kind not in TOPICS]
        if self._sensors is not None:
            self._sensors.connected()
            client.subscribe([(f"{ROOT}/+/{kind}", 0) for kind in also])
        else:  # of an earlier life, whose session this is
            client.unsubscribe([f"{ROOT}/+/{kind}" for kind in also])
        client.subscribe([(f"{ROOT}/+/{kind}", qos) for kind, qos in TOPICS.items()])
        self._answers.opened(client)

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            self._session.note(f"a subscription is refused ({refused[0]}): not everything is kept")
        elif not self._subscribed:
            self._subscribed = True
            log.info("broker %s: hears every room", self._session.access.address)

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        if self._answers.take(client, message):
            return
        _, device, kind = message.topic.split("/")
        if self._sensors is not None and _DEVICE.fullmatch(device):
            self._sensors.hear(device, kind, message.payload, retained=message.retain)
        if kind in TOPICS:
            self._inbox.put_in_turn((client, message))

    def closed(self, client: paho.Client) -> None:
        self._inbox.put((client, round(1_000 * time.time())))
        self._client = None
