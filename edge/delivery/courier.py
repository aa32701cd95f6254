"""The courier: one thread that alone decides what is published, in which order, and how much at a time.

Of a retained topic the newest message is kept, and sent again on every connection. Events wait in an outbox (outbox.py)
until they are acknowledged. Nothing is sent before the broker has told what it retained of an earlier life (past.py):
that would be overwritten. The MQTT library never holds more than what is unacknowledged now (flights.py).
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial

from paho.mqtt.reasoncodes import ReasonCode

from edge.delivery.flights import SLOW_S, Flight, Flights
from edge.delivery.outbox import Outbox
from edge.delivery.packets import MOST_HELD_EVENTS, Limits, Message, Packets, Word
from edge.delivery.paho_client import paho
from edge.delivery.past import PAST, Past, ask_broker, seq_of
from edge.delivery.refusals import Refusals
from edge.voice.payloads import Event
from edge.voice.sequence import Sequence

log = logging.getLogger("roomtone.courier")

_SLOW = f"no acknowledgement for more than {SLOW_S:.0f} s"
_GOODBYE_S = 1.0
_AT_ONCE = 100  # things done before looking at what can be sent


class Courier:
    """Publishes under `prefix`, on whatever connection there is. All public methods may be called from any thread.

    note: is told, once each, of what goes wrong although there is a connection. on_past: given what brokers had
    retained of an earlier life, by name (those of PAST that there were), the newest first; of `others` also later.
    """

    def __init__(self, prefix: str, outbox: Outbox, sequence: Sequence, note: Callable[[str], None]) -> None:
        self.past, self.on_past = Past(), lambda *pasts: None
        self._prefix, self._outbox, self._sequence, self._note = prefix, outbox, sequence, note
        self._inbox: queue.SimpleQueue[Callable[[float], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
        self._fault: Exception | None = None
        # The newest of each retained topic, with its QoS; and those topics that this connection has not been given.
        self._wanted: dict[str, tuple[Message, int]] = {prefix + "status": (b"online", 1)}
        self._unsent: dict[str, None] = {}  # in order
        self._packets, self._flying, self._stepped_s = Packets(sequence, note), Flights(), 0.0
        self._client: paho.Client | None = None
        self._past_topics = [prefix + name for name in PAST]
        self._refusals, self._ending = Refusals(), False

    @property
    def problems(self) -> list[str]:
        """What the broker refuses or cannot take, and whether it owes acknowledgements, in words."""
        return list(filter(None, [self._refusals.words, self._packets.words, _SLOW if self._flying.slow else None]))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Give what is on its way a moment, say `offline` (an orderly end sends no will), and save the rest."""
        self._inbox.put(self._end)
        self._thread.join(5 * _GOODBYE_S)

    def retain(self, topic: str, payload: Message, *, qos: int) -> None:
        """Publish the newest of a retained message; without a connection it waits, replacing its predecessor."""
        self._tell(partial(self._keep, topic, payload, qos))

    def event(self, event: Event) -> None:
        """Publish an event until it is acknowledged."""
        made_s = time.monotonic()
        self._tell(lambda now_s: self._outbox.add(event, made_s))

    def resend(self) -> None:
        """Publish all retained messages again."""
        self._tell(self._resend)

    def opened(self, client: paho.Client, limits: Limits) -> None:
        """There is a connection. Asks for the past, where that is not known."""
        if not self.past.known:
            ask_broker(client, self._prefix)
        self._inbox.put(partial(self._open, client, limits))

    def past_told(self, client: paho.Client) -> None:
        """The broker answered what it was asked after the past."""
        self._inbox.put(partial(self._expect_past, client))

    def retained(self, name: str, payload: Word) -> None:
        """One of PAST came."""
        self._inbox.put(partial(self.past.remember, name, payload))

    def told_by(self, other: str, name: str | None = None, payload: Word | None = None) -> None:
        """One of PAST came from another broker; without a name: it answered, and they come now, if at all."""
        self._inbox.put(partial(self._hear_other, other, name, payload))

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        """The broker answered a message."""
        self._inbox.put(partial(self._land, client, mid, reason))

    def closed(self, client: paho.Client) -> None:
        """There is no connection any more."""
        self._inbox.put(partial(self._close, client))

    def _tell(self, act: Callable[[float], None]) -> None:
        """Hand over something to do; a fault that ended the courier is raised here, in the sensor."""
        if self._fault is not None:
            raise self._fault
        self._inbox.put(act)

    # All below runs on the courier's thread. `now_s` is of a monotonic clock.

    def _work(self) -> None:
        try:
            while not self._ending:
                self._step()
            self._finish()
        except Exception as error:  # whatever it is, the sensor must not go on without a voice: see _tell
            log.debug("courier", exc_info=True)
            self._fault = error

    def _step(self, until_s: float | None = None) -> None:
        """Wait for something to happen (at most until then), and do what it asks for."""
        # As of the last step, not of now: what has become due since then is due, and not past.
        due_s = [time_s for time_s in (until_s, self.past.due_s, *self._timers(self._stepped_s)) if time_s is not None]
        try:
            act = self._inbox.get(timeout=max(0.0, min(due_s) - time.monotonic()) if due_s else None)
            for _ in range(_AT_ONCE):
                act(time.monotonic())
                act = self._inbox.get_nowait()
            act(time.monotonic())
        except queue.Empty:
            pass  # whether something was asked for or time has passed: both are looked at below
        now_s = self._stepped_s = time.monotonic()
        if self.past.awaited and now_s >= self.past.due_s:
            self._tell_past(now_s)
        self._outbox.tick(now_s)
        if self._flying.look(now_s):
            self._note(_SLOW)
        self._send(now_s)

    def _timers(self, now_s: float) -> list[float | None]:
        return [*self._flying.slow_at(), *self._refusals.due_s(now_s), self._outbox.due_s(now_s)]

    def _send(self, now_s: float) -> None:
        if self._client is None or self.past.awaited:
            return
        paused = self._refusals.paused(now_s)
        busy = self._flying.retained | paused
        for topic in [topic for topic in self._unsent if topic not in busy]:
            if self._flying.full(now_s):
                return
            del self._unsent[topic]
            payload, qos = self._wanted[topic]
            self._publish(Flight(topic, None, now_s), payload, qos=qos, retain=True)
        if self._prefix + "event" in paused:
            return
        while not self._flying.full(now_s) and self._packets.held_events < MOST_HELD_EVENTS:
            if (event := self._outbox.take(now_s)) is None:
                return
            self._publish(Flight(self._prefix + "event", event.event_id, now_s), event)

    def _publish(self, flight: Flight, payload: Message, *, qos: int = 1, retain: bool = False) -> None:
        packet = self._packets.make(flight.topic, payload, qos=qos, is_event=flight.event_id is not None)
        if packet is None:
            return  # an event stays under way, as far as its outbox knows, until there is another connection
        sent = self._client.publish(flight.topic, packet[0], qos=qos, retain=retain, properties=packet[1])
        if qos:
            self._flying.begin(sent.mid, flight)

    def _keep(self, topic: str, payload: Message, qos: int, now_s: float) -> None:
        self._wanted[topic] = payload, qos
        self._unsent[topic] = None

    def _resend(self, now_s: float) -> None:
        self._unsent = dict.fromkeys(self._wanted)

    def _open(self, client: paho.Client, limits: Limits, now_s: float) -> None:
        self._client = client
        self._flying.opened(limits.in_flight, now_s)
        self._packets.connected(limits)
        self._unsent = dict.fromkeys(self._wanted)
        if self.past.known:
            self._outbox.connected(now_s)
            client.unsubscribe(self._past_topics)  # the broker may remember that we asked
        else:
            self.past.ask(now_s)

    def _expect_past(self, client: paho.Client, now_s: float) -> None:
        if client is self._client:
            self.past.answered(now_s)

    def _hear_other(self, other: str, name: str | None, payload: Word | None, now_s: float) -> None:
        if name is None:
            self.past.answered(now_s, other)
        elif self.past.known:
            self.on_past({name: payload})
        else:
            self.past.remember(name, payload, now_s, other)

    def _tell_past(self, now_s: float) -> None:
        """Take up an earlier life where it ended; only now is anything published that would replace its traces."""
        pasts = self.past.tell()
        self._outbox.connected(now_s)
        self._client.unsubscribe(self._past_topics)
        if self._sequence.rise_above(seq_of(pasts[0].get("state")), self._outbox.oldest_seq()):
            log.warning("the clock is behind what this sensor last published: set it (`roomtone doctor`); seq goes on")
        self.on_past(*pasts)

    def _close(self, client: paho.Client, now_s: float) -> None:
        if client is self._client:
            self._client = None
            self.past.lost()
            self._flying.clear(now_s)
            self._outbox.disconnected()

    def _land(self, client: paho.Client, mid: int, reason: ReasonCode, now_s: float) -> None:
        flight = self._flying.land(mid) if client is self._client else None
        if flight is None:
            return
        if reason.is_failure:
            if (news := self._refusals.add(flight.topic, str(reason), now_s)) is not None:
                self._note(news)
            if flight.event_id is None:
                self._unsent[flight.topic] = None
            else:
                self._outbox.refused(flight.event_id)
            return
        self._refusals.lift(flight.topic)
        if flight.event_id is not None:
            self._outbox.acknowledged(flight.event_id)

    def _end(self, now_s: float) -> None:
        self._ending = True

    def _finish(self) -> None:
        self._serve(lambda: not self.past.awaited)  # stopped just after a connection: what waits is still said
        self._serve(lambda: self._outbox.idle and not self._unsent)
        if self._client is not None and not self.past.awaited:
            status = self._prefix + "status"
            self._unsent.clear()
            self._publish(Flight(status, None, time.monotonic()), b"offline", retain=True)
            self._serve(lambda: status not in self._flying.retained)
        self._outbox.close(time.monotonic())

    def _serve(self, done: Callable[[], bool]) -> None:
        until_s = time.monotonic() + _GOODBYE_S
        while self._client is not None and not done() and time.monotonic() < until_s:
            self._step(until_s)
