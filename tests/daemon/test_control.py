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
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT, chirp
from tests.support.subscriber import Subscriber

DEAF = {"audio": {"microphone": "No Such Device"}}
WATCHDOG_S = 4.0
TROUBLES = ("no microphone", "no broker", "frozen broker")


class Notified:
    """systemd's end of the socket: what the sensor says of itself, oldest first."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self.said: list[str] = []

    def listen(self, seconds: float) -> list[str]:
        """Return what comes in so many seconds."""
        deadline_s = time.monotonic() + seconds
        heard: list[str] = []
        while (left_s := deadline_s - time.monotonic()) > 0 and (message := self._receive(left_s)) is not None:
            heard.append(message)
        return heard

    def until(self, wanted: str) -> None:
        """Take what comes until it holds what is wanted."""
        wait_until(lambda: wanted in (self._receive(1.0) or ""), lambda: f"{wanted} in {self.said}")

    def _receive(self, within_s: float) -> str | None:
        self._socket.settimeout(within_s)
        try:
            self.said.append(self._socket.recv(10_000).decode())
        except TimeoutError:
            return None
        return self.said[-1]

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
        notified.until("READY=1")
        yield process, notified
    finally:
        process.kill()
        process.wait()


def configure(folder: Path, port: int, edge: dict) -> None:
    settings = {"mqtt": {"host": HOST, "port": port}, "state_folder": str(folder / "state"), **edge}
    (folder / "config.yaml").write_text(yaml.safe_dump({"edge": settings}))


def log_of(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")


def speech() -> bytes:
    return (chirp(seconds=2.0) * 32_767).astype("<i2").tobytes()


def leaves(process: subprocess.Popen) -> float:
    """Send SIGTERM and return how long it took to end well."""
    began_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    return time.monotonic() - began_s


def left_after_s(tmp_path: Path, case: str) -> float:
    """Return how long a sensor in trouble takes to end well."""
    with Broker(tmp_path / "broker") as broker:
        port = free_port() if case == "no broker" else broker.port
        switched(tmp_path / "state", "ON")  # else it waits for the broker before it looks for a microphone
        with sensor(tmp_path, port, edge=DEAF) as (process, notified):
            notified.until("No Such Device")
            if case == "frozen broker":
                if not any(": connected" in message for message in notified.said):
                    notified.until(": connected")
                broker.freeze()
            took_s = leaves(process)
            if case == "frozen broker":
                broker.thaw()
    return took_s


@pytest.mark.parametrize("case", TROUBLES)
def test_sigterm_is_obeyed_whatever_is_missing(tmp_path, case):
    assert left_after_s(tmp_path, case) > 0  # and its status is 0; how soon: tests/bench/promptness.py


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
            wait_until(lambda: says in log_of(tmp_path), says)  # noqa: B023
        assert process.poll() is None
        assert log_of(tmp_path).count("not reloaded") == 3
        assert "Traceback" not in log_of(tmp_path)
        configure(tmp_path, broker.port, {**DEAF, "device": {"id": "renamed"}})
        process.send_signal(signal.SIGHUP)
        notified.until("RELOADING=1")
        notified.until("READY=1")
        with Subscriber(broker.port, "roomtone/renamed/#") as renamed:
            renamed.wait_for(lambda w: any(m.topic == "roomtone/renamed/state" for m in w.messages))
        assert not any(message.startswith("STOPPING") for message in notified.said)
        leaves(process)


def test_quiet_hours_close_the_ears_and_say_so(tmp_path, broker):
    now = datetime.now(UTC)
    hours = {"start": f"{now - timedelta(hours=1):%H:%M}", "end": f"{now + timedelta(hours=1):%H:%M}"}
    with Subscriber(broker.port) as watcher, sensor(tmp_path, broker.port, edge={"quiet_hours": hours}) as (
        _, notified,
    ):  # fmt: skip
        notified.until("STATUS=these are quiet hours")
        watcher.wait_for(lambda w: any(m.json["microphone"] == "quiet-hours" for m in w.on("state")))
        notified.until("WATCHDOG=1")


def test_without_a_microphone_the_watchdog_goes_on_and_status_says_why(tmp_path, broker):
    with sensor(tmp_path, broker.port, edge=DEAF) as (_, notified):
        notified.until("No Such Device")
        for _ in range(3):
            notified.until("WATCHDOG=1")


@pytest.mark.parametrize("blocked", ["source", "process"])
def test_a_loop_that_is_blocked_does_not_feed_the_watchdog(tmp_path, broker, blocked):
    with sensor(tmp_path, broker.port, source="-") as (process, notified):
        process.stdin.write(speech())
        process.stdin.flush()
        notified.until("WATCHDOG=1")
        if blocked == "process":
            process.send_signal(signal.SIGSTOP)
        # Nothing comes through the pipe any more, or the process stands still: as soon as what it was given is heard,
        # there is not one word for longer than a period.
        wait_until(lambda: "WATCHDOG=1" not in notified.listen(1.5 * WATCHDOG_S))
        if blocked == "process":
            process.send_signal(signal.SIGCONT)
        process.stdin.write(speech())
        process.stdin.flush()
        notified.until("WATCHDOG=1")


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
        cwd=ROOT, env={**os.environ, "NOTIFY_SOCKET": str(notified.path)}, capture_output=True, text=True,
        timeout=PATIENCE_S,
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
        watcher.wait_for(lambda w: any(m.json["microphone"] == kind for m in w.on("state")))
        watcher.wait_for(lambda w: any(m.json["microphone"]["state"] == kind for m in w.on("health")))
        notified.until(f"STATUS={REASONS[kind].words}")
        process.stdin.write(2 * speech())
        process.stdin.flush()
        watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "ok")
        process.stdin.close()
        watcher.wait_for(lambda w: w.on("status")[-1].payload == "offline")
    assert log_of(tmp_path).count("microphone: the microphone") == 1  # said once
    # As the contract has it: there nobody listened, and what is told says so everywhere, from where it began.
    states = [message.json for message in watcher.on("state")]
    deaf = [state for state in states if state["microphone"] == kind]
    assert {(state["emotion"], state["confidence"]) for state in deaf} == {("quiet", 0.0)}
    assert len({state["since"] for state in deaf}) == 1
    runs = watcher.on("timeline")[-1].json["runs"]
    (run,) = [run for run in runs if run[1:] == ["quiet", 0.0]]
    assert run[0] == deaf[0]["since"]
    assert {state["since"] for state in states if state["microphone"] != "starting"} <= {run[0] for run in runs}


def test_a_microphone_that_stays_away_ends_the_sensor_for_its_supervisor(tmp_path, broker):
    configure(tmp_path, broker.port, {"audio": {**DEAF["audio"], "give_up_after_s": 1.5}})
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--config", str(tmp_path / "config.yaml"), "run"],
        cwd=ROOT, env={**os.environ, "PULSE_SERVER": "unix:/nowhere"}, capture_output=True, text=True,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 69, done.stderr
    assert "roomtone: microphone: no sound for" in done.stderr
    assert "Traceback" not in done.stderr
