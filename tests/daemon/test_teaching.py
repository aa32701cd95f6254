"""Lessons over MQTT, to a running sensor: what is taken, refused and kept, and that forgetting undoes it."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from edge.commands.demo import RECORDING
from edge.config import EdgeConfig, Mqtt
from edge.daemon import teaching as module
from edge.daemon.sensor import Sensor
from edge.daemon.teaching import EVERY_S, LONGEST_BYTES, MOST_AT_ONCE, STALE_S, Teaching
from edge.delivery.link import Link
from edge.hearing.pipeline import Pipeline
from edge.lessons.teacher import Teacher
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import timed_blocks
from edge.sound.recording import load_recording, read_recording
from edge.voice.payloads import Event, rfc3339
from tests.support.artifacts import STEP
from tests.support.broker import HOST
from tests.support.daemon import Daemon
from tests.support.lessons import LABELS, book_at, embedding_of, probs_of
from tests.support.patience import PATIENCE_S
from tests.support.sounds import to_int16
from tests.support.subscriber import Subscriber

PROBS = probs_of(4, 3, 3)
TEN_SECONDS = 10.0


def command(port: int, payload: object, *, topic: str = "teach", retain: bool = False) -> None:
    words = payload if isinstance(payload, str) else json.dumps(payload)
    how = ["-r"] if retain else []
    subprocess.run(
        ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", f"roomtone/room/{topic}", "-m", words, *how], check=True
    )


def cpu_s(pid: int) -> float:
    """Return the seconds of a core that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def said(watcher: Subscriber) -> dict:
    messages = watcher.on("lessons")
    return messages[-1].json if messages else {}


def answer(watcher: Subscriber) -> dict:
    return said(watcher).get("answer") or {}


def spoken(watcher: Subscriber) -> list[dict]:
    """Return the events with which an utterance began."""
    return [message.json for message in watcher.on("event") if message.json["previous"] == "quiet"]


@pytest.fixture
def told():
    """A teaching whose teacher knows an utterance "a", and what it published."""
    published: list = []
    teacher = Teacher(book_at(None), LABELS, lambda layer: None)
    teacher.said("a", 0.0, embedding_of("sad", 0), PROBS)
    teacher.ended(embedding_of("sad", 0), PROBS)
    teaching = Teaching(teacher, model_id="model-1", labels=LABELS)
    teaching.publish = published.append
    return teaching, published


def test_a_running_sensor_is_corrected_keeps_that_over_a_restart_and_forgets(broker, tmp_path):
    edge = {"health_interval_s": 1}
    with Subscriber(broker.port) as watcher:
        with Daemon(tmp_path, broker.port, edge=edge) as daemon:
            watcher.wait_for(lambda w: said(w) and len(spoken(w)) >= 2)
            before = said(watcher)
            assert (before["teachable"], before["count"], before["answer"]) == (True, 0, None)
            assert not list(daemon.state.glob("lessons-*"))
            first, second = spoken(watcher)[:2]
            command(broker.port, {"event_id": first["event_id"], "label": "sad"})
            watcher.wait_for(lambda w: answer(w).get("event_id") == first["event_id"])
            assert said(watcher)["answer"] | {"ts": ""} == {
                "command": "teach", "event_id": first["event_id"], "label": "sad", "done": True, "reason": None,
                "ts": "", "instead_of": None,
            }  # fmt: skip
            assert (said(watcher)["per_label"], said(watcher)["count"]) == ({"sad": 1}, 1)
            assert said(watcher)["recent"][0]["event_id"] == first["event_id"]
            told = len(watcher.on("lessons"))
            command(broker.port, {"event_id": first["ts"], "label": "sad"})  # which is the same one
            watcher.wait_for(lambda w: len(w.on("lessons")) > told)
            assert (answer(watcher)["event_id"], said(watcher)["count"]) == (first["event_id"], 1)
            command(broker.port, {"event_id": "last", "label": "happy"})
            watcher.wait_for(lambda w: said(w)["count"] == 2)
            assert answer(watcher)["event_id"] in {message.json["event_id"] for message in watcher.on("event")}
            for payload, why in (
                ({"event_id": "z", "label": "sad"}, "not among the last 500"),
                ({"event_id": "last", "label": "quiet"}, "no label of the model"),
                ({"event_id": second["event_id"], "label": "sad", "ts": "2026-01-31T12:00:00Z"}, "60 s after"),
            ):
                command(broker.port, payload)
                watcher.wait_for(lambda w, why=why: why in (answer(w).get("reason") or ""))
                assert (answer(watcher)["done"], said(watcher)["count"]) == (False, 2)
            daemon.kill()
        taught = len(watcher.on("lessons"))
        with Daemon(tmp_path, broker.port, edge=edge):
            watcher.wait_for(lambda w: len(w.on("lessons")) > taught)
            assert said(watcher)["per_label"] == {"sad": 1, "happy": 1}
            command(broker.port, {"event_id": "all"}, topic="forget")
            watcher.wait_for(lambda w: answer(w).get("command") == "forget")
            assert (said(watcher)["count"], said(watcher)["recent"], answer(watcher)["done"]) == (0, [], True)
        assert not list((tmp_path / "state").glob("lessons-*/*"))


def test_retained_commands_change_nothing(broker, tmp_path):
    command(broker.port, {"event_id": "last", "label": "sad"}, retain=True)
    command(broker.port, {"event_id": "all"}, topic="forget", retain=True)
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port):
        watcher.wait_for(lambda w: spoken(w))
        broker.stop()  # the session that comes back is offered them again
        broker.start()
        known = len(spoken(watcher))
        watcher.wait_for(lambda w: len(spoken(w)) > known)
        assert (said(watcher)["count"], said(watcher)["answer"]) == (0, None)


def test_malformed_commands_are_counted_and_said_once(broker, tmp_path):
    with (
        Subscriber(broker.port) as watcher,
        Daemon(tmp_path, broker.port, edge={"health_interval_s": 1}) as daemon,
    ):
        watcher.wait_for(lambda w: spoken(w))
        malformed = ("", "sad", "[]", "{}", '{"event_id": 7, "label": "sad"}', '{"label": "sad"}', "[" * 900)
        for payload in malformed:
            command(broker.port, payload)
        watcher.wait_for(lambda w: w.on("health")[-1].json["ignored_commands"] == len(malformed))
        assert daemon.log.count("roomtone/room/teach: ignored a command that was not as the contract has it") == 1
        assert (said(watcher)["count"], said(watcher)["answer"]) == (0, None)


def test_lessons_typed_meanwhile_are_noticed(broker, tmp_path):
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:
        watcher.wait_for(lambda w: spoken(w))
        command(broker.port, {"event_id": spoken(watcher)[0]["event_id"], "label": "sad"})
        watcher.wait_for(lambda w: said(w)["count"] == 1)
        path = next(daemon.state.glob("lessons-room/*.json"))
        kept = json.loads(path.read_text())
        kept["lessons"].append(kept["lessons"][0] | {"event_id": "typed", "label": "happy"})
        path.with_suffix(".new").write_text(json.dumps(kept))
        path.with_suffix(".new").replace(path)
        watcher.wait_for(lambda w: said(w)["per_label"] == {"sad": 1, "happy": 1})


def test_a_model_without_an_embedding_says_that_it_cannot_be_taught(broker, tmp_path):
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port, edge={"model": str(STEP)}):
        watcher.wait_for(lambda w: spoken(w))
        assert said(watcher)["teachable"] is False
        command(broker.port, {"event_id": "last", "label": "sad"})
        watcher.wait_for(lambda w: "cannot be taught" in (answer(w).get("reason") or ""))
        assert not list((tmp_path / "state").glob("lessons-*"))


def test_a_folder_that_cannot_be_written_is_said_and_sensing_goes_on(broker, tmp_path):
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:
        watcher.wait_for(lambda w: spoken(w))
        (daemon.state / "lessons-room").write_text("in the way")
        command(broker.port, {"event_id": "last", "label": "sad"})
        watcher.wait_for(lambda w: "cannot be kept" in (answer(w).get("reason") or ""))
        assert said(watcher)["problem"]
        known = len(spoken(watcher))
        watcher.wait_for(lambda w: len(spoken(w)) > known)
        (daemon.state / "lessons-room").unlink()
        command(broker.port, {"event_id": "last", "label": "sad"})
        watcher.wait_for(lambda w: answer(w)["done"])
        assert said(watcher)["problem"] is None


def test_acknowledged_lessons_survive_a_sensor_that_is_killed(broker, tmp_path):
    rng, acknowledged = random.Random(1), {}
    with Subscriber(broker.port) as watcher:
        for _ in range(5):
            known, told = len(spoken(watcher)), len(watcher.on("lessons"))
            with Daemon(tmp_path, broker.port) as daemon:
                watcher.wait_for(lambda w, known=known: len(spoken(w)) > known)
                event = spoken(watcher)[known]
                for label in ("sad", "happy", "angry"):
                    command(broker.port, {"event_id": event["event_id"], "label": label})
                watcher.wait_for(lambda w, told=told: answer(w) and len(w.on("lessons")) > told + 1)
                time.sleep(rng.uniform(0.0, 0.05))
                os.kill(daemon.process.pid, signal.SIGKILL)
            acknowledged[event["event_id"]] = None
            kept = json.loads(next((tmp_path / "state" / "lessons-room").glob("*.json")).read_text())["lessons"]
            assert [each["event_id"] for each in kept] == list(acknowledged)


def test_an_event_can_be_taught_by_whoever_is_told_of_it_at_once(broker, tmp_path):
    """The broker and an automation are quicker than the sensor's own thread, which is held where it has told them."""
    artifact, model = load(DEFAULT_MODEL)
    pipeline = Pipeline(model, artifact.manifest)
    link = Link(Mqtt(), "room", host=HOST, port=broker.port)
    sensor = Sensor(
        pipeline, link, artifact.manifest.model_id, EdgeConfig(),
        teaching=Teaching.of(artifact, pipeline, tmp_path, "room"),
    )  # fmt: skip
    answers, tell = [], link.event

    def tell_and_be_held(event: Event) -> None:
        tell(event)
        if event.event_type != "quiet":
            command(broker.port, {"event_id": event.event_id, "label": "happy"})
            watcher.wait_for(lambda w: answer(w).get("event_id") == event.event_id)
            answers.append(answer(watcher))

    link.event = tell_and_be_held
    with Subscriber(broker.port) as watcher:
        sensor.start()
        for block in timed_blocks(read_recording(RECORDING), started_at=time.time()):
            sensor.process(block)
            if len(answers) == 2:
                break
        link.stop()
    assert [each["done"] for each in answers] == [True, True], answers


def test_an_untaught_pipeline_answers_as_if_nobody_could_teach_it(tmp_path):
    artifact, model = load(DEFAULT_MODEL)
    heard = {}
    for name in ("plain", "untaught", "forgotten"):
        pipeline = Pipeline(model, artifact.manifest)
        if name != "plain":
            teaching = Teaching.of(artifact, pipeline, tmp_path, "room")
        if name == "forgotten":
            for label in ("sad", "happy", "angry"):
                for number in range(3):
                    embedding = np.full(artifact.manifest.embedding.dimensions, number, np.float32)
                    teaching._teacher.said(f"{label}{number}", 0.0, embedding, np.full(7, 1 / 7, np.float32))
                    teaching._teacher.teach(f"{label}{number}", label)
            assert teaching._forget(b'{"event_id": "all"}') is None
        blocks = timed_blocks(read_recording(RECORDING), started_at=0.0)
        heard[name] = [pipeline.process(block).probs for block in blocks]
    for name in ("untaught", "forgotten"):
        for one, other in zip(heard["plain"], heard[name], strict=True):
            assert (one is None) == (other is None)
            assert one is None or one.tobytes() == other.tobytes()


def test_too_many_at_once_are_ignored_and_bounded(told, monkeypatch):
    teaching, published = told
    now_s = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s)
    teaching._filled_s = now_s
    payload = b'{"event_id": "a", "label": "sad"}'
    answers = [teaching.commands["teach"](payload) for _ in range(200)]
    assert answers.count(None) == len(published) == MOST_AT_ONCE
    assert len(set(answers)) == 2
    now_s += 60.0
    assert teaching.commands["teach"](payload) is None


def test_a_lesson_that_waited_too_long_is_not_taken(told):
    teaching, published = told
    for age_s, done in ((STALE_S + 5, False), (0, True), (-3_600, True)):  # a clock that is ahead is no fault
        ts = rfc3339(time.time() - age_s)
        why = teaching.commands["teach"](json.dumps({"event_id": "last", "label": "sad", "ts": ts}).encode())
        assert published[-1].answer.done is done
        assert why == (None if done else f"refused: {published[-1].answer.reason}")


def test_where_nobody_spoke_there_is_nothing_to_teach_and_that_is_the_reason(told):
    teaching, published = told
    pipeline = SimpleNamespace(embedding=embedding_of("sad", 0), own_probs=PROBS)
    common = {"previous": "sad", "confidence": 0.0, "previous_duration_ms": 1_000, "seq": 1, "model": "model-1"}
    quiet = Event(event_id="q", event_type="quiet", ts=rfc3339(1_000_000.0), **common)
    teaching.hear(quiet, pipeline)
    for name in ("q", quiet.ts):
        teaching.commands["teach"](json.dumps({"event_id": name, "label": "sad"}).encode())
        assert published[-1].answer.reason == "at that change nobody spoke any more: name the one before it, to a label"
    for name, reason in (("a", None), ("b", "not among the last 500 changes that the sensor heard since its start")):
        teaching.commands["teach"](json.dumps({"event_id": name, "label": "sad"}).encode())
        assert published[-1].answer.reason == reason


TEXTS = st.text(max_size=80)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.lists(TEXTS, max_size=3)
OBJECTS = st.dictionaries(st.sampled_from(["event_id", "label", "ts", "x"]) | TEXTS, VALUES, max_size=5)
KNOWN = st.sampled_from(["a", "last", "all", *LABELS, "quiet", "unknown"])
ALMOST = st.fixed_dictionaries(
    {"event_id": TEXTS | KNOWN, "label": TEXTS | KNOWN},
    optional={"ts": TEXTS | st.sampled_from(["0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999999999Z"])},
)
HOSTILE = st.binary(max_size=400) | (OBJECTS | ALMOST).map(json.dumps).map(str.encode) | st.sampled_from(
    [b"[" * LONGEST_BYTES, b'{"event_id":' * 80, b" " * (LONGEST_BYTES + 1), b'{"event_id": "a", "label": "sad"}\xff',
     b'{"event_id": "\\ud800", "label": "sad"}', b'{"event_id": "a", "label": "\\u0000"}']
)  # fmt: skip


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_payloads_teach_nothing_but_events_and_labels(told, monkeypatch, count):
    teaching, published = told
    monkeypatch.setattr(module, "MOST_AT_ONCE", 1e9)  # so that every one is looked at
    teaching._left = 1e9

    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["teach", "forget"]), HOSTILE)
    def fire(topic, payload):
        before = len(published)
        why = teaching.commands[topic](payload)
        answered = why is None or why.startswith("refused: ")
        assert answered == (len(published) == before + 1)
        for lesson in teaching._teacher.lessons:
            assert lesson.event_id == "a"
            assert lesson.label in LABELS

    fire()


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_flood_on_the_wire_is_counted_and_answered_within_bounds(broker, tmp_path, count):
    sound = to_int16(load_recording(RECORDING))[: 12 * 16_000].tobytes()
    with (
        Subscriber(broker.port) as watcher,
        Daemon(tmp_path, broker.port, edge={"health_interval_s": 1}, recording="-", stdin=subprocess.PIPE) as daemon,
    ):
        daemon.process.stdin.write(sound)
        daemon.process.stdin.flush()
        watcher.wait_for(lambda w: spoken(w))
        event_id = spoken(watcher)[0]["event_id"]
        sender = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        sender.connect(HOST, broker.port)
        sender.loop_start()
        payloads = [json.dumps({"event_id": event_id, "label": label}) for label in ("sad", "happy")]
        payloads += ["", "{}", "\x00", json.dumps({"event_id": "last", "label": "nobody's"})]
        last = [sender.publish("roomtone/room/teach", payloads[number % 6], qos=1) for number in range(count)][-1]
        last.wait_for_publish(PATIENCE_S)
        sender.loop_stop()
        known = len(spoken(watcher))
        daemon.process.stdin.write(sound)  # health is told while it hears; and it goes on hearing
        daemon.process.stdin.flush()
        watcher.wait_for(lambda w: len(spoken(w)) > known)
        pid = daemon.process.pid
        ends_s = time.monotonic() + TEN_SECONDS
        worked_s = cpu_s(pid)
        while (left_s := ends_s - time.monotonic()) > 0:
            time.sleep(left_s)
        assert cpu_s(pid) - worked_s < 0.05 * TEN_SECONDS  # of its own time: what else the machine does is not in it
        assert said(watcher)["count"] <= 1
        daemon.process.stdin.close()
        # In the middle of a flood the last events may lack their acknowledgement: they are kept, and that is said (69).
        assert daemon.process.wait(PATIENCE_S) in (0, 69)
        assert "Traceback" not in daemon.log
        assert len(watcher.on("lessons")) <= MOST_AT_ONCE + (time.time() - daemon.began_at) / EVERY_S + 1


def test_off_does_not_wait_behind_a_flood(broker, tmp_path):
    flood = 5_000
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:
        watcher.wait_for(lambda w: w.on("state") and w.on("state")[-1].json["microphone"] == "ok")
        sender = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        sender.connect(HOST, broker.port)
        sender.loop_start()
        for _ in range(flood):
            sender.publish("roomtone/room/teach", b'{"event_id": "last", "label": "sad"}', qos=1)
        sender.publish("roomtone/room/listening/set", b"OFF", qos=1).wait_for_publish(PATIENCE_S)
        sender.disconnect()
        sender.loop_stop()
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "off")
        watcher.wait_for(lambda w: w.on("health")[-1].json["microphone"]["state"] == "off")
        # As it closed, most of the flood was still to be read.
        assert watcher.on("health")[-1].json["ignored_commands"] < flood / 2
        assert json.loads((daemon.state / "listening-room.json").read_text())["listening"] == "OFF"


def test_lessons_and_hearing_meet_on_two_threads(told):
    teaching, _ = told
    stop = threading.Event()

    def hear() -> None:
        number = 0
        while not stop.is_set():
            teaching._teacher.said(str(number), 0.0, embedding_of("happy", number), PROBS)
            teaching._teacher.ended(embedding_of("happy", number), PROBS)
            number += 1

    hearing = threading.Thread(target=hear)
    hearing.start()
    try:
        for _ in range(200):
            teaching._left = 10.0
            assert teaching.commands["teach"](b'{"event_id": "last", "label": "happy"}') is None
    finally:
        stop.set()
        hearing.join()
    taught = [lesson.event_id for lesson in teaching._teacher.lessons]
    assert 0 < len(set(taught)) == len(taught)
