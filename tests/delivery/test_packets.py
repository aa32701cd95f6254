"""A broker that takes small packets only: what is too large is shortened or held back, and everything else arrives."""

import json
import logging

import msgspec
import pytest

from edge.config import Device, Mqtt
from edge.delivery.link import Link
from edge.delivery.outbox import Outbox
from edge.delivery.packets import MOST_HELD_EVENTS
from edge.delivery.store import Store
from edge.voice.homeassistant import discovery
from edge.voice.payloads import HEARD, Event, State, Timeline, rfc3339
from edge.voice.sequence import uuid7
from tests.support.broker import HOST, Broker
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.subscriber import Subscriber

LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
NOW = 1_769_860_800.0
DISCOVERY = "homeassistant/device/roomtone-attic/config"


def event(seq: int, *, label: str = "surprise") -> Event:
    return Event(
        event_id=uuid7(NOW + seq), event_type=label, ts=rfc3339(NOW + seq), previous="disgust", confidence=0.5,
        previous_duration_ms=1_000, seq=seq, model="default-1-window-dynamic",
    )  # fmt: skip


def state(seq: int) -> State:
    return State(
        ts=rfc3339(NOW), emotion="surprise", confidence=0.6575, since=rfc3339(NOW), arousal=0.57, valence=-0.435,
        scores=dict.fromkeys(LABELS, 0.1429), speech_ratio=0.269, snr_db=38.7, level_dbfs=-29.8, clipped_ratio=0.0,
        microphone="ok", model="default-1-window-dynamic", seq=seq,
    )  # fmt: skip


def a_day() -> Timeline:
    runs = [(rfc3339(NOW + 60 * minute), "happy" if minute % 2 else "quiet", 0.9123) for minute in range(1_440)]
    return Timeline(ts=rfc3339(NOW + 86_400), runs=runs)


def retained(broker: Broker, *wanted: str) -> dict[str, str]:
    """Return what a newcomer is told, by topic."""
    with Subscriber(broker.port, "#") as newcomer:
        newcomer.wait_for(lambda w: {message.topic for message in w.messages} >= set(wanted))
        return {message.topic: message.payload for message in newcomer.messages}


def delivered(watcher: Subscriber) -> list[str]:
    return [message.json["event_id"] for message in watcher.on("event")]


@pytest.mark.parametrize(
    ("limit", "shortened", "held"),
    [(400, True, True), (2_000, True, True), (10_000, True, False), (200_000, False, False)],
)
def test_what_is_too_large_is_held_back_once_and_all_events_arrive(tmp_path, caplog, limit, shortened, held):
    caplog.set_level(logging.WARNING)
    with Broker(tmp_path / "broker", extra=f"max_packet_size {limit}") as broker, Subscriber(broker.port) as watcher:
        link = Link(Mqtt(), "attic", host=HOST, port=broker.port)
        link.retain_at(DISCOVERY, msgspec.json.encode(discovery(Device(id="attic"), LABELS, "m")))
        link.start()
        link.require(timeout_s=PATIENCE_S)
        said = [event(seq) for seq in range(200)]
        for number, each in enumerate(said):
            link.event(each)
            if number % 20 == 0:
                link.retain("timeline", a_day())
                link.retain("state", state(number))
                link.resend()
        watcher.wait_for(lambda w: len(delivered(w)) == len(said))
        assert delivered(watcher) == [each.event_id for each in said]
        wanted = ["roomtone/attic/status", "roomtone/attic/state", "roomtone/attic/timeline"]
        known = retained(broker, *wanted, *([] if held else [DISCOVERY]))
        assert link.reconnects == 0
        problem = link.problem
        link.stop()
    assert known["roomtone/attic/status"] == "online"
    told, whole = json.loads(known["roomtone/attic/timeline"]), msgspec.to_builtins(a_day())
    packet_bytes = len(known["roomtone/attic/timeline"]) + 2 + len("roomtone/attic/timeline") + 2 + 1 + 3
    run_bytes = len('["2026-01-31T12:00:00.000Z","happy",0.9123],')
    assert (limit - run_bytes - 2 < packet_bytes) is shortened
    assert packet_bytes <= limit
    assert (len(told["runs"]) < 1_440) is shortened
    assert told["runs"] == json.loads(json.dumps(whole["runs"]))[-len(told["runs"]) :]
    assert told["ts"] == whole["ts"]
    assert bool(json.loads(known["roomtone/attic/state"])["scores"]) is (limit > 400)
    assert (DISCOVERY in known) is not held
    warned = [record.getMessage() for record in caplog.records if "packets of at most" in record.getMessage()]
    topics = [words.split()[2] for words in warned]
    assert len(topics) == len(set(topics))  # once each
    assert (f"{DISCOVERY} is held back" in "".join(warned)) is held
    assert ("roomtone/attic/timeline is shortened" in "".join(warned)) is shortened
    if limit == 200_000:
        assert problem is None
    else:
        assert f"packets of at most {limit} bytes" in problem


def test_packets_of_just_the_largest_size_are_sent_and_none_beyond(tmp_path):
    limit = 1_000
    with Broker(tmp_path / "broker", extra=f"max_packet_size {limit}") as broker, Subscriber(broker.port) as watcher:
        link = Link(Mqtt(), "attic", host=HOST, port=broker.port)
        link.start()
        for size in range(limit - 60, limit + 20):
            link.retain(f"of-{size}", b"x" * size)
        link.retain("last", b"1")
        watcher.wait_for(lambda w: w.on("last"))
        assert (link.reconnects, link.address in link.problem) == (0, False)
        link.stop()
        sizes = [len(message.payload) for message in watcher.messages if "/of-" in message.topic]
    # 1 byte of type, 2 of length, 2 + 22 of topic, 2 of identifier, 1 of properties; a length of 4 is reckoned with.
    largest = limit - 1 - 2 - 2 - len("roomtone/attic/of-9xx") - 2 - 1
    assert largest - 2 <= max(sizes) <= largest
    assert sizes == sorted(sizes)


def test_an_event_that_is_too_large_waits_on_disk_for_a_broker_that_takes_it(tmp_path):
    outbox = Outbox(Store(tmp_path / "outbox.sqlite", max_rows=5_000, max_bytes=10_000_000))
    least = len(msgspec.json.encode(event(0))) - sum(len(f'"{name}":null,') for name in HEARD)
    limit = least + len("roomtone/attic/event") + 20
    lasting = ("-c", "-x", "86400", "-i", "watcher")  # a session that outlives its connections
    with (
        Broker(tmp_path / "broker", extra=f"max_packet_size {limit}") as broker,
        Subscriber(broker.port, "roomtone/#", *lasting) as watcher,
    ):
        link = Link(Mqtt(), "attic", host=HOST, port=broker.port, outbox=outbox)
        link.start()
        link.require(timeout_s=PATIENCE_S)
        said = [event(seq, label="surprise" if seq % 2 else "a-label-of-" + "32-letters" * 5) for seq in range(100)]
        for each in said:
            link.event(each)
        watcher.wait_for(lambda w: len(delivered(w)) == 50)
        assert delivered(watcher) == [each.event_id for each in said if each.event_type == "surprise"]
        wait_until(lambda: outbox._store.rows == 50)
        assert (outbox.depth, link.reconnects) == (50, 0)
        broker.stop()
        broker._extra = ""
        broker.start()
        watcher.wait_for(lambda w: len(delivered(w)) == 100)
        late = [message.json for message in watcher.on("event")][50:]
        assert [each["event_id"] for each in late] == [e.event_id for e in said if e.event_type != "surprise"]
        assert all(each["late"] for each in late)
        link.stop()


def test_a_flood_of_events_that_are_all_too_large_is_not_kept_in_memory(tmp_path):
    outbox = Outbox(Store(tmp_path / "outbox.sqlite", max_rows=5_000, max_bytes=10_000_000))
    with Broker(tmp_path / "broker", extra="max_packet_size 200") as broker, Subscriber(broker.port) as watcher:
        link = Link(Mqtt(), "attic", host=HOST, port=broker.port, outbox=outbox)
        link.start()
        link.require(timeout_s=PATIENCE_S)
        for seq in range(2 * MOST_HELD_EVENTS):
            link.event(event(seq))
        link.retain("last", b"1")
        watcher.wait_for(lambda w: w.on("last"))
        wait_until(lambda: outbox._store.rows == outbox.depth == 2 * MOST_HELD_EVENTS)
        assert len(outbox._flying) == MOST_HELD_EVENTS
        link.stop()
        assert outbox.depth == 2 * MOST_HELD_EVENTS


@pytest.mark.slow
@pytest.mark.parametrize("limit", [400, 2_000, 10_000])
def test_a_sensor_delivers_the_same_events_whatever_the_limit(tmp_path, limit):
    with Broker(tmp_path / "broker", extra=f"max_packet_size {limit}") as broker, Subscriber(broker.port) as watcher:
        with Daemon(tmp_path, broker.port) as daemon:
            daemon.finish()
        events = [message.json["event_type"] for message in watcher.on("event")]
        print(f"\n{limit} bytes: {len(events)} events; {daemon.status[-1]}")
        assert len(events) >= 10
        assert not daemon.state.exists() or not list(daemon.state.glob("outbox*"))
        assert daemon.log.count("connected to broker") == 1
