"""The link against a real mosquitto, watched by mosquitto's own client."""

import subprocess
import sys

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import Mqtt, Tls
from edge.delivery.brokers.first import First
from edge.delivery.link import Link
from edge.errors import ConfigError, UnavailableError
from tests.support.broker import HOST, Broker, free_port
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber


def make_link(port: int, settings: Mqtt | None = None, **options) -> Link:
    return Link(settings or Mqtt(), "attic", host=HOST, port=port, **options)


def test_birth_is_retained_and_an_orderly_end_says_offline(broker):
    with Subscriber(broker.port) as watcher:
        link = make_link(broker.port)
        link.start()
        link.require(timeout_s=PATIENCE_S)
        watcher.wait_for(lambda w: [m.payload for m in w.on("status")] == ["online"])
        with Subscriber(broker.port) as late:
            late.wait_for(lambda w: [(m.payload, m.retained) for m in w.on("status")] == [("online", True)])
        link.stop()
        watcher.wait_for(lambda w: [m.payload for m in w.on("status")] == ["online", "offline"])


def test_a_killed_sensor_is_offline_by_its_will(broker):
    script = (
        "import time\nfrom edge.config import Mqtt\nfrom edge.delivery.link import Link\n"
        f"link = Link(Mqtt(), 'attic', host='{HOST}', port={broker.port})\n"
        f"link.start(); link.require(timeout_s={PATIENCE_S}); print('connected', flush=True); time.sleep(600)"
    )
    with Subscriber(broker.port) as watcher:
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert child.stdout.readline() == "connected\n"
        watcher.wait_for(lambda w: w.on("status"))
        child.kill()
        child.communicate()
        watcher.wait_for(lambda w: [m.payload for m in w.on("status")] == ["online", "offline"])


def test_a_broker_that_restarts_empty_gets_everything_retained_again(broker):
    link = make_link(broker.port)
    link.start()
    link.require(timeout_s=PATIENCE_S)
    link.retain("state", b'{"n": 1}')
    link.retain("state", b'{"n": 2}')
    broker.kill()
    (broker.folder / "mosquitto.db").unlink(missing_ok=True)
    link.retain("state", b'{"n": 3}')
    broker.start()
    with Subscriber(broker.port) as watcher:
        watcher.wait_for(lambda w: w.on("status") and w.on("state") and w.on("state")[-1].json == {"n": 3})
    with Subscriber(broker.port) as late:
        late.wait_for(lambda w: w.on("status") and w.on("state"))
        assert [(m.json, m.retained) for m in late.on("state")] == [({"n": 3}, True)]
        assert [m.payload for m in late.on("status")] == ["online"]
    assert link.reconnects == 1
    link.stop()


def test_a_broker_that_is_not_there_is_named():
    port = free_port()
    link = make_link(port)
    link.start()
    with pytest.raises(UnavailableError, match=f"broker {HOST}:{port}: connection refused"):
        link.require(timeout_s=PATIENCE_S)
    link.stop()


@pytest.mark.parametrize("word", ["wrong", None])
def test_a_wrong_password_is_named_and_a_right_one_works(tmp_path, word):
    secret = tmp_path / "password"
    with Broker(tmp_path / "broker", users={"attic": "right"}) as broker:
        for said, refused in ((word, True), ("right", False)):
            secret.write_text(f"{said}\n")
            settings = Mqtt(username="attic" if said else None, password_file=str(secret))
            link = make_link(broker.port, settings)
            link.start()
            if refused:
                with pytest.raises(UnavailableError, match="refused: Not authorized"):
                    link.require(timeout_s=PATIENCE_S)
            else:
                link.require(timeout_s=PATIENCE_S)
            link.stop()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"username": "a", "password_file": "/nowhere/secret"},
            "edge.mqtt.password_file: /nowhere/secret: cannot be read",
        ),
        ({"tls": Tls(ca_file="/nowhere/ca.pem")}, "edge.mqtt.tls.ca_file: /nowhere/ca.pem: cannot be read"),
        ({"tls": Tls(ca_file=__file__)}, r"edge.mqtt.tls.ca_file: .*test_link.py: no certificate in PEM"),
    ],
)
def test_secrets_that_cannot_be_read_are_named(settings, says):
    with pytest.raises(ConfigError, match=says):
        make_link(1, Mqtt(**settings))


FLOOD = 5_000  # each is read at a fortieth of a core: on a slow one, all of them take minutes


def first_of(link: Link) -> First:
    """Return what hears the commands that may not wait."""
    return next(iter(link._firsts.values()))


def send(port: int, *messages: tuple[str, str]) -> None:
    """Publish (topic, payload) each, and wait until the broker has the last one."""
    sender = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    sender.connect(HOST, port)
    sender.loop_start()
    sent = [sender.publish(f"roomtone/attic/{topic}", payload, qos=1) for topic, payload in messages]
    sent[-1].wait_for_publish(PATIENCE_S)
    sender.disconnect()
    sender.loop_stop()


def test_what_may_not_wait_passes_a_flood(broker):
    taught, switched = [], []
    link = make_link(broker.port)
    first = {"listening/set": lambda word, came: switched.append((word, len(taught)))}
    link.start(commands={"teach": taught.append}, first=first)
    wait_until(lambda: first_of(link).hears("listening/set"))
    send(broker.port, *[("teach", str(number)) for number in range(FLOOD)], ("listening/set", "OFF"))
    wait_until(lambda: switched)
    word, before = switched[0]
    assert word == b"OFF"
    assert before < FLOOD / 2  # the rest is still to be read
    send(broker.port, ("listening/set", "ON"))
    wait_until(lambda: len(switched) == 2)
    wait_until(lambda: len(set(taught)) == FLOOD, patience_s=3 * PATIENCE_S)
    assert len(taught) == FLOOD, broker.log  # some come again where the connection was lost: why it was stands there
    assert [word for word, _ in switched] == [b"OFF", b"ON"]  # once each, though it came on both connections
    link.stop()


def test_what_came_for_a_sensor_that_was_away_comes_in_its_order(broker):
    heard: list[bytes] = []

    def live() -> Link:
        link = make_link(broker.port)
        first = {"listening/set": lambda word, came: heard.append(word)}
        link.start(commands={"teach": lambda payload: None}, first=first)
        wait_until(lambda: first_of(link).hears("listening/set"))
        return link

    live().stop()
    words = [b"ON", b"OFF"] * 5
    send(broker.port, *[("listening/set", word.decode()) for word in words])
    link = live()
    wait_until(lambda: len(heard) >= len(words))
    send(broker.port, ("listening/set", "ON"))
    wait_until(lambda: heard[-1] == b"ON")
    assert heard[-len(words) - 1 :] == [*words, b"ON"]
    link.stop()


def test_without_a_connection_of_its_own_it_is_heard_on_the_links(broker):
    heard: list[bytes] = []
    link = make_link(broker.port)
    link.start(commands={}, first={"listening/set": lambda word, came: heard.append(word)})
    wait_until(lambda: first_of(link).hears("listening/set"))
    first_of(link).session.stop()
    wait_until(lambda: not first_of(link).hears("listening/set"))
    send(broker.port, ("listening/set", "OFF"))
    wait_until(lambda: heard == [b"OFF"])
    assert link.problem is None
    link.stop()


@pytest.mark.parametrize("first", [False, True], ids=["the link's connection", "one of its own"])
def test_a_command_with_the_retain_flag_is_obeyed_as_it_comes_and_never_again(broker, first):
    topic, obeyed = "roomtone/attic/listening/set", []

    def send(text: str, *flags: str) -> None:
        words = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", topic, "-m", text]
        subprocess.run([*words, *flags], check=True)

    def alive() -> Link:
        link = make_link(broker.port)
        link.start(**{"first" if first else "commands": {"listening/set": lambda word, *came: obeyed.append(word)}})
        link.require(timeout_s=PATIENCE_S)
        wait_until(lambda: not first or first_of(link).hears("listening/set"))  # until then, both connections hear it
        wait_until(lambda: send("ready") or b"ready" in obeyed)  # what is sent before it subscribed is not for it
        return link

    def obeys(text: str) -> None:
        send(text)
        wait_until(lambda: text.encode() in obeyed, lambda: obeyed)

    send("before", "-r")
    link = alive()
    try:
        send("live", "-r")
        obeys("after it")
        assert [word for word in obeyed if word != b"ready"] == [b"live", b"after it"]
        obeyed.clear()
        link.stop()
        link = alive()
        obeys("plain")
        broker.stop()  # in order: what is retained outlives it
        broker.start()
        wait_until(lambda: link.reconnects and link.problem is None, lambda: link.problem)
        obeys("again")
    finally:
        link.stop()
    assert not {b"before", b"live"} & set(obeyed)
    assert link.ignored_commands == 0


def test_what_others_retain_comes_again_with_a_new_session_only(broker):
    """A model is large; a session that goes on knows it."""
    topic, heard = "elsewhere/large", []

    def retain(text: str) -> None:
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-r", "-t", topic, "-m", text], check=True)

    retain("one")
    link = make_link(broker.port)
    link.listen(topic, heard.append)
    link.start()
    try:
        wait_until(lambda: heard == [b"one"], lambda: heard)
        broker.stop()
        broker.start()
        wait_until(lambda: link.reconnects == 1 and link.problem is None, lambda: link.problem)
        retain("two")
        wait_until(lambda: b"two" in heard, lambda: heard)
        assert heard == [b"one", b"two"]
        broker.kill()
        (broker.folder / "mosquitto.db").unlink()
        broker.start()
        wait_until(lambda: link.reconnects == 2 and link.problem is None, lambda: link.problem)
        retain("three")
        wait_until(lambda: b"three" in heard, lambda: heard)
    finally:
        link.stop()
