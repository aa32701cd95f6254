"""What a sensor publishes where sound ends and begins, on a real broker."""

import json
import time
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge.commands.demo import RECORDING
from edge.config import EdgeConfig, Mqtt
from edge.daemon import health
from edge.daemon import sensor as sensors
from edge.daemon.sensor import Sensor
from edge.delivery.link import Link
from edge.hearing.pipeline import Pipeline
from edge.hearing.reach import Reach
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import Fault, timed_blocks
from edge.sound.faults import explain
from edge.sound.recording import read_recording
from tests.support.artifacts import MOMENTS, UTTERANCE
from tests.support.broker import HOST
from tests.support.patience import wait_until
from tests.support.subscriber import Subscriber

ABSENT = Fault(reason="absent", detail=explain("absent"))


@contextmanager
def sensing(port: int, model_path: Path = DEFAULT_MODEL, *, health_interval_s: int = 3_600):
    """A sensor on a model, and the bundled recording's blocks."""
    artifact, model = load(model_path)
    config = EdgeConfig(health_interval_s=health_interval_s)
    link = Link(Mqtt(), "room", host=HOST, port=port)
    sensor = Sensor(Pipeline(model, artifact.manifest), link, artifact.manifest.model_id, config)
    sensor.start()
    try:
        yield sensor, timed_blocks(read_recording(RECORDING), started_at=time.time())
    finally:
        link.stop()


def states(watcher: Subscriber) -> list[dict]:
    return [message.json for message in watcher.on("state")]


def test_a_microphone_that_goes_ends_the_utterance(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, blocks):
        events = []
        sensor._on_event = events.append
        while not events or events[-1].event_type == "quiet":
            sensor.process(next(blocks))
        sensor.process(ABSENT)
        assert events[-1].event_type == "quiet"
        assert events[-1].confidence == 0.0
        watcher.wait_for(lambda w: states(w) and states(w)[-1]["microphone"] == "absent")
        assert states(watcher)[-1]["emotion"] == "quiet"
        watcher.wait_for(lambda w: [e["event_id"] for e in map(json.loads, (m.payload for m in w.on("event")))] == [
            event.event_id for event in events
        ])  # fmt: skip
        watcher.wait_for(lambda w: w.on("health") and w.on("health")[-1].json["microphone"]["state"] == "absent")
        sensor.process(next(blocks))
        watcher.wait_for(lambda w: states(w)[-1]["microphone"] == "ok")


def test_a_gap_ends_when_sound_flows_also_where_somebody_speaks_at_once(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, blocks):
        events = []
        sensor._on_event = events.append
        while not events:
            sensor.process(next(blocks))
        sensor.process(ABSENT)
        gap = [event.event_type for event in events].index("quiet")
        resumed = time.time()
        while len(events) == gap + 1:
            sensor.process(next(blocks))
        (gone, resumes, speaks) = [run[1:] for run in sensor._timeline.timeline(time.time()).runs[-3:]]
        assert (tuple(gone), resumes[0]) == (("quiet", 0.0), "quiet")
        assert resumes[1] > 0.9  # somebody may be heard in it already
        assert tuple(speaks) == (events[-1].event_type, round(events[-1].confidence, 4))
        watcher.wait_for(lambda w: states(w) and states(w)[-1]["emotion"] == events[-1].event_type)
        heard = [state for state in states(watcher) if unix_s(state["ts"]) > resumed and state["microphone"] == "ok"]
        assert heard
        assert all(state["confidence"] > 0 for state in heard)


def test_the_figures_of_the_start_do_not_stand_for_a_minute(broker, monkeypatch):
    monkeypatch.setattr(health, "_START_S", 0.5)
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, _):

        def reported() -> list[float]:
            sensor.process(ABSENT)
            return [message.json["uptime_s"] for message in watcher.on("health")]

        wait_until(lambda: reported() and max(reported()) >= 0.5)  # without it, in an hour
        settled = len(reported())
        until_s = time.monotonic() + 1.0
        while time.monotonic() < until_s:
            assert len(reported()) == settled


def test_a_sensor_without_sound_still_gives_signs_of_life(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, _):
        command = b'{"state_interval_s": 1}'
        assert sensor._tuning.obey(command) is None

        def goes_on() -> bool:
            sensor.process(ABSENT)
            return len(states(watcher)) >= 3

        wait_until(goes_on)
        told = states(watcher)
    assert {state["microphone"] for state in told} == {"absent"}
    assert len({state["ts"] for state in told}) == len(told)
    assert told[0]["ts"] < told[-1]["ts"]
    since = [unix_s(state["since"]) for state in told]
    assert max(since) - min(since) == pytest.approx(0.0, abs=0.01)  # quiet all the while


def unix_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_microphone_that_delivers_zeros_is_opened_anew_now_and_then(broker, monkeypatch):
    monkeypatch.setattr(sensors, "REOPEN_S", 5.0)
    silence = timed_blocks([np.zeros(26 * 16_000, np.float32)], started_at=time.time())
    with sensing(broker.port) as (sensor, _):
        opened, states = [], []
        for block in silence:
            before, sensor._reopen = len(opened), partial(opened.append, block.end_s)
            sensor.process(block)
            states.append(sensor._microphone.state)
            if len(opened) > before:  # as a real one does, which begins anew
                sensor.process(Fault(reason="starting", detail=explain("starting")))
        assert opened == pytest.approx([15.0, 20.0, 25.0], abs=0.3)
        assert sensor.status.startswith("the microphone delivers digital silence")
    assert set(states[states.index("zeros") :]) == {"zeros"}  # and never "ok", though opened anew


def test_the_timelines_last_minute_is_published_at_the_end(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, blocks):

        def told() -> bool:
            sensor.process(next(blocks))
            return bool(watcher.on("timeline"))

        wait_until(told)
        events = []
        sensor._on_event = events.append
        while not events:  # within the minute in which no other is published
            sensor.process(next(blocks))
        known = len(watcher.on("timeline"))
        sensor.end()
        watcher.wait_for(lambda w: len(w.on("timeline")) > known)
        assert events[0].event_type in [run[1] for run in watcher.on("timeline")[-1].json["runs"]]


def test_the_timeline_waits_until_the_past_is_known(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, blocks):

        def told() -> bool:
            sensor.process(next(blocks))
            return bool(watcher.on("timeline"))

        wait_until(told)
        assert watcher.on("timeline")[0].json["runs"][0][1] == "quiet"
        assert watcher.on("listening")[0].payload == "ON"


def test_health_says_how_well_the_room_is_known(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port, UTTERANCE, health_interval_s=1) as (sensor, blocks):

        def told() -> list[int | None]:
            return [message.json["room_utterances"] for message in watcher.on("health")]

        def grows() -> bool:
            sensor.process(next(blocks))
            return told() != [] and told()[-1] >= 3

        wait_until(grows)
        assert told()[0] == 0
        assert told() == sorted(told())


def test_a_model_that_hears_frames_knows_nothing_of_rooms(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port, MOMENTS) as (sensor, blocks):
        sensor.process(next(blocks))
        watcher.wait_for(lambda w: w.on("health"))
        assert watcher.on("health")[0].json["room_utterances"] is None


def test_health_says_how_far_above_the_noise_a_day_s_loudest_minute_was(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port, health_interval_s=1) as (sensor, blocks):
        sensor._meter.reach = Reach(day_s=20.0)

        def told() -> list[int | None]:
            return [message.json["loudest_minute_db"] for message in watcher.on("health")]

        def known() -> bool:
            sensor.process(next(blocks))
            return told() != [] and told()[-1] is not None

        wait_until(known)
        assert told()[0] is None
        assert told()[-1] > 10  # the bundled recording is of somebody near


def test_an_event_says_how_well_it_was_heard(broker):
    with Subscriber(broker.port) as watcher, sensing(broker.port) as (sensor, blocks):
        events, observed = [], []
        sensor._on_event = lambda event: (events.append(event), observed.append(sensor._last[0]))
        while sum(event.event_type == "quiet" for event in events) < 2:
            sensor.process(next(blocks))
        watcher.wait_for(lambda w: len(w.on("event")) == len(events))
        told = [message.json for message in watcher.on("event")]
    for event, observation in zip(told, observed, strict=True):
        assert event["level_dbfs"] == pytest.approx(observation.level_dbfs, abs=0.06)
        assert event["speech_ratio"] == pytest.approx(observation.speech_ratio, abs=0.001)
        spoken = event["event_type"] != "quiet"
        assert {event[name] is not None for name in ("arousal", "valence", "snr_db")} == {spoken}
    assert told[0]["bandwidth_hz"] is None  # too little was spoken
    assert told[-1]["bandwidth_hz"] == 8_000
    assert max(event["snr_db"] or 0 for event in told) > 20
