"""What people and systemd do to a running sensor: signals, quiet hours, and a watchdog at the end of a real socket."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from edge.sound.faults import REASONS
from tests.support.broker import HOST, Broker, free_port
from tests.support.daemon import switched
from tests.support.sounds import ROOT, chirp
from tests.support.subscriber import Subscriber

DEAF = {"audio": {"microphone": "No Such Device"}}
WATCHDOG_S = 4.0


class Notified:
    """systemd's end of the socket: what the sensor says of itself, with the time of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.said: list[tuple[float, str]] = []

    def listen(self, seconds: float, until: str | None = None) -> list[str]:
        """Take what comes in so many seconds, or until something said holds `until`; return that."""
        deadline_s = time.monotonic() + seconds
        heard: list[str] = []
        while (left_s := deadline_s - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                message = self._socket.recv(10_000).decode()
            except TimeoutError:
                break
            self.said.append((time.monotonic(), message))
            heard.append(message)
            if until is not None and until in message:
                return heard
        assert until is None, f"no {until} within {seconds:.0f} s in {[message for _, message in self.said]}"
        return heard

    def drain(self) -> None:
        """Forget what has come so far."""
        self._socket.setblocking(False)
        while True:
            try:
                self._socket.recv(10_000)
            except BlockingIOError:
                return


@contextmanager
def sensor(folder: Path, port: int, *, edge: dict | None = None, source: str | None = None, **environment: str):
    """A running sensor and what it tells systemd, after READY."""
    notified = Notified(folder)
    configure(folder, port, edge or {})
    command = [sys.executable, "-m", "edge", "--config", str(folder / "config.yaml"), "run"]
    process = subprocess.Popen(
        [*command, *(["--input", source] if source else [])],
        cwd=ROOT, stdin=subprocess.PIPE, stderr=(folder / "log").open("wb"),
        env={**os.environ, "NOTIFY_SOCKET": str(notified.path), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
             "HOME": str(folder), "PULSE_SERVER": "unix:/nowhere", **environment},
    )  # fmt: skip
    try:
        notified.listen(60, until="READY=1")
        yield process, notified
    finally:
        process.kill()
        process.wait()


def configure(folder: Path, port: int, edge: dict) -> None:
    settings = {"mqtt": {"host": HOST, "port": port}, "state_folder": str(folder / "state"), **edge}
    (folder / "config.yaml").write_text(yaml.safe_dump({"edge": settings}))


def log_of(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")


def wait_for(condition, what: str, seconds: float = 15.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def speech() -> bytes:
    return (chirp(seconds=2.0) * 32_767).astype("<i2").tobytes()


def leaves(process: subprocess.Popen) -> float:
    """Send SIGTERM and return how long it took to end well."""
    began_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    return time.monotonic() - began_s


# What a second of a Pi's time may be on a crowded machine of tests: the sensor's own waiting is what is limited.
LEAVES_S = 2.0 * (3.0 if os.environ.get("CI") else 1.0)


@pytest.mark.parametrize("case", ["no microphone", "no broker", "frozen broker"])
def test_sigterm_leaves_within_two_seconds(tmp_path, case):
    with Broker(tmp_path / "broker") as broker:
        port = free_port() if case == "no broker" else broker.port
        switched(tmp_path / "state", "ON")  # else it waits for the broker before it looks for a microphone
        with sensor(tmp_path, port, edge=DEAF) as (process, notified):
            notified.listen(15, until="No Such Device")
            if case == "frozen broker":
                if not any(": connected" in message for _, message in notified.said):
                    notified.listen(15, until=": connected")
                broker._process.send_signal(signal.SIGSTOP)
            took_s = leaves(process)
            if case == "frozen broker":
                broker._process.send_signal(signal.SIGCONT)
    print(f"{case}: {took_s:.2f} s")
    assert took_s < LEAVES_S


def test_a_signal_changes_the_configuration_and_a_bad_one_is_refused(tmp_path, broker):
    with Subscriber(broker.port) as watcher, sensor(tmp_path, broker.port, edge=DEAF) as (process, notified):
        watcher.wait_for(lambda w: w.on("state"))
        for bad, says in (
            ({"mqtt": {"host": HOST, "port": "abc"}}, "edge.mqtt.port: expected int"),
            ({"model": "nowhere.tflite"}, "nowhere.tflite: no such model file"),
            ({"quiet_hours": {"start": "22:00", "end": "07:00", "time_zone": "Mars/Olympus"}}, "unknown time zone"),
        ):
            configure(tmp_path, broker.port, bad)
            process.send_signal(signal.SIGHUP)
            wait_for(lambda: says in log_of(tmp_path), says)  # noqa: B023
        assert process.poll() is None
        assert log_of(tmp_path).count("not reloaded") == 3
        assert "Traceback" not in log_of(tmp_path)
        configure(tmp_path, broker.port, {**DEAF, "device": {"id": "renamed"}})
        process.send_signal(signal.SIGHUP)
        notified.listen(15, until="RELOADING=1")
        notified.listen(15, until="READY=1")
        with Subscriber(broker.port, "roomtone/renamed/#") as renamed:
            renamed.wait_for(lambda w: any(m.topic == "roomtone/renamed/state" for m in w.messages))
        assert not any(message.startswith("STOPPING") for _, message in notified.said)
        assert leaves(process) < LEAVES_S


def test_quiet_hours_close_the_ears_and_say_so(tmp_path, broker):
    now = datetime.now(UTC)
    hours = {"start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=1):%H:%M}"}
    with Subscriber(broker.port) as watcher, sensor(tmp_path, broker.port, edge={"quiet_hours": hours}) as (
        _, notified,
    ):  # fmt: skip
        notified.listen(15, until="STATUS=these are quiet hours")
        watcher.wait_for(lambda w: any(m.json["microphone"] == "quiet-hours" for m in w.on("state")))
        assert any(message == "WATCHDOG=1" for message in notified.listen(WATCHDOG_S))


def test_without_a_microphone_the_watchdog_goes_on_and_status_says_why(tmp_path, broker):
    with sensor(tmp_path, broker.port, edge=DEAF) as (_, notified):
        notified.listen(15, until="No Such Device")
        began_s = time.monotonic()
        assert notified.listen(2.5 * WATCHDOG_S).count("WATCHDOG=1") >= 3, time.monotonic() - began_s


@pytest.mark.parametrize("blocked", ["source", "process"])
def test_a_loop_that_is_blocked_does_not_feed_the_watchdog(tmp_path, broker, blocked):
    with sensor(tmp_path, broker.port, source="-") as (process, notified):
        process.stdin.write(speech())
        process.stdin.flush()
        notified.listen(15, until="WATCHDOG=1")
        if blocked == "process":
            process.send_signal(signal.SIGSTOP)
        notified.listen(1.0)
        # Nothing comes through the pipe any more, or the process stands still: not one word for longer than a period.
        assert "WATCHDOG=1" not in notified.listen(1.5 * WATCHDOG_S)
        if blocked == "process":
            process.send_signal(signal.SIGCONT)
        process.stdin.write(speech())
        process.stdin.flush()
        notified.listen(15, until="WATCHDOG=1")


def test_ready_comes_only_after_the_golden_replay(tmp_path, broker):
    """An artifact whose golden sound gives other probabilities: it refuses to start, and READY was never said."""
    import msgspec

    from edge.model.artifact import DEFAULT_MODEL, read_artifact, write_artifact

    found = read_artifact(DEFAULT_MODEL)
    golden = found.manifest.golden
    wrong = msgspec.structs.replace(golden, probs=[list(reversed(row)) for row in golden.probs])
    write_artifact(tmp_path / "wrong.tflite", found.graph, msgspec.structs.replace(found.manifest, golden=wrong))
    configure(tmp_path, broker.port, {**DEAF, "model": str(tmp_path / "wrong.tflite")})
    notified = Notified(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(tmp_path / "config.yaml"), "run"],
        cwd=ROOT, env={**os.environ, "NOTIFY_SOCKET": str(notified.path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 65, done.stderr
    assert "golden replay" in done.stderr
    assert notified.listen(0.2) == []


@pytest.mark.parametrize("kind", ["zeros", "constant", "clipped"])
def test_sound_without_worth_is_a_state_of_the_microphone(tmp_path, broker, kind):
    seconds = 14.0
    samples = round(seconds * 16_000)
    sound = {
        "zeros": np.zeros(samples),
        "constant": np.full(samples, 700.0),
        "clipped": np.clip(60_000 * np.sin(np.arange(samples) / 20), -32_768, 32_767),
    }[kind].astype("<i2")
    with Subscriber(broker.port) as watcher, sensor(tmp_path, broker.port, source="-") as (process, notified):
        process.stdin.write(sound.tobytes())
        process.stdin.flush()
        watcher.wait_for(lambda w: any(m.json["microphone"] == kind for m in w.on("state")), timeout_s=20)
        watcher.wait_for(lambda w: any(m.json["microphone"]["state"] == kind for m in w.on("health")), timeout_s=20)
        notified.listen(15, until=f"STATUS={REASONS[kind].words}")
        process.stdin.write(speech())
        process.stdin.flush()
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "ok", timeout_s=20)
    assert log_of(tmp_path).count("microphone: the microphone") == 1  # said once


def test_a_microphone_that_stays_away_ends_the_sensor_for_its_supervisor(tmp_path, broker):
    configure(tmp_path, broker.port, {"audio": {**DEAF["audio"], "give_up_after_s": 1.5}})
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(tmp_path / "config.yaml"), "run"],
        cwd=ROOT, env={**os.environ, "PULSE_SERVER": "unix:/nowhere"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 69, done.stderr
    assert "roomtone: microphone: no sound for" in done.stderr
    assert "Traceback" not in done.stderr
