"""One lasting MQTT 5 session: a thread that connects, stays connected, and says in words why it cannot."""

import logging
import math
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.enums import CallbackAPIVersion, LogLevel
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.delivery.access import Access
from edge.delivery.packets import Limits, connect_properties
from edge.delivery.paho_client import paho
from edge.delivery.reasons import ANSWER_S, Said, guess, in_words, refused
from edge.errors import UnavailableError

log = logging.getLogger("roomtone.mqtt")

LONGEST_RETRY_S = 45.0  # what waited must be delivered within a minute of the broker's return
_FIRST_RETRY_S, _LONGEST_SHORT_RETRY_S = 0.5, 3.0  # a broker that accepts us is there: it is not left alone for long
_STABLE_S = 10.0  # a connection that lasted this long was not part of the trouble
_TAKEN_OVER = 142
_TWIN = " (do two sensors have the same edge.device.id?)"
_EXPLAINED_S = 60.0  # for so long what was noted explains why connections end
_SUSPICIOUS = 2  # short connections in a row; not every broker says why it ended them


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """A retained message that the broker publishes for us when we vanish."""

    topic: str
    payload: bytes


class Owner:
    """Whose session it is; called on the session's thread. Every connection has a client of its own."""

    def opened(self, client: paho.Client, limits: Limits) -> None:
        """The broker accepted us, within these limits."""

    def subscribed(self, client: paho.Client, mid: int, reasons: list[ReasonCode]) -> None:
        """The answer to a subscription."""

    def received(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        """A message."""

    def acknowledged(self, client: paho.Client, mid: int, reason: ReasonCode) -> None:
        """The answer to a message of ours."""

    def closed(self, client: paho.Client) -> None:
        """The connection, if there was one, is over."""


class Session:
    """Connects, and connects again, until stopped. `problem` says why there is no connection, None where there is.

    lasts_s: for so long after a connection the broker keeps what comes for us, and what we have not acknowledged.
    resumed: whether it had done so at the last connection. log: where it says what happens.
    """

    def __init__(
        self,
        access: Access,
        client_id: str,
        owner: Owner,
        *,
        will: Will | None = None,
        lasts_s: int = 0,
        retry_delay_s: Callable[[float, int], float] | None = None,
        log: logging.Logger = log,
    ) -> None:
        self.access, self.client_id = access, client_id
        self.problem: str | None = "not connected yet"
        self.last_problem: tuple[str, float] | None = None  # with its Unix time
        self.connects, self.resumed = 0, False
        self._owner, self._will, self._lasts_s, self._log = owner, will, lasts_s, log
        self._retry_delay_s = retry_delay_s or jittered_delay_s
        self._client: paho.Client | None = None
        self._complaint: str | None = None  # what paho said last of the connection in hand
        self._short = 0  # connections in a row that were accepted and soon lost
        self._noted_s = -math.inf
        self._said = Said()
        self._settled = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect, and go on trying for ever."""
        self._thread.start()

    def require(self, timeout_s: float = 5.0) -> None:
        """Wait for the first answer. Raises UnavailableError with the reason if it is not a connection."""
        self._settled.wait(timeout_s)
        if self.problem is not None:
            raise UnavailableError(f"broker {self.access.address}: {self.problem}")

    def stop(self, timeout_s: float = 1.0) -> None:
        """Disconnect in good order (the broker then publishes no will)."""
        self._ending.set()
        if (client := self._client) is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def note(self, problem: str) -> None:
        """Say, and remember, what does not work although there is a connection."""
        self._log.warning("broker %s: %s", self.access.address, problem)
        self.last_problem = problem, time.time()
        self._noted_s = time.monotonic()

    def _report(self, problem: str) -> None:
        """Say why there is no connection, each reason once (and then rarely) until one holds."""
        if problem != self.problem and self._said.is_news(problem):
            self._log.warning("broker %s: %s; trying again", self.access.address, problem)
        self.problem = problem
        self.last_problem = problem, time.time()
        self._settled.set()

    def _work(self) -> None:
        served_s = time.monotonic()
        while not self._ending.is_set():
            began_s = time.monotonic()
            self._complaint = None
            client = self._client = self._new_client()
            try:
                accepted = self._live(client)
            finally:
                self._client = None
                if (left := client.socket()) is not None:
                    left.close()
                self._owner.closed(client)
            stable = accepted and time.monotonic() - began_s > _STABLE_S
            if accepted:
                served_s = time.monotonic()
                self._short = 0 if stable else self._short + 1
            self._ending.wait(self._retry_delay_s(time.monotonic() - served_s, self._short))

    def _live(self, client: paho.Client) -> bool:
        """Connect and serve the connection to its end; return whether it was accepted."""
        connects = self.connects
        try:
            client.connect(
                self.access.host,
                self.access.port,
                self.access.keepalive_s,
                clean_start=self._lasts_s == 0,
                properties=connect_properties(self._lasts_s),
            )
        except (OSError, ValueError) as error:  # UnicodeError, for a host name that cannot be one, is a ValueError
            self._report(in_words(error, tls=self.access.tls is not None))
            return False
        client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms are lost on every batch
        answer_due_s, stable_s = time.monotonic() + ANSWER_S, time.monotonic() + _STABLE_S
        while not (self._ending.is_set() and self.connects == connects):
            try:
                status = client.loop(timeout=0.2 if self.connects == connects else 5.0)
            except Exception as error:  # paho trusts what a broker sends: any exception may come out of its parser
                perhaps = guess(tls=self.access.tls is not None)
                self._report(f"sent something that is not MQTT 5 ({type(error).__name__}): {perhaps}")
                break
            if status != paho.MQTT_ERR_SUCCESS:
                break
            if self.connects > connects and time.monotonic() > stable_s and self._said.settle():
                self._log.info("connected to broker %s, and it holds", self.access.address)
            if self.connects == connects and time.monotonic() > answer_due_s:
                perhaps = guess(tls=self.access.tls is not None)
                self._report(f"accepts connections, but gave no MQTT answer within {ANSWER_S:.0f} s: {perhaps}")
                return False
        accepted = self.connects > connects
        if self.problem is None and not self._ending.is_set():
            self._report(f"connection lost{self._why()}{self._twin()}")
        elif not accepted and not self._refused and not self._ending.is_set():
            perhaps = guess(tls=self.access.tls is not None)
            self._report(f"closed the connection without an MQTT answer{self._why()}: {perhaps}")
        return accepted

    def _new_client(self) -> paho.Client:
        """A client for one connection: a used one would send again what it still holds, older than what we have."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = ANSWER_S
        client.max_inflight_messages = 0  # paho queues nothing: the owner keeps within the broker's limit
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        if self.access.username is not None:
            client.username_pw_set(self.access.username, self.access.password)
        if self.access.tls is not None:
            client.tls_set_context(self.access.tls)
        # With this callback set, paho never writes to the socket from the thread that publishes.
        client.on_socket_register_write = lambda client, userdata, sock: None
        client.on_log = self._note
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = lambda client, userdata, mid, reasons, properties: self._owner.subscribed(
            client, mid, reasons
        )
        client.on_message = lambda client, userdata, message: self._owner.received(client, message)
        client.on_publish = lambda client, userdata, mid, reason, properties: self._owner.acknowledged(
            client, mid, reason
        )
        self._refused = False
        return client

    def _connected(self, client, userdata, flags, reason: ReasonCode, properties: Properties) -> None:
        if reason.is_failure:
            self._refused = True
            self._report(refused(reason))
            return
        self.problem = None
        self.connects, self.resumed = self.connects + 1, flags.session_present
        if self._said.is_news("connected"):
            self._log.info("connected to broker %s", self.access.address)
        self._settled.set()
        self._owner.opened(client, Limits.of(properties))

    def _disconnected(self, client, userdata, flags, reason: ReasonCode, properties: Properties | None) -> None:
        if flags.is_disconnect_packet_from_server and reason.is_failure and self.problem is None:
            self._report(f"ended the connection: {reason}{_TWIN if reason.value == _TAKEN_OVER else ''}")

    def _note(self, client, userdata, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._complaint = text

    def _why(self) -> str:
        return f" ({self._complaint})" if self._complaint else ""

    def _twin(self) -> str:
        explained = time.monotonic() - self._noted_s < _EXPLAINED_S
        return _TWIN if self._short >= _SUSPICIOUS and not explained else ""


def jittered_delay_s(away_s: float, short: int) -> float:
    """Return how long to wait before the next attempt, half of it random: many sensors must not come back at once.

    away_s: since when the broker has been away; a quarter of that is waited, up to LONGEST_RETRY_S. short: connections
    in a row that were accepted and soon lost.
    """
    again_s = min(_LONGEST_SHORT_RETRY_S, _FIRST_RETRY_S * 2 ** min(short, 16))
    return max(again_s, min(LONGEST_RETRY_S, away_s / 4)) * random.uniform(0.5, 1.0)
