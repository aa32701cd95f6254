"""Why there is no connection, in words: against a real mosquitto, closed in every way, and bad sockets."""

import logging
import random
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from edge.config import Mqtt, Tls
from edge.delivery.access import access, ends_s
from edge.delivery.brokers.places import LONGEST_RETRY_S, jittered_delay_s
from edge.delivery.link import Link
from edge.delivery.session import Owner, Session
from edge.voice.payloads import unix_s
from tests.support.broker import HOST, Broker, free_port
from tests.support.certificates import Authority
from tests.support.patience import PATIENCE_S, wait_until

HINTS = "is it older than MQTT 5, or is this a websockets port, or a TLS port (edge.mqtt.tls)?"


def is_told(words: str | None, port: int, settings: Mqtt | None = None, *, host: str = HOST) -> None:
    """Wait until a session says these words of a broker; None: until it is connected."""
    session = Session(access(settings or Mqtt(), host=host, port=port), "attic", Owner())
    session.start()
    try:
        wait_until(
            lambda: session.problem is None if words is None else words in (session.problem or ""),
            lambda: f"{words!r}, but {session.problem!r}",
        )
    finally:
        session.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@contextmanager
def tls_broker(folder, authority, **how):
    certificate, key = authority.issue("server", **how)
    with Broker(folder / "broker", certificate=certificate, key=key) as broker:
        yield broker


def trusting(authority) -> Mqtt:
    return Mqtt(tls=Tls(ca_file=str(authority.ca_file)))


def test_a_good_certificate_is_accepted(tmp_path, authority):
    with tls_broker(tmp_path, authority) as broker:
        is_told(None, broker.port, trusting(authority))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"expired": True}, "its certificate is not accepted: it has expired: renew it"),
        ({"host": "broker.example"}, "its certificate is not accepted: it is made out to another name: edge.mqtt.host"),
    ],
)
def test_a_bad_certificate_is_explained(tmp_path, authority, how, says):
    with tls_broker(tmp_path, authority, **how) as broker:
        is_told(says, broker.port, trusting(authority))


def test_an_unknown_authority_is_explained(tmp_path, authority, stranger):
    with tls_broker(tmp_path, authority) as broker:
        says = "its certificate is not accepted: it comes from an authority that is not trusted here: is"
        is_told(says, broker.port, trusting(stranger))
        is_told("certificate is not accepted", broker.port, Mqtt(tls=Tls()))  # the system's authorities


def test_tls_spoken_to_a_plain_port_and_the_reverse(tmp_path, authority, broker):
    is_told("does not speak TLS on this port (edge.mqtt.tls is set)", broker.port, trusting(authority))
    with tls_broker(tmp_path, authority) as secured:
        is_told(HINTS, secured.port)


def test_a_missing_client_certificate_is_explained(tmp_path, authority):
    certificate, key = authority.issue("server")
    more = f"require_certificate true\ncafile {authority.ca_file}"
    with Broker(tmp_path / "broker", certificate=certificate, key=key, extra=more) as broker:
        is_told("does it want a client certificate (edge.mqtt.tls.cert_file)?", broker.port, trusting(authority))
        own_certificate, own_key = authority.issue("attic")
        tls = Tls(ca_file=str(authority.ca_file), cert_file=str(own_certificate), key_file=str(own_key))
        is_told(None, broker.port, Mqtt(tls=tls))


def test_when_the_certificates_end_is_known(tmp_path, authority):
    certificate, key = authority.issue("server")
    own_certificate, own_key = authority.issue("attic")
    tls = Tls(ca_file=str(authority.ca_file), cert_file=str(own_certificate), key_file=str(own_key))
    with Broker(tmp_path / "broker", certificate=certificate, key=key) as broker:
        link = Link(Mqtt(tls=tls), "attic", host=HOST, port=broker.port)
        assert link.condition().certificate_ends is None
        link.start()
        link.require(PATIENCE_S)
        told = link.condition()
        link.stop()
    for file, ends in ((certificate, told.certificate_ends), (own_certificate, told.own_certificate_ends)):
        assert unix_s(ends) == x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc.timestamp()


@pytest.mark.parametrize("ends", [datetime(2049, 12, 31, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)])
def test_a_certificate_ends_when_others_say_so(ends):
    """From 2050 on the year has four digits."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "long-lived")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, datetime(2026, 1, 1, tzinfo=UTC), ends)
    der = made.sign(key, SHA256()).public_bytes(Encoding.DER)
    assert ends_s(der) == ends.timestamp()
    for rubbish in (b"", b"0", b"\x30\x82", der[:40], der[:60], bytes(300), b"\x30\x84\xff\xff\xff\xff"):
        assert ends_s(rubbish) is None


def test_a_wrong_password_and_an_unknown_user(tmp_path):
    secret = tmp_path / "password"
    with Broker(tmp_path / "broker", users={"attic": "right"}) as broker:
        for name, word, accepted in (("attic", "wrong", False), ("cellar", "right", False), ("attic", "right", True)):
            secret.write_text(word)
            says = None if accepted else "refused: Not authorized (is the user name or password wrong?)"
            is_told(says, broker.port, Mqtt(username=name, password_file=str(secret)))
        is_told("refused: Not authorized (it wants an account: edge.mqtt.username and password_file)", broker.port)


def test_no_broker_and_an_impossible_host():
    is_told("connection refused", free_port())
    is_told("label", 1883, host="a" * 64 + ".invalid")  # what cannot even be a name


@contextmanager
def strange_server(serve):
    """A server of the test's own: `serve(connection)` for every connection."""
    listener = socket.create_server((HOST, 0))
    connections = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        try:
            serve(connection)
        except OSError:
            return  # the session hung up, as it may

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        for connection in connections:
            connection.close()


def test_a_server_that_never_answers_is_said():
    with strange_server(lambda connection: connection.recv(1_000)) as port:
        is_told(f"gave no MQTT answer within 4 s: {HINTS}", port)


def test_a_server_that_hangs_up_is_said():
    def hang_up(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.close()

    with strange_server(hang_up) as port:
        is_told(f"closed the connection without an MQTT answer: {HINTS}", port)


def test_a_websockets_port_is_guessed(tmp_path):
    with Broker(tmp_path / "broker", websockets=True) as broker:
        is_told(HINTS, broker.websockets_port)


def test_a_web_server_is_no_broker():
    server = ThreadingHTTPServer((HOST, 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        is_told(HINTS, server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def test_a_broker_of_mqtt_3_is_said():
    def answer(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.sendall(bytes.fromhex("20020001"))  # MQTT 3.1.1: unacceptable protocol version
        connection.recv(1_000)

    with strange_server(answer) as port:
        is_told("refused: Unsupported protocol version (it is older than MQTT 5)", port)


CONNACK = bytes.fromhex("2003000000")


@pytest.mark.parametrize("accept_first", [False, True])
def test_malformed_packets_never_end_the_session(accept_first, caplog):
    """A thousand packets of valid types with random flags and contents: the session must outlive them."""
    dice = random.Random(6)
    sent = 0

    def babble(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(1_000)
        if accept_first:
            connection.sendall(CONNACK)
        for _ in range(20):
            body = dice.randbytes(dice.randrange(0, 60))
            kind = dice.choice((0x20, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0, 0x00))
            connection.sendall(bytes([kind | (dice.randrange(16) if dice.random() < 0.2 else 0), len(body)]) + body)
            sent += 1
        connection.close()

    with strange_server(babble) as port:
        reachable = access(Mqtt(), host=HOST, port=port)
        session = Session(reachable, "attic", Owner(), retry_delay_s=lambda away_s, short: 0.0)
        session.start()
        wait_until(lambda: sent >= 1_000, lambda: f"{sent} packets")
        assert session.last_problem is not None
        assert "mqtt" in {thread.name for thread in threading.enumerate()}
        session.stop()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("away_s", "short", "longest_s"),
    [(0, 0, 0.5), (20, 0, 5), (120, 0, 30), (180, 0, 45), (1e6, 0, 45), (0, 2, 2), (0, 50, 3), (40, 9, 10)],
)
def test_the_wait_between_attempts_grows_with_the_trouble_and_is_never_the_same(away_s, short, longest_s):
    waits = [jittered_delay_s(away_s, short) for _ in range(200)]
    assert longest_s / 2 <= min(waits) < max(waits) <= longest_s <= LONGEST_RETRY_S
    assert len(set(waits)) > 150


def test_two_of_one_name_say_so_once_and_the_one_that_stays_says_that_it_holds(broker, caplog, monkeypatch):
    """They throw each other out as often as they come; what is said of that does not grow with it."""
    caplog.set_level(logging.INFO, "roomtone.mqtt")
    where = access(Mqtt(), host=HOST, port=broker.port)
    one, other = (Session(where, "attic", Owner(), retry_delay_s=lambda away_s, short: 0.02) for _ in range(2))
    one.start()
    wait_until(lambda: one.problem is None)
    other.start()
    wait_until(lambda: min(one.connects, other.connects) >= 10, lambda: (one.connects, other.connects))
    other.stop()
    said = Counter(record.getMessage() for record in caplog.records)
    assert any("do two sensors have the same edge.device.id?" in line for line in said), said
    assert max(said.values()) <= 2, said  # by either of them, once
    wait_until(lambda: "and it holds" in caplog.text)
    one.stop()


def test_after_a_connection_that_held_everything_is_news_again(broker, caplog):
    caplog.set_level(logging.INFO, "roomtone.mqtt")
    session = Session(access(Mqtt(), host=HOST, port=broker.port), "attic", Owner())
    session.start()
    for times in (1, 2):
        wait_until(lambda: caplog.text.count("connected to broker") == times, lambda: caplog.text)  # noqa: B023
        wait_until(lambda: not session._said._at_s)  # it holds
        broker.kill()
        wait_until(lambda: session.problem is not None)
        broker.start()
    session.stop()
    assert caplog.text.count("connection lost") == 2, caplog.text
