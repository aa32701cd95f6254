"""The house's broker as deploy/broker/house.sh sets it up: who is let in, who is not, and what the refused one says.

A real mosquitto with TLS, stunnel before its page; the sensor is our own link, the dashboards are paho and Chromium.
Certificates that house.sh would not make (expired, of another authority) are made with `cryptography`.
"""

import datetime
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import sync_playwright

from edge.commands.rooms import MOST_ROOMS
from edge.config import Mqtt, Tls
from edge.delivery.embedded import FILES
from edge.delivery.link import Link
from edge.errors import UnavailableError
from edge.history.sensors import MOST_DEVICES
from tests.support.broker import HOST, free_port
from tests.support.chromium import launch
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.system import require_program

SCRIPT = ROOT / "deploy" / "broker" / "house.sh"


@dataclass(frozen=True)
class House:
    """A running broker with a sensor `attic`, a sensor `cellar` and a dashboard `anna`."""

    folder: Path
    port: int
    page_port: int
    password: str  # anna's
    process: subprocess.Popen

    def given(self, name: str) -> Path:
        return self.folder / "given" / name

    def settings(self, name: str = "attic", **changes) -> Mqtt:
        """What house.sh tells the owner to put on a sensor."""
        given = self.given(name)
        tls = Tls(ca_file=str(given / "ca.pem"), cert_file=str(given / "cert.pem"), key_file=str(given / "key.pem"))
        return Mqtt(**{"username": name, "password_file": str(given / "password"), "tls": tls, **changes})

    def client(self, program: str, *options: str, name: str = "attic") -> subprocess.CompletedProcess[str]:
        """Run mosquitto's own client as a sensor."""
        given = self.given(name)
        return subprocess.run(
            [require_program(program, "mosquitto-clients"), "-h", "localhost", "-p", str(self.port), "-V", "5",
             "-q", "1", "--cafile", given / "ca.pem", "--cert", given / "cert.pem", "--key", given / "key.pem",
             "-u", name, "-P", (given / "password").read_text().strip(), *options],
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip


def house_sh(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], env={**os.environ, "ROOMTONE_BROKER": str(folder), **environment},
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    program = require_program("mosquitto", "mosquitto")
    require_program("openssl", "openssl")
    parent = tmp_path_factory.mktemp("house")
    folder = parent / "roomtone"
    ports = {f"ROOMTONE_{which}_PORT": str(free_port()) for which in ("BROKER", "PAGE", "INNER")}
    told = ""
    commands = ("setup --name broker.lan", "sensor attic", "sensor cellar", "history recorder", "models owner",
                "home-assistant home", "dashboard anna")  # fmt: skip
    for command in commands:
        done = house_sh(folder, *command.split(), **ports)
        assert done.returncode == 0, done.stderr
        told = done.stdout
    # As Debian's own mosquitto.conf does: state and log first, then the folder of further files.
    (parent / "conf.d").mkdir()
    (parent / "conf.d" / "roomtone.conf").symlink_to(folder / "mosquitto.conf")
    (parent / "mosquitto.conf").write_text(
        f"user root\npersistence true\npersistence_location {parent}/\nlog_dest file {parent}/log\n"
        f"include_dir {parent}/conf.d\n"
    )
    process = subprocess.Popen([program, "-c", parent / "mosquitto.conf"])
    stunnel = subprocess.Popen([require_program("stunnel4", "stunnel4"), folder / "stunnel.conf"],
                               stderr=subprocess.DEVNULL)  # fmt: skip
    listening = [int(port) for port in ports.values()]
    house = House(folder, *listening[:2], re.search(r"password +(\w+)", told)[1], process)
    try:
        for port in listening:
            wait_until_listening(port)
        yield house
    finally:
        for child in (process, stunnel):
            child.terminate()
            child.wait(PATIENCE_S)


def wait_until_listening(port: int) -> None:
    def listens() -> bool:
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            return False
        return True

    wait_until(listens, f"nobody listens on {port}")


def certificate(folder: Path, *, authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
                days: tuple[int, int], names: tuple[str, ...] = ()) -> Tls:  # fmt: skip
    """Write a certificate that is valid from..to days from now, of an authority (None: of its own)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0] if names else "attic")])
    issuer, signer = (authority[0].subject, authority[1]) if authority else (subject, key)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )  # fmt: skip
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cert.pem").write_bytes(made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    return Tls(cert_file=str(folder / "cert.pem"), key_file=str(folder / "key.pem"))


def authority_of(house: House) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return (
        x509.load_pem_x509_certificate((house.folder / "ca.crt").read_bytes()),
        serialization.load_pem_private_key((house.folder / "ca.key").read_bytes(), None),
    )


def refusal(settings: Mqtt, *, host: str, port: int) -> str:
    """Return why a sensor with these settings has no connection, as it reports it itself."""
    link = Link(settings, "attic", host=host, port=port)
    link.start()
    try:
        with pytest.raises(UnavailableError) as refused:
            link.require(timeout_s=PATIENCE_S)
    finally:
        link.stop()
    told = str(refused.value)
    print(told)
    assert told.startswith(f"broker {host}:{port}: ")
    assert link.condition().problem in told  # and in its health
    return told


def names_the_certificate(told: str, alert: str) -> bool:
    """The broker's alert, or our guess: a connection that is reset takes an alert that we have not read with it."""
    return alert in told.lower().replace("_", " ") or "does it want a client certificate" in told


def test_a_sensor_as_told_is_let_in_and_publishes(house):
    link = Link(house.settings(), "attic", host="localhost", port=house.port)
    link.start()
    link.require(timeout_s=PATIENCE_S)
    link.retain("state", b'{"n": 1}')
    seen = house.client("mosquitto_sub", "-t", "roomtone/attic/#", "-C", "2", "-W", "10", "-F", "%t %p")
    assert set(seen.stdout.splitlines()) == {"roomtone/attic/status online", 'roomtone/attic/state {"n": 1}'}
    assert link.problem is None
    link.stop()


def test_without_a_client_certificate(house):
    ours = house.settings().tls
    told = refusal(house.settings(tls=Tls(ca_file=ours.ca_file)), host="localhost", port=house.port)
    assert names_the_certificate(told, "certificate required")


def test_with_a_client_certificate_of_another_authority(house, tmp_path):
    made = certificate(tmp_path, authority=None, days=(-1, 1))
    tls = Tls(ca_file=house.settings().tls.ca_file, cert_file=made.cert_file, key_file=made.key_file)
    told = refusal(house.settings(tls=tls), host="localhost", port=house.port)
    assert names_the_certificate(told, "unknown ca")


def test_with_an_expired_client_certificate(house, tmp_path):
    made = certificate(tmp_path, authority=authority_of(house), days=(-10, -1))
    tls = Tls(ca_file=house.settings().tls.ca_file, cert_file=made.cert_file, key_file=made.key_file)
    told = refusal(house.settings(tls=tls), host="localhost", port=house.port)
    assert names_the_certificate(told, "certificate expired")


def test_a_broker_of_another_authority_is_refused_by_the_sensor(house, tmp_path):
    ours = house.settings().tls
    made = certificate(tmp_path, authority=None, days=(-1, 1), names=("other",))
    tls = Tls(ca_file=made.cert_file, cert_file=ours.cert_file, key_file=ours.key_file)
    told = refusal(house.settings(tls=tls), host="localhost", port=house.port)
    assert "its certificate is not accepted: it comes from an authority that is not trusted here" in told


@pytest.mark.parametrize(
    ("names", "days", "says"),
    [(("localhost",), (-10, -1), "it has expired"), (("other.lan",), (-1, 1), "it is made out to another name")],
)
def test_a_broker_with_a_bad_certificate_is_refused_by_the_sensor(house, tmp_path, names, days, says):
    """Another mosquitto, whose certificate of the house's authority is expired, or of another host."""
    made = certificate(tmp_path / "server", authority=authority_of(house), days=days, names=names)
    port = free_port()
    (tmp_path / "conf").write_text(
        f"user root\nlistener {port} {HOST}\ncafile {house.folder}/ca.crt\n"
        f"certfile {made.cert_file}\nkeyfile {made.key_file}\n"
        "allow_anonymous true\nlog_dest none\n"
    )
    process = subprocess.Popen([require_program("mosquitto", "mosquitto"), "-c", tmp_path / "conf"])
    try:
        wait_until_listening(port)
        told = refusal(house.settings(), host="localhost", port=port)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
    assert f"its certificate is not accepted: {says}" in told


def test_a_broker_reached_by_another_name_is_refused_by_the_sensor(house):
    told = refusal(house.settings(), host="127.0.0.2", port=house.port)
    assert "its certificate is not accepted: it is made out to another name" in told


def test_with_a_wrong_password(house, tmp_path):
    (tmp_path / "password").write_text("wrong\n")
    told = refusal(house.settings(password_file=str(tmp_path / "password")), host="localhost", port=house.port)
    assert "refused: Not authorized (is the user name or password wrong?)" in told


def test_publishing_under_anothers_name_is_refused_and_reported(house):
    """The account is the attic's; the device calls itself cellar."""
    watcher = subprocess.Popen(
        [require_program("mosquitto_sub", "mosquitto-clients"), "-h", "localhost", "-p", str(house.port), "-V", "5",
         "--cafile", house.given("cellar") / "ca.pem", "--cert", house.given("cellar") / "cert.pem",
         "--key", house.given("cellar") / "key.pem", "-u", "cellar",
         "-P", house.given("cellar").joinpath("password").read_text().strip(), "-t", "roomtone/cellar/#", "-v",
         "-W", "6"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(0.5)
    link = Link(house.settings(), "cellar", host="localhost", port=house.port)
    link.start()
    link.require(timeout_s=PATIENCE_S)
    link.retain("state", b"{}")
    wait_until(lambda: (link.problem or "").startswith("may not publish"), lambda: link.problem)
    refused = r"may not publish roomtone/cellar/(status|state)( and 1 more)?: Not authorized .*"
    assert re.fullmatch(refused, link.problem)
    assert re.search(refused, link.condition().problem)
    link.stop()
    assert watcher.communicate(timeout=PATIENCE_S)[0] == ""
    for topic in ("state", "listening/set", "settings/set", "teach", "forget"):
        denied = house.client("mosquitto_pub", "-t", f"roomtone/cellar/{topic}", "-m", "{}")
        assert "Not authorized" in denied.stderr
    read = house.client("mosquitto_sub", "-t", "roomtone/cellar/#", "-W", "2", "-v")
    assert "Not authorized" in read.stderr + read.stdout or read.stdout == ""


def test_a_recorder_reads_answers_and_commands_nothing(house, tmp_path):
    """The recorder itself, with the account and the settings that house.sh gives."""
    config, store = tmp_path / "history.yaml", tmp_path / "history.sqlite"
    mqtt = msgspec.to_builtins(house.settings("recorder", host="localhost", port=house.port))
    config.write_text(yaml.safe_dump({"edge": {"mqtt": mqtt}}))
    command = [sys.executable, "-m", "edge", "--config", config, "history", "record", "--store", store]
    with (tmp_path / "log").open("wb") as log:
        recorder = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        wait_until(lambda: "hears every room" in (tmp_path / "log").read_text(), lambda: (tmp_path / "log").read_text())
        page = Page(house, house.password)
        page.wait_for(lambda: page.connected == "Success")
        page.client.subscribe("roomtone/history/#", qos=1)
        page.wait_for(lambda: "roomtone/history/recorder" in page.received)
        properties = paho.Properties(paho.PacketTypes.PUBLISH)
        properties.ResponseTopic = "roomtone/history/answer/anna"
        page.client.publish("roomtone/history/get", b'{"span": "week"}', qos=1, properties=properties)
        page.wait_for(lambda: "roomtone/history/answer/anna" in page.received)
        assert page.denied == []
        page.client.disconnect()
        page.client.loop_stop()
    finally:
        recorder.terminate()
        assert recorder.wait(PATIENCE_S) == 0
    for topic in ("attic/state", "attic/event", "attic/listening/set", "attic/settings/set", "history/get"):
        denied = house.client("mosquitto_pub", "-t", f"roomtone/{topic}", "-m", "{}", name="recorder")
        assert "Not authorized" in denied.stderr, topic


def test_models_are_published_by_their_own_account_and_read_by_sensors(house):
    put = ("mosquitto_pub", "-r", "-t", "roomtone/models/house", "-m")
    assert "Not authorized" not in house.client(*put, "a model", name="owner").stderr
    for name in ("attic", "recorder", "home"):
        assert "Not authorized" in house.client(*put, "another", name=name).stderr, name
    for name in ("attic", "owner"):
        read = house.client("mosquitto_sub", "-t", "roomtone/models/#", "-C", "1", "-W", "10", name=name)
        assert read.stdout == "a model\n", name
    house.client(*put[:-1], "-n", name="owner")


def test_an_update_is_commanded_by_the_owner_and_home_assistant_alone(house):
    command = ("mosquitto_pub", "-t", "roomtone/attic/model/install", "-m", "{}")
    for name, may in (("owner", True), ("home", True), ("cellar", False), ("recorder", False)):
        assert ("Not authorized" in house.client(*command, name=name).stderr) == (not may), name
    for topic in ("attic/state", "attic/model", "attic/listening/set", "attic/settings/set", "attic/teach"):
        denied = house.client("mosquitto_pub", "-t", f"roomtone/{topic}", "-m", "{}", name="owner")
        assert "Not authorized" in denied.stderr, topic
    page = Page(house, house.password)
    page.wait_for(lambda: page.connected == "Success")
    for topic in ("roomtone/attic/model/install", "roomtone/models/house"):
        page.client.publish(topic, b"{}", qos=1)
    page.wait_for(lambda: len(page.denied) == 2)
    page.client.disconnect()
    page.client.loop_stop()


def test_nobody_can_be_called_as_topics_that_are_taken(house):
    for name, why in (("history", "a recorder answers"), ("models", "models are published")):
        for kind in ("sensor", "dashboard", "history", "models"):
            done = house_sh(house.folder, kind, name)
            assert (done.returncode, done.stdout) == (2, "")
            assert f"on roomtone/{name}/ {why}" in done.stderr


class Page:
    """A dashboard: MQTT over the websockets listener, with a password and no certificate."""

    def __init__(self, house: House, password: str) -> None:
        self.denied: list[str] = []
        self.granted: list[str] = []
        self.received: list[str] = []
        self.connected: str | None = None
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets")
        self.client.tls_set(ca_certs=str(house.folder / "ca.crt"))
        self.client.username_pw_set("anna", password)
        self.client.on_connect = lambda client, data, flags, reason, properties: setattr(self, "connected", str(reason))
        self.client.on_publish = lambda client, data, mid, reason, properties: (
            self.denied if reason.is_failure else self.granted
        ).append(str(reason))
        self.client.on_message = lambda client, data, message: self.received.append(message.topic)
        self.client.connect("localhost", house.page_port)
        self.client.loop_start()

    def wait_for(self, condition) -> None:
        wait_until(condition, lambda: vars(self))


def test_a_dashboard_reads_and_commands_and_nothing_else(house):
    page = Page(house, house.password)
    page.wait_for(lambda: page.connected == "Success")
    page.client.subscribe("roomtone/#", qos=1)
    house.client("mosquitto_pub", "-t", "roomtone/attic/event", "-m", "{}")
    page.wait_for(lambda: "roomtone/attic/event" in page.received)
    for command in ("listening/set", "settings/set", "teach", "forget"):
        page.client.publish(f"roomtone/attic/{command}", b"{}", qos=1)
    page.wait_for(lambda: len(page.granted) == 4)
    for topic in ("roomtone/attic/state", "roomtone/attic/event", "roomtone/attic/listening", "roomtone/attic/status",
                  "roomtone/attic/lessons", "homeassistant/device/attic/config", "elsewhere"):  # fmt: skip
        page.client.publish(topic, b"{}", qos=1, retain=True)
    page.wait_for(lambda: len(page.denied) == 7)
    assert set(page.denied) == {"Not authorized"}
    page.client.loop_stop()


def test_a_dashboard_with_a_wrong_password_is_refused(house):
    page = Page(house, "wrong")
    page.wait_for(lambda: page.connected is not None)
    assert page.connected == "Not authorized"
    page.client.loop_stop()


def test_the_page_opens_in_a_browser(house):
    with sync_playwright() as driver:
        browser = launch(driver)
        # Chromium has its own store of authorities; that the chain is sound is proven by the clients above.
        page = browser.new_context(ignore_https_errors=True).new_page()
        answer = page.goto(f"https://localhost:{house.page_port}/", timeout=1_000 * PATIENCE_S)
        assert (answer.status, page.title()) == (200, "roomtone")
        browser.close()


def test_a_sensors_account_does_not_open_the_browsers_port(house):
    answers = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets")
    client.tls_set(ca_certs=str(house.folder / "ca.crt"))
    client.username_pw_set("attic", (house.given("attic") / "password").read_text().strip())
    client.on_connect = lambda client, data, flags, reason, properties: answers.append(str(reason))
    client.connect("localhost", house.page_port)
    client.loop_start()
    wait_until(lambda: answers)
    client.loop_stop()
    assert answers == ["Not authorized"]


@pytest.mark.parametrize(("version", "accepted"), [("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)])
def test_tls_below_1_2_is_refused(house, version, accepted):
    given = house.given("attic")
    done = subprocess.run(
        ["openssl", "s_client", version, "-cipher", "DEFAULT@SECLEVEL=0", "-connect", f"localhost:{house.port}",
         "-CAfile", given / "ca.pem", "-cert", given / "cert.pem", "-key", given / "key.pem", "-verify_return_error"],
        input="", capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ("Cipher is (NONE)" not in done.stdout) == accepted, done.stdout + done.stderr


def test_a_removed_sensor_is_refused_at_once(house):
    assert house_sh(house.folder, "sensor", "shed").returncode == 0
    house.process.send_signal(signal.SIGHUP)
    settings = house.settings("shed", password_file=str(house.given("shed") / "password"))
    kept = house.folder.parent / "kept"
    subprocess.run(["cp", "-r", house.given("shed"), kept], check=True)
    link = Link(settings, "shed", host="localhost", port=house.port)
    link.start()
    link.require(timeout_s=PATIENCE_S)
    link.stop()
    assert house_sh(house.folder, "remove", "shed").returncode == 0
    house.process.send_signal(signal.SIGHUP)
    tls = Tls(ca_file=str(kept / "ca.pem"), cert_file=str(kept / "cert.pem"), key_file=str(kept / "key.pem"))
    settings = Mqtt(username="shed", password_file=str(kept / "password"), tls=tls)
    told = refusal(settings, host="localhost", port=house.port)
    assert "refused: Not authorized" in told


def test_private_keys_and_passwords_are_readable_by_nobody_else(house):
    secret = [house.folder / "ca.key", house.folder / "server.key", *house.given("attic").iterdir()]
    assert all(file.stat().st_mode & 0o007 == 0 for file in secret)
    assert (house.folder / "ca.key").stat().st_mode & 0o077 == 0
    assert "attic" in (house.folder / "sensors.passwords").read_text()
    word = (house.given("attic") / "password").read_text().strip()
    assert word not in (house.folder / "sensors.passwords").read_text()


@pytest.mark.parametrize("name", ["", "Attic", "../up", "a b", "a#", "+", "a" * 65])
def test_a_name_that_would_mean_more_than_a_name_is_refused(house, name):
    done = house_sh(house.folder, "sensor", name)
    assert done.returncode == 2
    assert "house.sh: name" in done.stderr


def test_a_sensor_twice_is_refused(house):
    done = house_sh(house.folder, "sensor", "attic")
    assert (done.returncode, done.stderr) == (69, "house.sh: attic exists already: house.sh remove attic\n")


def test_the_broker_lets_in_as_many_sensors_as_the_page_and_watch_show(house):
    """Each has two connections, and a connection is an open file."""
    told = re.findall(r"^max_connections (\d+)$", (house.folder / "mosquitto.conf").read_text(), re.MULTILINE)
    sensors, browsers = map(int, told)
    open_files = int(re.search(r"^open_files=(\d+)", SCRIPT.read_text(), re.MULTILINE)[1])
    page = int(re.search(r"MAX_SENSORS = ([\d_]+);", (ROOT / "edge" / "dashboard" / "store.js").read_text())[1])
    assert page == MOST_ROOMS <= MOST_DEVICES
    assert sensors >= 2 * page + browsers
    assert min(open_files, FILES) >= sensors + browsers
