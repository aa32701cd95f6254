"""`roomtone watch` on a pseudo-terminal and in a pipe, fed by mosquitto's own client."""

import json
import os
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from edge.commands.rooms import Message, Rooms
from edge.sound.faults import explain
from edge.voice.payloads import Event, Health, Microphone, Percentiles, State, rfc3339
from tests.support.broker import free_port
from tests.support.daemon import Daemon
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.terminal import Terminal


def state(emotion: str = "happy", confidence: float = 0.82, microphone: str = "ok", age_s: float = 0.0) -> bytes:
    return msgspec.json.encode(
        State(
            ts=rfc3339(time.time() - age_s),
            emotion=emotion,
            confidence=confidence,
            since=rfc3339(time.time() - age_s),
            scores={emotion: confidence},
            speech_ratio=0.5,
            snr_db=12.0,
            level_dbfs=-30.0,
            clipped_ratio=0.0,
            microphone=microphone,
            model="test-1",
            seq=1,
        )
    )


def event(number: int, *, late: bool) -> bytes:
    return msgspec.json.encode(
        Event(
            event_id=f"e{number}",
            event_type="happy",
            ts=rfc3339(time.time()),
            previous="quiet",
            confidence=0.5,
            previous_duration_ms=1,
            late=late,
            seq=number,
            model="test-1",
        )
    )


def health(microphone: Microphone) -> bytes:
    return msgspec.json.encode(
        Health(
            ts=rfc3339(time.time()),
            version="1",
            uptime_s=1.0,
            cpu_ratio=0.1,
            rss_mb=90.0,
            temperature_c=None,
            realtime_factor=0.1,
            dropped_blocks=0,
            inference_ms=Percentiles(),
            latency_ms=Percentiles(),
            outbox_depth=0,
            reconnects=0,
            microphone=microphone,
        )
    )


def faulty(reason: str) -> Microphone:
    return Microphone(state=reason, detail=explain(reason))


def publish(port: int, topic: str, payload: bytes, *, retain: bool = True) -> None:
    command = ["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic, "-s", *(["-r"] if retain else [])]
    subprocess.run(command, input=payload, check=True)


def watch(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "watch", "--host", "127.0.0.1", "--port", str(port), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S)


def test_sensors_live_in_a_terminal(broker):
    publish(broker.port, "roomtone/attic/status", b"online")
    publish(broker.port, "roomtone/attic/state", state("happy", 0.82))
    publish(broker.port, "roomtone/cellar/state", state("quiet", 1.0, microphone="absent", age_s=3_600))
    publish(broker.port, "roomtone/cellar/health", health(Microphone(state="absent", detail="nothing plugged in")))
    publish(broker.port, "roomtone/cellar/status", b"offline")
    with Terminal("watch", "--host", "127.0.0.1", "--port", str(broker.port)) as terminal:
        terminal.wait_for(r"attic +│ happy +│ ━+.* 82% +│ ok +│ +\d+ s │ +- │")
        terminal.wait_for(r"cellar +│ offline +│ - +│ absent +│ +60 min")
        publish(broker.port, "roomtone/cellar/status", b"online")
        terminal.wait_for(r"cellar +│ deaf +│ - +│ absent +│ +60 min")
        terminal.wait_for("cellar: nothing plugged in")
        publish(broker.port, "roomtone/attic/state", state("angry", 0.61))
        publish(broker.port, "roomtone/attic/event", event(1, late=True), retain=False)
        publish(broker.port, "roomtone/attic/event", event(2, late=False), retain=False)
        terminal.wait_for(r"attic +│ angry +│ .* 61% +│ ok +│ +\d+ s │ +1 │")
        publish(broker.port, "roomtone/attic/listening", b"OFF")
        terminal.wait_for(r"attic +│ off +│ - +│ off")
        broker.kill()
        terminal.wait_for("connection (lost|refused)")
        broker.start()
        publish(broker.port, "roomtone/attic/state", state("sad", 0.7))
        publish(broker.port, "roomtone/attic/listening", b"ON")
        terminal.wait_for(r"attic +│ sad ")
        terminal.process.send_signal(signal.SIGINT)
        while terminal.read(2.0):
            pass
        assert terminal.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in terminal.text


def test_log_lines_leave_no_dead_tables_behind(broker):
    """They stand above the one table, which is drawn over and over: a screen shows a single head."""
    publish(broker.port, "roomtone/attic/state", state("happy", 0.82))
    with Terminal("watch", "--host", "127.0.0.1", "--port", str(broker.port)) as terminal:
        terminal.wait_for(r"attic +│ happy ")
        for label in ("fear", "sad"):
            broker.kill()
            terminal.wait_for("trying again")
            broker.start()
            publish(broker.port, "roomtone/attic/state", state(label, 0.7))
            terminal.wait_for(rf"attic +│ {label} ")
        screen = "\n".join(terminal.screen())
        assert screen.count("emotion") == 1, screen
        assert "trying again" in screen


@pytest.mark.parametrize("microphone", ["off", "quiet-hours"])
def test_off_on_purpose_is_off_and_no_quiet_room(broker, microphone):
    publish(broker.port, "roomtone/attic/state", state("quiet", 0.0, microphone=microphone))
    done = watch(broker.port, "--once")
    assert "off" in done.stdout
    assert "quiet " not in done.stdout
    assert "0%" not in done.stdout


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("env", [ASCII, {"TERM": "dumb"}])
def test_a_plain_terminal_still_tells(broker, env):
    publish(broker.port, "roomtone/attic/state", state("happy", 0.82))
    with Terminal("watch", "--host", "127.0.0.1", "--port", str(broker.port), columns=80, env=env) as terminal:
        terminal.wait_for(r"attic.*happy.*82%")
        publish(broker.port, "roomtone/attic/state", state("sad", 0.61))
        terminal.wait_for(r"attic.*sad.*61%")


def test_in_a_pipe_a_line_is_printed_where_something_is_new(broker):
    command = [sys.executable, "-m", "edge", "watch", "--host", "127.0.0.1", "--port", str(broker.port)]
    publish(broker.port, "roomtone/attic/state", state("quiet", 0.0))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        try:
            lines = [process.stdout.readline()]  # it listens
            for label in ("happy", "sad"):
                publish(broker.port, "roomtone/attic/event", event(1, late=False), retain=False)
                publish(broker.port, "roomtone/attic/state", state(label, 0.5))
                publish(broker.port, "roomtone/attic/state", state(label, 0.5))
                publish(broker.port, "roomtone/attic/health", health(Microphone(state="ok")))
                publish(broker.port, "roomtone/loft/state", b"nonsense")
            publish(broker.port, "roomtone/attic/status", b"offline")
            lines += [process.stdout.readline() for _ in range(3)]
        finally:
            process.kill()
    told = [line.split("  ")[:2] for line in lines]
    assert told == [["attic", "quiet 0%"], ["attic", "happy 50%"], ["attic", "sad 50%"], ["attic", "offline"]]
    assert lines[-1].endswith("offline\n")


def test_a_fault_is_said_once_and_whole_words_stay_whole_on_a_narrow_terminal(broker):
    publish(broker.port, "roomtone/living-room/status", b"online")
    publish(broker.port, "roomtone/living-room/state", state("quiet", 0.0, microphone="rate-refused"))
    publish(broker.port, "roomtone/living-room/health", health(faulty("rate-refused")))
    done = subprocess.run(
        [sys.executable, "-m", "edge", "watch", "--host", "127.0.0.1", "--port", str(broker.port), "--once"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "COLUMNS": "80"}, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "microphone" in done.stdout.splitlines()[1]
    assert any(line.split()[1:8:2] == ["living-room", "deaf", "-", "rate-refused"] for line in done.stdout.splitlines())
    assert f"living-room: {explain('rate-refused')}" in " ".join(done.stdout.split())
    assert "0%" not in done.stdout
    assert len(done.stdout.splitlines()) <= 7
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_in_a_pipe_a_fault_s_words_come_once(broker):
    command = [sys.executable, "-m", "edge", "watch", "--host", "127.0.0.1", "--port", str(broker.port)]
    publish(broker.port, "roomtone/attic/state", state("quiet", 0.0, microphone="absent"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        try:
            lines = [process.stdout.readline()]
            for word in (b"online", b"offline", b"online"):
                publish(broker.port, "roomtone/attic/health", health(faulty("absent")))
                publish(broker.port, "roomtone/attic/status", word)
            lines += [process.stdout.readline() for _ in range(4)]
        finally:
            process.kill()
    assert [line for line in lines if explain("absent") in line] == [f"attic: {explain('absent')}\n"]
    heard = [line.split("  ")[1] for line in lines if explain("absent") not in line]
    assert heard == ["deaf", "deaf", "offline", "deaf"]


def test_once_prints_what_is_retained_and_ends(broker):
    publish(broker.port, "roomtone/attic/state", state("fear", 0.5))
    done = watch(broker.port, "--once")
    assert done.returncode == 0
    assert "attic" in done.stdout
    assert "fear" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_lines_for_pipes(broker):
    publish(broker.port, "roomtone/attic/status", b"online")
    publish(broker.port, "roomtone/attic/state", state("fear", 0.5))
    publish(broker.port, "roomtone/attic/health", b"\xff not json")
    lines = [json.loads(line) for line in watch(broker.port, "--once", "--json").stdout.splitlines()]
    told = {line["kind"]: line for line in lines}
    assert told["status"] == {"device": "attic", "kind": "status", "retained": True, "payload": "online"}
    assert told["state"]["payload"]["emotion"] == "fear"
    assert told["health"]["payload"] == "\N{REPLACEMENT CHARACTER} not json"


def test_no_broker_is_one_line_and_69():
    done = watch(free_port(), "--once")
    assert done.returncode == 69
    assert "connection refused" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"\xff", b'{"emotion": 5}', b'{"ts": "\\u001b[2J"}', b"null", b"1" * 1_000,
     b'{"x":' + b"[" * 5_000],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["state", "event", "health", "status", "listening"])
def test_rubbish_changes_nothing(kind, payload):
    rooms = Rooms()
    rooms.hear(Message("attic", "state", state("happy"), True))
    rooms.hear(Message("attic", kind, payload, False))
    rooms.table(time.time())
    assert rooms.ignored == (0 if payload == b"" and kind != "event" else 1)


def test_a_payload_cannot_steer_the_terminal(broker):
    publish(broker.port, "roomtone/attic/state", state("\x1b[2J\x07happy[red]", 0.5))
    publish(broker.port, "roomtone/cellar/state", state(microphone="\x1b]0;x\x07"))
    publish(broker.port, "roomtone/cellar/health", health(Microphone(state="\x1b]0;x\x07", detail="\x1b[2Jno")))
    done = watch(broker.port, "--once")
    assert "\x1b" not in done.stdout
    assert "?[2J?happy[red]" in done.stdout
    assert "cellar: ?[2Jno" in done.stdout


def test_the_broker_of_the_sensor_that_runs_here_is_found_where_its_port_was_taken(tmp_path, broker):
    """Somebody's broker has the port: the sensor's own takes the next, and whoever asks the sensor's asks that one."""
    publish(broker.port, "roomtone/neighbour/status", b"online")
    publish(broker.port, "roomtone/neighbour/state", state())
    mqtt = {"host": "embedded", "websockets_port": free_port()}
    edge = {"audio": {"microphone": "No Such Device"}, "device": {"id": "hall"}}

    def asked(*command: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "edge", "--config", str(tmp_path / "config.yaml"), *command]
        return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S)

    with Daemon(tmp_path, broker.port, recording=None, mqtt=mqtt, edge=edge) as daemon:
        daemon.wait_for_log(r"in a terminal: roomtone watch --port \d+")
        port = int(daemon.log.partition("roomtone watch --port ")[2].split()[0])
        assert port > broker.port
        wait_until(lambda: "hall" in asked("watch", "--once").stdout)
        shown = asked("watch", "--once")
        assert "neighbour" not in shown.stdout
        assert "whichever broker" not in shown.stderr
        assert f"broker: embedded, runs on port {port} (`roomtone watch`)" in asked("check").stdout
        assert f"broker: embedded, runs on port {port} (`roomtone watch`)" in asked("doctor").stdout
    after = asked("watch", "--once")
    assert "neighbour" in after.stdout
    assert "no sensor with a broker of its own runs here: asking whichever broker is this machine's" in after.stderr
    assert "broker: embedded, comes and goes with `roomtone run`" in asked("check").stdout
