"""One lasting MQTT 5 session: a thread that connects, stays connected, and says in words why it cannot.

Of two brokers (brokers/places.py) it is with the second while the first is away. Meanwhile another session, the scout,
tries the first: where that has held for a while, this one goes back.
"""

import logging
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from paho.mqtt.enums import CallbackAPIVersion, LogLevel
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.delivery.access import Access, ends_s
from edge.delivery.brokers.owner import Owner, Will
from edge.delivery.brokers.places import Places, jittered_delay_s
from edge.delivery.brokers.scout import Scout, unsaid
from edge.delivery.packets import Limits, connect_properties
from edge.delivery.paho_client import paho
from edge.delivery.reasons import ANSWER_S, Said, guess, in_words, refused
from edge.errors import UnavailableError

log = logging.getLogger("roomtone.mqtt")
_STABLE_S = 10.0  # a connection that lasted this long was not part of the trouble
_TAKEN_OVER = 142
_EXPLAINED_S = 60.0  # for so long what was noted explains why connections end
_SUSPICIOUS = 2  # short connections in a row; not every broker says why it ended them


class Session:
    """Connects, and connects again, until stopped. `problem` says why there is no connection, None where there is.

    lasts_s: for so long after a connection the broker keeps what comes for us, and what we have not acknowledged.
    resumed: whether it had done so at the last one, which is since_s (monotonic). log: where it says what happens.
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
        self.client_id = client_id
        self.problem: str | None = "not connected yet"
        self.last_problem: tuple[str, float] | None = None  # with its Unix time
        self.connects, self.resumed = 0, False
        self.since_s: float | None = None
        self.scout = Scout(lambda: Session(replace(access, standby=None), f"{client_id}-scout", Owner(), log=unsaid))
        self.certificate_ends_s: float | None = None  # the broker's, Unix time
        self._owner, self._will, self._lasts_s, self._log = owner, will, lasts_s, log
        self._retry_delay_s = retry_delay_s or jittered_delay_s
        self._places, self._leaving = Places(access), False
        self._client: paho.Client | None = None
        self._complaint: str | None = None  # what paho said last of the connection in hand
        self._short = 0  # connections in a row that were accepted and soon lost
        self._noted_s = -math.inf
        self._said = Said()
        self._settled = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mqtt", daemon=True)

    @property
    def access(self) -> Access:
        """The broker that is used; the first where none is."""
        return self._places.first if self.problem else self._places.now

    @property
    def away(self) -> str | None:
        """Why the second of two brokers is used, in words; None where it is not."""
        return None if self.problem else self._places.away(self.scout.words)

    def start(self) -> None:
        """Begin to connect, and go on trying for ever."""
        self._thread.start()

    def require(self, timeout_s: float = 5.0) -> None:
        """Wait for the first answer of each. Raises UnavailableError with the reason if none is a connection."""
        self._settled.wait(timeout_s * len(self._places.all))
        if self.problem is not None:
            raise UnavailableError(f"broker {self.access.address}: {self.problem}")

    def stop(self, timeout_s: float = 1.0) -> None:
        """Disconnect in good order (the broker then publishes no will)."""
        self._ending.set()
        if (client := self._client) is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self.scout.recall()

    def note(self, problem: str) -> None:
        """Say, and remember, what does not work although there is a connection."""
        self._log.warning("broker %s: %s", self.access.address, problem)
        self.last_problem = problem, time.time()
        self._noted_s = time.monotonic()

    def _report(self, problem: str) -> None:
        """Say why there is no connection, each reason once (and then rarely) until one holds."""
        tried = self._places.now.address
        if self._places.note(problem) and self._said.is_news(f"{tried}: {problem}"):
            self._log.warning("broker %s: %s; trying again", tried, problem)
        self.problem = self._places.problems
        self.last_problem = f"broker {tried}: {problem}" if self._places.on_standby else problem, time.time()

    def _work(self) -> None:
        served_s = time.monotonic()
        while not self._ending.is_set():
            began_s = time.monotonic()
            self._complaint = None
            client = self._client = self._new_client()
            try:
                accepted = self._live(client)
            finally:
                self._client = self.since_s = None
                if (left := client.socket()) is not None:
                    left.close()
                self._owner.closed(client)
            now_s = time.monotonic()
            stable = accepted and now_s - began_s > _STABLE_S
            if accepted:
                served_s, self._short = now_s, 0 if stable or self._leaving else self._short + 1
            if self._leaving:
                self._leaving = False
                self._places.go_back(now_s)
            elif not self._places.ended(now_s, held=stable):
                self._settled.set()
                self._ending.wait(self._retry_delay_s(now_s - served_s, self._short))

    def _live(self, client: paho.Client) -> bool:
        """Connect and serve the connection to its end; return whether it was accepted."""
        connects, place = self.connects, self._places.now
        try:
            client.connect(
                place.host,
                place.port,
                place.keepalive_s,
                clean_start=self._lasts_s == 0,
                properties=connect_properties(self._lasts_s),
            )
        except (OSError, ValueError) as error:  # UnicodeError, for a host name that cannot be one, is a ValueError
            self._report(in_words(error, tls=place.tls is not None))
            return False
        client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else 40 ms are lost on every batch
        answer_due_s, stable_s = time.monotonic() + ANSWER_S, time.monotonic() + _STABLE_S
        while not (self._ending.is_set() and self.connects == connects):
            try:
                status = client.loop(timeout=0.2 if self.connects == connects else self._places.patience_s)
            except Exception as error:  # paho trusts what a broker sends: any exception may come out of its parser
                perhaps = guess(tls=place.tls is not None)
                self._report(f"sent something that is not MQTT 5 ({type(error).__name__}): {perhaps}")
                break
            if status != paho.MQTT_ERR_SUCCESS:
                break
            if self.connects > connects:
                if time.monotonic() > stable_s and self._said.settle():
                    self._log.info("connected to broker %s, and it holds", place.address)
                self._look_back(client)
            elif time.monotonic() > answer_due_s:
                perhaps = guess(tls=place.tls is not None)
                self._report(f"accepts connections, but gave no MQTT answer within {ANSWER_S:.0f} s: {perhaps}")
                return False
        accepted = self.connects > connects
        if self.problem is None and not self._ending.is_set() and not self._leaving:
            self._report(f"connection lost{self._why()}{self._twin()}")
        elif not accepted and not self._refused and not self._ending.is_set():
            perhaps = guess(tls=place.tls is not None)
            self._report(f"closed the connection without an MQTT answer{self._why()}: {perhaps}")
        return accepted

    def _look_back(self, client: paho.Client) -> None:
        """Leave the standby where the first broker has held for long enough; it then publishes the will."""
        if self._places.on_standby and not self._leaving:
            now_s = time.monotonic()
            if min(self.scout.held_s(now_s), now_s - self.since_s) >= self._places.return_after_s:
                self._log.info("broker %s holds again: going back to it", self._places.first.address)
                self._leaving, self.problem = True, "leaving the second broker for it"
                client.disconnect(ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))

    def _new_client(self) -> paho.Client:
        """A client for one connection: a used one would send again what it still holds, older than what we have."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self.client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = ANSWER_S
        client.max_inflight_messages = 0  # paho queues nothing: the owner keeps within the broker's limit
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        if (place := self._places.now).username is not None:
            client.username_pw_set(place.username, place.password)
        if place.tls is not None:
            client.tls_set_context(place.tls)
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
            self._report(refused(reason, named=self.access.username is not None))
            return
        self.problem, self.since_s = None, time.monotonic()
        self.connects, self.resumed = self.connects + 1, flags.session_present
        self._places.accepted()
        if self._said.is_news(f"connected to {self.access.address}"):
            self._log.info("connected to broker %s", self.access.address)
        if not self._places.on_standby:
            self.scout.recall()
        if isinstance(connection := client.socket(), ssl.SSLSocket):
            self.certificate_ends_s = ends_s(connection.getpeercert(binary_form=True) or b"")
        self._settled.set()
        self._owner.opened(client, Limits.of(properties))

    def _disconnected(self, client, userdata, flags, reason: ReasonCode, properties: Properties | None) -> None:
        if flags.is_disconnect_packet_from_server and reason.is_failure and self.problem is None:
            self._report(f"ended the connection: {reason}{self._owner.twin if reason.value == _TAKEN_OVER else ''}")

    def _note(self, client, userdata, level: int, text: str) -> None:
        if level == LogLevel.MQTT_LOG_ERR:
            self._complaint = text

    def _why(self) -> str:
        return f" ({self._complaint})" if self._complaint else ""

    def _twin(self) -> str:
        explained = time.monotonic() - self._noted_s < _EXPLAINED_S
        return self._owner.twin if self._short >= _SUSPICIOUS and not explained else ""
