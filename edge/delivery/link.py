"""The link to the broker: what the sensor says under `roomtone/<device>/`, and what it is told there."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config import Mqtt
from edge.delivery.access import access
from edge.delivery.brokers.first import COMMANDS_WAIT_S, OWN, Arrivals, Came, Command, First, FirstCommand
from edge.delivery.courier import Courier
from edge.delivery.outbox import Outbox
from edge.delivery.packets import Limits, Message, Word
from edge.delivery.paho_client import paho
from edge.delivery.past import PAST, Past
from edge.delivery.session import Owner, Session, Will
from edge.delivery.throttle import Throttle
from edge.errors import printable
from edge.voice.payloads import ROOT, BrokerLink, Event, rfc3339
from edge.voice.sequence import Sequence

log = logging.getLogger("roomtone.link")

_MOST_SAID = 100  # reasons for which commands were ignored
# Of what others retain, which may be large, nothing is sent again on a connection that goes on with a session.
_ONCE = SubscribeOptions(qos=1)
_AGAIN = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)


class Link(Owner):
    """Publishes under `roomtone/<device>/`. Without an outbox, events that the broker does not take stay in memory.

    ignored_commands: messages of others on our topics that ask for nothing we know, or not in the way we want.
    """

    def __init__(
        self,
        settings: Mqtt,
        device: str,
        *,
        host: str | None = None,
        port: int | None = None,
        outbox: Outbox | None = None,
        sequence: Sequence | None = None,
    ) -> None:
        self.prefix = f"{ROOT}/{device}/"
        self.ignored_commands = 0
        self._ignored_because: set[tuple[str, str]] = set()  # what was said of them, once each
        self.outbox = outbox or Outbox(None)
        self._ignoring = threading.Lock()
        self._commands: Mapping[str, Command] = {}
        self._first_commands: Mapping[str, FirstCommand] = {}
        self._firsts: dict[str, First] = {}  # by the broker's address
        self._arrivals: dict[str, Arrivals] = {}  # of two brokers
        self._throttle = Throttle()
        self._handlers: dict[str, Callable[[bytes], None]] = {}
        self._heard: set[str] = set()  # those of their topics on which something came
        self._own_mid: int | None = None  # of this connection's subscription to our own topics
        self._session = Session(
            access(settings, host=host, port=port),
            f"{ROOT}-{device}",
            self,
            will=Will(topic=self.prefix + "status", payload=b"offline"),
            lasts_s=COMMANDS_WAIT_S,
        )
        self._courier = Courier(self.prefix, self.outbox, sequence or Sequence(), self._session.note)

    @property
    def address(self) -> str:
        return self._session.access.address

    @property
    def problem(self) -> str | None:
        """What keeps messages from being delivered, in words; None when nothing does."""
        return "; ".join(filter(None, [self._session.problem, *self._courier.problems])) or None

    @property
    def words(self) -> str:
        """Which broker is used or why there is none, and how many events wait, for people at a terminal."""
        used = f"broker {self.address}: {self.problem or 'connected'}{f' ({away})' if (away := self.away) else ''}"
        return f"{used}; {self.outbox.depth} events wait" if self.outbox.depth and self.problem else used

    @property
    def away(self) -> str | None:
        """Why the second of two brokers is used, in words; None where it is not."""
        return self._session.away

    @property
    def connects(self) -> int:
        """How often there was a connection; `reconnects` of them after another."""
        return self._session.connects

    @property
    def reconnects(self) -> int:
        return max(0, self.connects - 1)

    def condition(self) -> BrokerLink:
        """Return what `health` says of the link."""
        last = self._session.last_problem
        return BrokerLink(
            problem=self.problem,
            last_problem=last[0] if last else None,
            last_problem_ts=_time(last and last[1]),
            certificate_ends=_time(self._session.certificate_ends_s),
            own_certificate_ends=_time(self._session.access.own_certificate_ends_s),
            address=None if self._session.problem else self.address,
            away=self.away,
        )

    def start(
        self,
        *,
        commands: Mapping[str, Command] | None = None,
        first: Mapping[str, FirstCommand] | None = None,
        on_past: Callable[..., None] | None = None,
    ) -> None:
        """Begin to connect, and go on trying for ever.

        commands: what is called on what comes, not retained, by the name of its topic. first: the same, of what may
        wait for none of the others, and is heard from both brokers where there are two. on_past: given what each
        broker had retained of an earlier life, by name (those of PAST that there were), the one spoken to last first;
        and once more by a broker that is there only later. All are called on the link's threads.
        """
        self._commands, self._first_commands = dict(commands or {}), dict(first or {})
        near = self._session.access
        for place in filter(None, (near, near.standby) if first else ()):
            tell = None
            if near.standby:
                self._arrivals[place.address] = Arrivals(place.address)
                tell = partial(self._courier.told_by, place.address)
            self._firsts[place.address] = First(
                replace(place, standby=None), self._session.client_id, self.prefix, list(first), self._obey, tell=tell
            )
        if near.standby and first:
            self._session.scout.lent = self._firsts[near.address].session
            self._courier.past = Past(others=len(self._firsts))
        self._courier.on_past = on_past or self._courier.on_past
        self._courier.start()
        self._session.start()
        for each in self._firsts.values():
            each.session.start()

    def require(self, timeout_s: float = 5.0) -> None:
        """Wait for the first answer. Raises UnavailableError with the reason if it is not a connection."""
        self._session.require(timeout_s)

    def stop(self) -> None:
        """Give what is on its way a moment, say `offline` (an orderly end sends no will), save the rest, disconnect."""
        self._courier.stop()
        self._session.stop()
        for each in self._firsts.values():
            each.session.stop()

    def retain(self, name: str, payload: Message, *, qos: int = 1) -> None:
        """Publish the newest of a retained message; without a connection it waits, replacing its predecessor."""
        self._courier.retain(self.prefix + name, payload, qos=qos)

    def retain_at(self, topic: str, payload: Message, *, qos: int = 1) -> None:
        """As `retain`, on a topic that is not the device's own."""
        self._courier.retain(topic, payload, qos=qos)

    def event(self, event: Event) -> None:
        """Publish an event, QoS 1, not retained; it is sent until the broker has acknowledged it."""
        self._courier.event(event)

    def listen(self, topic: str, handler: Callable[[bytes], None]) -> None:
        """Have a topic that is not the device's own handed to `handler`, on the session's thread. Before `start`."""
        self._handlers[topic] = handler

    def resend(self) -> None:
        """Publish all retained messages again."""
        self._courier.resend()

    # What the session tells, on its thread.

    def opened(self, client: paho.Client, limits: Limits) -> None:
        if (place := self._session.access.address) in self._arrivals:
            self._arrivals[place].opened(resumed=self._session.resumed)
        self._courier.opened(client, limits)  # first: the answer to what follows tells that the past has come
        self._own_mid = client.subscribe(self.prefix + "#", options=OWN)[1]
        for topic in self._handlers:
            client.subscribe(topic, options=_AGAIN if topic in self._heard else _ONCE)

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        for reason in reasons:
            if reason.is_failure:
                self._session.note(f"a subscription is refused ({reason}): commands will not be heard")
        if mid == self._own_mid:
            self._courier.past_told(client)

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        topic, name = message.topic, message.topic.removeprefix(self.prefix)
        if topic in self._handlers:
            self._heard.add(topic)
            self._handlers[topic](message.payload)
            self._throttle.rest()
        elif not topic.startswith(self.prefix):  # asked for under another configuration: the session outlives that
            client.unsubscribe(topic)
        elif message.retain and name in PAST:
            self._courier.retained(name, Word.of(message))
        else:
            place = self._session.access.address
            if place not in self._firsts or not self._firsts[place].hears(name):
                self._obey(name, message, self._arrivals[place].came() if place in self._arrivals else Came())
                self._throttle.rest()

    def _obey(self, name: str, message: paho.MQTTMessage, came: Came) -> None:
        """Count a command that is not obeyed, and say why, where that is of use: once each, and not without end."""
        why = None
        if (known := name in self._first_commands or name in self._commands) and message.retain:
            why = "retained: send it without"
        elif known:
            first = self._first_commands.get(name)
            why = first(message.payload, came) if first else self._commands[name](message.payload)
            if why is None:
                return
        with self._ignoring:
            self.ignored_commands += 1
            if why and (name, why) not in self._ignored_because and len(self._ignored_because) < _MOST_SAID:
                self._ignored_because.add((name, why))
                log.warning("%s: ignored a command that was %s", message.topic, printable(why))

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        self._courier.acknowledged(client, mid, reason)

    def closed(self, client: paho.Client) -> None:
        for arrivals in self._arrivals.values():
            arrivals.closed()
        self._courier.closed(client)


def _time(unix_s: float | None) -> str | None:
    return None if unix_s is None else rfc3339(unix_s)
