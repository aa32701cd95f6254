"""The link to the broker: what the sensor says under `roomtone/<device>/`, and what it is told there."""

import logging
import threading
from collections.abc import Callable, Mapping

from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.config import Mqtt
from edge.delivery.access import access
from edge.delivery.courier import Courier
from edge.delivery.outbox import Outbox
from edge.delivery.packets import Limits, Message, Word
from edge.delivery.paho_client import paho
from edge.delivery.past import PAST
from edge.delivery.session import Owner, Session, Will
from edge.delivery.throttle import Throttle
from edge.errors import printable
from edge.voice.payloads import ROOT, BrokerLink, Event, rfc3339
from edge.voice.sequence import Sequence

log = logging.getLogger("roomtone.link")

# A command is acknowledged when it has been obeyed: until then the broker keeps it, over a power cut of ours, too.
COMMANDS_WAIT_S = 86_400
_MOST_SAID = 100  # reasons for which commands were ignored
_OWN = SubscribeOptions(qos=1, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
_unsaid = logging.getLogger("roomtone.mqtt.first")  # whatever it would say, the link's own session says, too
_unsaid.setLevel(logging.CRITICAL)
# Obeys a payload, or returns why it does not, in words.
Command = Callable[[bytes], str | None]


class Link(Owner):
    """Publishes under `roomtone/<device>/`. Without an outbox, events that the broker does not take stay in memory.

    ignored_commands: messages of others on our topics that ask for nothing we know, or not in the way we want.
    """

    def __init__(
        self,
        settings: Mqtt,
        device: str,
        *,
        host: str,
        port: int,
        outbox: Outbox | None = None,
        sequence: Sequence | None = None,
    ) -> None:
        self.prefix = f"{ROOT}/{device}/"
        self.ignored_commands = 0
        self._ignored_because: set[tuple[str, str]] = set()  # what was said of them, once each
        self.outbox = outbox or Outbox(None)
        self._ignoring = threading.Lock()
        self._commands: Mapping[str, Command] = {}
        self._first: _First | None = None
        self._throttle = Throttle()
        self._handlers: dict[str, Callable[[bytes], None]] = {}
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
    def reconnects(self) -> int:
        return max(0, self._session.connects - 1)

    def condition(self) -> BrokerLink:
        """Return what `health` says of the link."""
        last = self._session.last_problem
        return BrokerLink(
            problem=self.problem,
            last_problem=last[0] if last else None,
            last_problem_ts=rfc3339(last[1]) if last else None,
        )

    def start(
        self,
        *,
        commands: Mapping[str, Command] | None = None,
        first: Mapping[str, Command] | None = None,
        on_past: Callable[[dict[str, Word]], None] | None = None,
    ) -> None:
        """Begin to connect, and go on trying for ever.

        commands: what is called on what comes, not retained, by the name of its topic. first: the same, of what may
        wait for none of the others. on_past: given, once, what the broker had retained of an earlier life, by name
        (those of PAST that there were). All are called on the link's threads.
        """
        self._commands = {**(commands or {}), **(first or {})}
        if first:
            self._first = _First(self._session, self.prefix, list(first), self._obey)
        self._courier.on_past = on_past or self._courier.on_past
        self._courier.start()
        self._session.start()
        if self._first is not None:
            self._first.session.start()

    def require(self, timeout_s: float = 5.0) -> None:
        """Wait for the first answer. Raises UnavailableError with the reason if it is not a connection."""
        self._session.require(timeout_s)

    def stop(self) -> None:
        """Give what is on its way a moment, say `offline` (an orderly end sends no will), save the rest, disconnect."""
        self._courier.stop()
        self._session.stop()
        if self._first is not None:
            self._first.session.stop()

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
        client.subscribe(self.prefix + "#", options=_OWN)
        for topic in self._handlers:
            client.subscribe(topic, qos=1)
        self._courier.opened(client, limits)

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        for reason in reasons:
            if reason.is_failure:
                self._session.note(f"a subscription is refused ({reason}): commands will not be heard")
        self._courier.subscribed(client)

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        topic, name = message.topic, message.topic.removeprefix(self.prefix)
        if topic in self._handlers:
            self._handlers[topic](message.payload)
        elif message.retain and name in PAST:
            self._courier.retained(name, Word.of(message))
        elif self._first is None or not self._first.hears(name):
            self._obey(name, message)
            self._throttle.rest()

    def _obey(self, name: str, message: paho.MQTTMessage) -> None:
        """Count a command that is not obeyed, and say why, where that is of use: once each, and not without end."""
        why = None
        if name in self._commands:
            why = "retained: send it without" if message.retain else self._commands[name](message.payload)
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
        self._courier.closed(client)


class _First(Owner):
    """Hears a few commands on a connection of their own: on the link's, they would wait for all that came before them.

    Where the broker lets it have none, the link hears them as it does the others.
    """

    def __init__(
        self, beside: Session, prefix: str, names: list[str], obey: Callable[[str, paho.MQTTMessage], None]
    ) -> None:
        self._prefix, self._names, self._obey = prefix, names, obey
        self._throttle, self._subscribed = Throttle(), False
        client_id = f"{beside.client_id}-first"
        self.session = Session(beside.access, client_id, self, lasts_s=COMMANDS_WAIT_S, log=_unsaid)

    def hears(self, name: str) -> bool:
        """Return whether this one comes here."""
        return self._subscribed and name in self._names

    def opened(self, client: paho.Client, limits: Limits) -> None:
        # What comes next was waiting for us: had the link heard a part of it since, that would seem to be the newest.
        self._subscribed = self.session.resumed
        client.subscribe([(self._prefix + name, _OWN) for name in self._names])

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        self._subscribed = not any(reason.is_failure for reason in reasons)

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        self._obey(message.topic.removeprefix(self._prefix), message)
        self._throttle.rest()

    def closed(self, client: paho.Client) -> None:
        self._subscribed = False
