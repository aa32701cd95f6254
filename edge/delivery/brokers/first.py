"""A connection for what waits for none of the other commands; of two brokers, one to each, whichever is used."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.delivery.access import Access
from edge.delivery.brokers.owner import Owner
from edge.delivery.brokers.scout import unsaid
from edge.delivery.packets import Limits, Word
from edge.delivery.paho_client import paho
from edge.delivery.past import PAST, ask_broker
from edge.delivery.session import Session
from edge.delivery.throttle import Throttle

# A command is acknowledged when it has been obeyed: until then the broker keeps it, over a power cut of ours, too.
COMMANDS_WAIT_S = 86_400
OWN = SubscribeOptions(qos=1, noLocal=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
_SETTLED_S = 1.0  # without a word, after which a broker has told all that had waited there


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """How a command came. broker: through which of two; None of one. waited_since_s: since when it may have waited
    there (seconds of a monotonic clock; minus infinity: since an earlier life); None: it came as it was said."""

    broker: str | None = None
    waited_since_s: float | None = None


class Arrivals:
    """Of one of two brokers: what comes before a connection has been quiet for a while may have waited there."""

    def __init__(self, broker: str) -> None:
        self._broker, self._open = broker, False
        self._lost_s = self._until_s = -math.inf

    def opened(self, *, resumed: bool) -> None:
        """There is a connection. resumed: the broker has kept what came."""
        self._open, self._until_s = True, time.monotonic() + _SETTLED_S if resumed else -math.inf

    def closed(self) -> None:
        """There is none any more."""
        if self._open:
            self._open, self._lost_s = False, time.monotonic()

    def came(self) -> Came:
        """Return how a command came that comes now."""
        if (now_s := time.monotonic()) > self._until_s:
            return Came(broker=self._broker)
        self._until_s = now_s + _SETTLED_S
        return Came(broker=self._broker, waited_since_s=self._lost_s)


# Obeys a payload, or returns why it does not, in words.
Command = Callable[[bytes], str | None]
FirstCommand = Callable[[bytes, Came], str | None]


class First(Owner):
    """Hears a few commands on a connection of their own: on the link's, they would wait for all that came before them.

    Where the broker lets it have none, the link hears them as it does the others. tell: of two brokers, is told once
    what this one has retained of an earlier life: a name of PAST and its word; nothing: it answered.
    """

    def __init__(
        self,
        access: Access,
        client_id: str,
        prefix: str,
        names: list[str],
        obey: Callable[[str, paho.MQTTMessage, Came], None],
        *,
        tell: Callable[..., None] | None = None,
    ) -> None:
        self._prefix, self._names, self._obey, self._tell = prefix, names, obey, tell
        self._throttle, self._subscribed, self._asked = Throttle(), False, False
        self._own_mid: int | None = None  # of this connection's subscription to the commands
        self._arrivals = Arrivals(access.address)
        self.session = Session(access, f"{client_id}-first", self, lasts_s=COMMANDS_WAIT_S, log=unsaid)

    def hears(self, name: str) -> bool:
        """Return whether this one comes here."""
        return self._subscribed and name in self._names

    def opened(self, client: paho.Client, limits: Limits) -> None:
        # What comes next was waiting for us: had the link heard a part of it since, that would seem to be the newest.
        self._subscribed = self.session.resumed
        self._arrivals.opened(resumed=self.session.resumed)
        if self._tell and not self._asked:
            ask_broker(client, self._prefix)  # first: the answer to what follows tells that it has come
        self._own_mid = client.subscribe([(self._prefix + name, OWN) for name in self._names])[1]

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        if mid == self._own_mid:
            self._subscribed = not any(reason.is_failure for reason in reasons)
            if self._tell and not self._asked:
                self._asked = True
                self._tell()

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        name = message.topic.removeprefix(self._prefix)
        if name not in PAST:
            self._obey(name, message, self._arrivals.came() if self._tell else Came())
        elif message.retain and self._tell:
            self._tell(name, Word.of(message))
        else:  # what we say ourselves
            client.unsubscribe(message.topic)
        self._throttle.rest()

    def closed(self, client: paho.Client) -> None:
        self._arrivals.closed()
        self._subscribed, self._own_mid = False, None
