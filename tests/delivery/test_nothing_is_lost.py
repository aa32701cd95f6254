"""Nothing is lost between the sensor and a subscriber that is not our code, whatever happens to the broker."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from edge.config import Mqtt
from edge.delivery import past
from edge.delivery.link import Link
from edge.delivery.outbox import Outbox
from edge.delivery.packets import Word
from edge.delivery.store import Store
from edge.voice.payloads import Event
from edge.voice.sequence import Sequence, uuid7
from tests.support.broker import HOST, Broker
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.subscriber import Subscriber

# What a broker that forgets nothing needs: the default saves every half hour.
DURABLE = "autosave_on_changes true\nautosave_interval 1"


def make_event(sequence: Sequence) -> Event:
    seq = sequence.next()
    return Event(
        event_id=uuid7(time.time()),
        event_type="happy" if seq % 2 else "quiet",
        ts="2026-01-31T12:00:00.000Z",
        previous="quiet" if seq % 2 else "happy",
        confidence=0.5,
        previous_duration_ms=1_000,
        seq=seq,
        model="test-1",
    )


class Witnessed(Outbox):
    """An outbox that notes when the broker said that it has an event."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.acknowledged_s: dict[str, float] = {}

    def acknowledged(self, event_id: str) -> None:
        self.acknowledged_s[event_id] = time.monotonic()
        super().acknowledged(event_id)


class Voice:
    """A link with an outbox on disk, and a list of the events it was given."""

    def __init__(
        self, port: int, folder: Path, *, hosts: tuple[str, ...] = (HOST,), rows: int = 50_000,
        now_ms: int | None = None,
    ) -> None:  # fmt: skip
        outbox = Witnessed(Store(folder / "outbox.sqlite", max_rows=rows, max_bytes=50_000_000))
        self.sequence = Sequence(outbox.last_seq, now_ms=now_ms)
        settings = Mqtt(host=hosts, port=port)
        self.link = Link(settings, "attic", outbox=outbox, sequence=self.sequence)
        self.said: list[str] = []
        self.past: list[dict[str, Word]] = []
        self.link.start(on_past=self.past.append)

    def say(self, count: int = 1) -> None:
        for _ in range(count):
            event = make_event(self.sequence)
            self.said.append(event.event_id)
            self.link.event(event)

    def say_for(self, seconds: float, *, per_second: float = 20.0) -> None:
        for _ in range(round(seconds * per_second)):  # as many on a busy core, where it takes longer
            self.say()
            time.sleep(1 / per_second)


@contextmanager
def voice(port: int, folder: Path, **how):
    speaker = Voice(port, folder, **how)
    try:
        yield speaker
    finally:
        speaker.link.stop()


@contextmanager
def forgetful_of_nothing(broker: Broker, device: str = "attic"):
    """A subscriber whose session outlives its connections."""
    topic = f"roomtone/{device}/event"
    with Subscriber(broker.port, topic, "-c", "-x", "86400", "-i", "watcher") as watcher:
        # Retained, so that it comes as soon as the subscription stands.
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-r", "-t", topic, "-m", "{}"], check=True)
        watcher.wait_for(lambda w: w.on("event"))
        subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-r", "-n", "-t", topic], check=True)
        watcher.messages.clear()
        yield watcher


def events(watcher: Subscriber) -> list[Event]:
    heard = [message.payload for message in watcher.on("event")]
    return [msgspec.json.decode(payload, type=Event) for payload in heard if payload.startswith('{"')]


def first_heard(heard: list[Event]) -> list[Event]:
    first: dict[str, Event] = {}
    for event in heard:
        first.setdefault(event.event_id, event)
    return list(first.values())


def all_heard(watcher: Subscriber, speaker: Voice):
    heard = {event.event_id for event in events(watcher)}
    return heard >= set(speaker.said)


def check_nothing_lost(watcher: Subscriber, speaker: Voice) -> dict[str, int]:
    """Every event at least once, first occurrences in the order of `seq`; return the figures."""
    heard = events(watcher)
    assert {event.event_id for event in heard} == set(speaker.said)
    firsts = [event.seq for event in first_heard(heard)]
    assert firsts == sorted(firsts)
    copies = Counter(event.event_id for event in heard)
    return {"events": len(speaker.said), "duplicates": len(heard) - len(copies), "late": sum(e.late for e in heard)}


def run_kills(tmp_path: Path, kills: int) -> dict[str, int]:
    dice = random.Random(6)
    with (
        Broker(tmp_path / "broker", extra=DURABLE) as broker,
        forgetful_of_nothing(broker) as watcher,
        voice(broker.port, tmp_path / "state") as speaker,
    ):
        killed_s = []
        for _ in range(kills):
            speaker.say_for(dice.uniform(0.5, 5.0))
            killed_s.append(time.monotonic())
            broker.kill()
            speaker.say_for(dice.uniform(0.0, 3.0))
            broker.start()
        speaker.say_for(1.0)
        with suppress(TimeoutError):  # what is missing is told below
            wait_until(lambda: all_heard(watcher, speaker))
        missing = set(speaker.said) - {event.event_id for event in events(watcher)}
        taken_s = [speaker.link.outbox.acknowledged_s.get(event_id) for event_id in missing]
        then_killed_s = [s and round(min((k - s for k in killed_s if k > s), default=-1.0), 3) for s in taken_s]
        assert not missing, f"acknowledged so many seconds before a kill (None: never): {then_killed_s}"
        assert speaker.link.reconnects >= 1  # several kills may fall into one wait
        figures = check_nothing_lost(watcher, speaker)
    assert list((tmp_path / "state").iterdir()) == []
    return figures


def test_a_broker_that_is_killed_twice_costs_nothing(tmp_path):
    assert run_kills(tmp_path, 2)["events"] > 40


@pytest.mark.slow
def test_a_broker_that_is_killed_twenty_times_costs_nothing(tmp_path):
    print("\ntwenty kills:", run_kills(tmp_path, 20))


def replay(tmp_path: Path, backlog: int) -> dict[str, float]:
    """A backlog waits while the broker is away; when it is back, ten live events a second go on."""
    with Broker(tmp_path / "broker") as broker, forgetful_of_nothing(broker) as watcher:
        broker.stop()
        with voice(broker.port, tmp_path / "state") as speaker:
            speaker.say(backlog)
            wait_until(lambda: speaker.link.outbox._store.rows == backlog)
            assert speaker.link.outbox.depth == backlog
            size = sum(file.stat().st_size for file in (tmp_path / "state").iterdir())
            broker.start()
            back_s = time.monotonic()
            wait_until(lambda: speaker.link.problem is None)
            connected_s = time.monotonic()
            made: set[str] = set()
            while not made or speaker.link.outbox.depth > 10:
                speaker.say()
                made.add(speaker.said[-1])
                time.sleep(0.1)
            done_s = time.monotonic()
            watcher.wait_for(lambda w: all_heard(w, speaker))
            heard = events(watcher)
    late = [event for event in first_heard(heard) if event.event_id in set(speaker.said[:backlog])]
    assert [event.seq for event in late] == sorted(event.seq for event in late)
    assert len(late) == backlog
    assert all(event.late for event in late)
    live = [event for event in heard if event.event_id in made and not event.late]
    return {
        "connected after": round(connected_s - back_s, 1),
        "seconds": round(done_s - back_s, 1),
        "megabytes": round(size / 1e6, 1),
        "live": len(made),
        "live in time": len(live),
    }


def test_a_backlog_is_replayed_late_and_in_order_beside_live_events(tmp_path):
    print("\n2,000 events:", replay(tmp_path, 2_000))


def test_beyond_the_bound_the_oldest_go_and_that_is_said(tmp_path, caplog):
    with Broker(tmp_path / "broker", extra=DURABLE) as broker, forgetful_of_nothing(broker) as watcher:
        broker.stop()
        with voice(broker.port, tmp_path / "state", rows=50) as speaker:
            outbox = speaker.link.outbox
            for said in range(50, 201, 50):
                speaker.say(50)
                wait_until(lambda: outbox._store.rows + outbox.dropped == said)  # noqa: B023
            assert (outbox.depth, outbox.dropped) == (50, 150)
            assert sum("the oldest events are dropped" in record.message for record in caplog.records) == 1
            broker.start()
            watcher.wait_for(lambda w: outbox.depth == 0 and len(events(w)) >= 50)
        assert [event.event_id for event in first_heard(events(watcher))] == speaker.said[-50:]


def test_what_a_killed_daemon_had_pending_is_delivered_by_the_next(broker, tmp_path):
    broker.stop()
    with voice(broker.port, tmp_path / "state") as first:
        first.say(5)
    broker.start()
    with Subscriber(broker.port) as watcher:
        watcher.wait_for(lambda w: w._process.poll() is None and time.sleep(0.3) is None)
        with voice(broker.port, tmp_path / "state") as second:
            second.say(1)  # late itself, where it takes longer than a second to connect
            watcher.wait_for(lambda w: len(events(w)) == 6)
        assert [event.event_id for event in events(watcher)] == first.said + second.said
        assert all(event.late for event in events(watcher)[:5])
        assert [event.seq for event in events(watcher)] == sorted(event.seq for event in events(watcher))


def retain_a_past(broker: Broker, state: bytes) -> dict[str, bytes]:
    retained = dict.fromkeys(past.PAST, b"{}") | {"state": state}
    for name, payload in retained.items():
        publish = ["mosquitto_pub", "-p", str(broker.port), "-r", "-t", f"roomtone/attic/{name}", "-s"]
        subprocess.run(publish, input=payload, check=True)
    return retained


def test_the_past_is_whole_when_the_broker_has_answered(broker, tmp_path, monkeypatch):
    """However late a busy machine hears of each part: nothing is waited for after the answer here."""
    monkeypatch.setattr(past, "_WAIT_S", 0.0)
    retained = retain_a_past(broker, b'{"seq": 7}')
    for life in range(10):
        link = Link(Mqtt(host=(HOST,), port=broker.port), "attic")
        pasts: list[dict[str, Word]] = []
        link.start(on_past=pasts.append)
        wait_until(lambda: pasts)  # noqa: B023
        link.stop()
        assert [{name: word.word for name, word in told.items()} for told in pasts] == [retained], life


def test_seq_goes_on_above_the_retained_state_where_the_clock_went_back(broker, tmp_path, monkeypatch):
    # The past is waited for until all of it has come: how long a busy broker takes is no matter of this test.
    monkeypatch.setattr(past, "_WAIT_S", PATIENCE_S)
    monkeypatch.setattr(past, "_WAIT_AT_MOST_S", PATIENCE_S)
    year_2026_ms = 1_780_000_000_000
    retained = retain_a_past(broker, b'{"seq": %d}' % year_2026_ms)
    broker.stop()
    hours_back_ms = year_2026_ms - 5 * 3_600_000
    with voice(broker.port, tmp_path / "state", now_ms=hours_back_ms) as first:
        first.say(3)
        time.sleep(1.5)
    with voice(broker.port, tmp_path / "state", now_ms=hours_back_ms - 1_000_000) as second:
        second.say(3)
        broker.start()
        with Subscriber(broker.port, "roomtone/attic/event") as watcher:
            watcher.wait_for(lambda w: second.past)
            second.say(3)
            watcher.wait_for(lambda w: len({event.event_id for event in events(w)}) == 9)
            heard = [event.seq for event in first_heard(events(watcher))]
    assert heard == sorted(set(heard))
    assert heard[0] > year_2026_ms
    assert [{name: word.word for name, word in told.items()} for told in second.past] == [retained]


def test_a_publish_that_the_broker_denies_is_said_and_kept(tmp_path):
    acl = "topic readwrite roomtone/attic/status\ntopic readwrite roomtone/attic/state\ntopic read roomtone/#\n"
    with Broker(tmp_path / "broker", acl=acl) as broker, voice(broker.port, tmp_path / "state") as speaker:
        speaker.link.require(timeout_s=PATIENCE_S)
        speaker.say()
        denial = "may not publish roomtone/attic/event: Not authorized (allow it in the broker's access list)"
        wait_until(lambda: denial in (speaker.link.problem or ""), lambda: speaker.link.problem)
        assert speaker.link.outbox.depth == 1
        time.sleep(5)
        wait_until(lambda: denial in (speaker.link.problem or ""), lambda: speaker.link.problem)
        # This mosquitto hangs up on whoever it denies something: that must not become a storm.
        assert broker.log.count("New client connected") <= 5
        (broker.folder / "acl").write_text("topic readwrite roomtone/#\n")
        os.kill(broker._process.pid, signal.SIGHUP)
        with Subscriber(broker.port) as watcher:
            watcher.wait_for(lambda w: [event.late for event in events(w)] == [True])
            wait_until(lambda: speaker.link.problem is None)


def test_a_broker_that_stops_answering_is_said_and_its_events_are_safe(broker, tmp_path):
    with voice(broker.port, tmp_path / "state") as speaker, Subscriber(broker.port) as watcher:
        watcher.wait_for(lambda w: w.on("status"))
        broker.freeze()
        try:
            speaker.say()
            wait_until(lambda: list((tmp_path / "state").glob("*")))  # on disk after a second
            wait_until(lambda: speaker.link.problem == "no acknowledgement for more than 4 s")
        finally:
            broker.thaw()
        watcher.wait_for(lambda w: all_heard(w, speaker))
        wait_until(lambda: (speaker.link.problem, speaker.link.outbox.depth) == (None, 0))


def test_a_broker_that_takes_few_at_a_time_is_not_flooded(tmp_path):
    with (
        Broker(tmp_path / "broker", extra="max_inflight_messages 3") as broker,
        voice(broker.port, tmp_path / "state") as speaker,
        Subscriber(broker.port) as watcher,
    ):
        watcher.wait_for(lambda w: w.on("status"))
        speaker.say(200)
        watcher.wait_for(lambda w: all_heard(w, speaker))
        assert speaker.link.reconnects == 0
        assert check_nothing_lost(watcher, speaker)["duplicates"] == 0


def test_two_sensors_with_one_id_are_told_so(broker, tmp_path, caplog):
    with voice(broker.port, tmp_path / "one") as one:
        one.link.require(timeout_s=PATIENCE_S)
        with voice(broker.port, tmp_path / "two") as two:
            two.link.require(timeout_s=PATIENCE_S)
            hint = "do two sensors have the same edge.device.id?"
            wait_until(lambda: any(hint in record.message for record in caplog.records))
