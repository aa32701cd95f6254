"""What a sensor is told on MQTT: listening ON and OFF, and nothing else."""

import json
import subprocess
import threading

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import Mqtt
from edge.daemon.listening import Listening
from edge.daemon.permission import Permission
from edge.daemon.quiet_hours import QuietClock
from edge.delivery.link import Link
from tests.support.broker import HOST, Broker, free_port
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.subscriber import Subscriber


def command(port: int, payload: str, *, topic: str = "listening/set", retain: bool = False) -> None:
    words = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", f"roomtone/room/{topic}", "-m", payload]
    subprocess.run([*words, *(["-r"] if retain else [])], check=True)


def last(watcher: Subscriber, name: str) -> str | None:
    messages = watcher.on(name)
    return messages[-1].payload if messages else None


def microphone_state(watcher: Subscriber) -> str | None:
    state = last(watcher, "state")
    return json.loads(state)["microphone"] if state else None


def test_off_ends_the_utterance_and_on_begins_again_and_off_outlives_a_restart(broker, tmp_path):
    with Subscriber(broker.port) as watcher:
        with Daemon(tmp_path, broker.port, edge={"health_interval_s": 1}) as daemon:
            watcher.wait_for(lambda w: w.on("event"))  # somebody speaks
            watcher.wait_for(lambda w: last(w, "listening") == "ON")
            command(broker.port, "OFF")
            watcher.wait_for(lambda w: last(w, "listening") == "OFF" and microphone_state(w) == "off")
            state = json.loads(last(watcher, "state"))
            assert (state["emotion"], state["confidence"], state["scores"]) == ("quiet", 0.0, {})
            assert (state["arousal"], state["valence"]) == (None, None)
            # Events go through the outbox on disk, and may come after what is retained.
            watcher.wait_for(lambda w: json.loads(last(w, "event"))["event_type"] == "quiet")
            heard = len(watcher.on("event"))
            for payload in ("on", "ON ", "", "1", '{"state": "ON"}'):
                command(broker.port, payload)
            command(broker.port, "ON", topic="listening")
            command(broker.port, "ON", topic="anything/else")
            watcher.wait_for(lambda w: json.loads(last(w, "health"))["ignored_commands"] >= 7)
            assert daemon.log.count("ignored a command that was neither ON nor OFF") == 1  # once, however many
            assert len(watcher.on("event")) == heard
            assert microphone_state(watcher) == "off"
            # Somebody else wrote ON over our own retained topic: put it right for what follows.
            command(broker.port, "OFF", topic="listening", retain=True)
        before = len(watcher.messages)
        with Daemon(tmp_path, broker.port):
            watcher.wait_for(
                lambda w: (
                    [m.payload for m in w.messages[before:] if m.topic.endswith("/listening")][-1:] == ["OFF"]
                    and microphone_state(w) == "off"
                )
            )
            command(broker.port, "ON")
            watcher.wait_for(lambda w: last(w, "listening") == "ON" and microphone_state(w) == "ok")


def test_off_really_closes_the_microphone(broker, tmp_path, virtual_microphone):
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port, recording=None):
        watcher.wait_for(lambda w: microphone_state(w) == "ok")
        open_before = virtual_microphone.listeners()
        command(broker.port, "OFF")
        watcher.wait_for(lambda w: microphone_state(w) == "off")
        watcher.wait_for(lambda w: virtual_microphone.listeners() == open_before - 1)
        command(broker.port, "ON")
        watcher.wait_for(lambda w: microphone_state(w) == "ok")
        assert virtual_microphone.listeners() == open_before


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A link on a real broker, what it was switched to, and a client that can send it anything."""
    switched: list[bool] = []
    with Broker(tmp_path_factory.mktemp("commands") / "broker") as broker:
        link = Link(Mqtt(), "room", host=HOST, port=broker.port)
        settled = threading.Event()  # until the past is read back, two subscriptions hear the same
        listening = Listening(hold=lambda: switched.append(False), resume=lambda: switched.append(True))
        obey = Permission(listening, None, QuietClock(None)).obey
        link.start(first={"listening/set": obey}, on_past=lambda past: settled.set())
        assert settled.wait(PATIENCE_S)
        sender = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        sender.connect(HOST, broker.port)
        sender.loop_start()
        yield link, switched, sender
        sender.disconnect()
        sender.loop_stop()
        link.stop()


TOPICS = ("listening/set", "listening", "state", "event", "timeline", "health", "status", "x/set", "set", "a/b/c")


def bombard(room, count: int) -> int:
    link, switched, sender = room
    sent = 0
    before = link.ignored_commands

    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(TOPICS), st.binary(max_size=200) | st.text().map(str.encode) | st.just(b"on"))
    def fire(topic, payload):
        nonlocal sent
        if payload in (b"ON", b"OFF") and topic == "listening/set":
            return
        sender.publish(f"roomtone/room/{topic}", payload, qos=1).wait_for_publish(PATIENCE_S)
        sent += 1

    fire()
    wait_until(lambda: link.ignored_commands - before == sent, lambda: f"{link.ignored_commands - before} of {sent}")
    assert switched == []
    assert link.problem is None
    assert link.reconnects == 0
    return sent


def test_payloads_that_are_no_command_change_nothing(room):
    assert bombard(room, 300) > 200


@pytest.mark.slow
def test_ten_thousand_payloads_change_nothing(room):
    print("\ncommands ignored:", bombard(room, 10_000))


def test_several_may_forbid_listening():
    said = []
    listening = Listening(hold=lambda: said.append("hold"), resume=lambda: said.append("resume"))
    listening.set("switch", False)
    listening.set("quiet hours", False)
    listening.set("switch", True)
    assert (listening.on, said) == (False, ["hold"])
    listening.set("quiet hours", True)
    listening.set("quiet hours", True)
    assert (listening.on, said) == (True, ["hold", "resume"])


def test_only_what_was_switched_off_is_said_to_be(tmp_path, virtual_microphone):
    """At a first start nobody has switched anything; switched off once, the log says so once."""
    port = free_port()
    how = {"mqtt": {"host": "embedded", "websockets_port": free_port()}}
    with Daemon(tmp_path, port, recording=None, **how) as daemon:
        daemon.wait_for_log("microphone: waiting for the broker to tell whether listening is on")
        daemon.wait_for_log("microphone: sound flows")
        assert "switched off" not in daemon.log
        with Subscriber(port) as watcher:
            command(port, "OFF")
            watcher.wait_for(lambda w: microphone_state(w) == "off")
            command(port, "ON")
            watcher.wait_for(lambda w: microphone_state(w) == "ok")
        assert daemon.log.count("listening is switched off") == 1
