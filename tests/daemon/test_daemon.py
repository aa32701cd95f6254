"""The sensor as a process: killed, traced, on bad disks, with a clock that jumps, before brokers of every kind."""

import os
import random
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import soundfile

from edge.commands.demo import RECORDING
from edge.delivery.outbox import COMMIT_AFTER_S
from tests.delivery.test_nothing_is_lost import DURABLE, events, first_heard, forgetful_of_nothing
from tests.support.broker import HOST, Broker
from tests.support.certificates import Authority
from tests.support.clock import stepping_clock
from tests.support.daemon import Daemon, switched
from tests.support.patience import PATIENCE_S, wait_until
from tests.support.sounds import ROOT
from tests.support.subscriber import Subscriber
from tests.support.system import require_program

# The sensor fed faster than real time, which says on standard output which events it has made, when its outbox took
# them, and when that looked for what to commit: only a test may do that.
TALKATIVE = """
import sys, time
from edge.sound.recording import read_stream; from edge.sound.blocks import timed_blocks
from edge.config import load_edge
from edge.daemon.kept import durable_outbox
from edge.daemon.run import sense
from edge.daemon.stopping import stop_signal
config = load_edge(sys.argv[1])

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

outbox = durable_outbox(config)
add, tick = outbox.add, outbox.tick

def talkative_add(event, made_s):
    add(event, made_s)
    say("taken", event.event_id, made_s)

def talkative_tick(now_s):
    tick(now_s)
    say("committed", now_s)

outbox.add, outbox.tick = talkative_add, talkative_tick
with stop_signal() as stopping:
    blocks = timed_blocks(read_stream(sys.stdin.buffer, stopping), started_at=time.time())
    sense(config, blocks, stopping=stopping, outbox=outbox,
          on_event=lambda event: say("made", event.event_id, event.seq, time.time()))
"""


def pcm() -> bytes:
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    assert rate == 16_000
    return samples.tobytes()


class Feeder:
    """Pours the recording, over and over, into a program at so many times real time."""

    def __init__(self, process: subprocess.Popen, speed: float, seconds_of_sound: float = 1e9) -> None:
        self._process, self._speed = process, speed
        self._left = round(seconds_of_sound * 32_000)
        self.thread = threading.Thread(target=self._pour, daemon=True)
        self.thread.start()

    def _pour(self) -> None:
        data, chunk = pcm(), 3_200
        began_s, poured = time.monotonic(), 0
        try:
            while poured < self._left:
                at = poured % (len(data) - chunk)
                self._process.stdin.write(data[at : at + chunk])
                poured += chunk
                ahead_s = poured / 32_000 / self._speed - (time.monotonic() - began_s)
                if ahead_s > 0:
                    time.sleep(ahead_s)
            self._process.stdin.close()
        except (BrokenPipeError, ValueError):
            return  # it was killed, as it should be


class TalkativeDaemon:
    """One life of a sensor on `config`, killed at the end.

    `made` are the events it said it had made; `safe` those that were a second old when it last committed: on a busy
    core that is not the same as a second before its end.
    """

    def __init__(self, config: Path, *, speed: float = 10.0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TALKATIVE, str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        self.made: list[tuple[str, int, float]] = []
        self.safe: set[str] = set()
        self._feeder = Feeder(self.process, speed)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        taken: dict[str, float] = {}
        for line in self.process.stdout:
            match line.decode().split():
                case ["made", event_id, seq, at] if line.endswith(b"\n"):
                    self.made.append((event_id, int(seq), float(at)))
                case ["taken", event_id, made_s] if line.endswith(b"\n"):
                    taken[event_id] = float(made_s)
                case ["committed", now_s] if line.endswith(b"\n"):
                    limit_s = float(now_s) - COMMIT_AFTER_S
                    self.safe |= {event_id for event_id, made_s in taken.items() if made_s <= limit_s}

    def end(self, *, kill: bool) -> float:
        """End it, and return when."""
        at = time.time()
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait()
        self._feeder.thread.join()
        self._reader.join()
        return at


def run_lives(tmp_path: Path, lives: int) -> dict[str, float]:
    """Lives of a sensor that end by kill -9 while the broker is away; then one that ends well, with a broker."""
    dice = random.Random(6)
    with Broker(tmp_path / "broker", extra=DURABLE) as broker, forgetful_of_nothing(broker) as watcher:
        config = tmp_path / "config.yaml"
        settings = f"mqtt: {{host: {HOST}, port: {broker.port}}}, device: {{id: attic}}, state_folder: {tmp_path}/state"
        config.write_text(f"edge: {{{settings}}}")
        broker.stop()
        made, promised, ages = [], set(), {}
        for _ in range(lives):
            life = TalkativeDaemon(config)
            wait_until(lambda: life.safe)  # noqa: B023
            time.sleep(dice.uniform(0.0, 4.0))
            ended = life.end(kill=True)
            made += life.made
            promised |= life.safe
            ages |= {event_id: ended - at for event_id, _, at in life.made}
        broker.start()
        last = TalkativeDaemon(config)
        try:
            watcher.wait_for(lambda w: promised <= {event.event_id for event in events(w)})
            wait_until(lambda: last.made)
        finally:
            last.end(kill=False)
        made += last.made
        watcher.wait_for(lambda w: {event_id for event_id, _, _ in last.made} <= {e.event_id for e in events(w)})
        heard = first_heard(events(watcher))
    numbers = [seq for _, seq, _ in made]
    assert numbers == sorted(set(numbers))  # over all lives
    assert [event.seq for event in heard] == sorted(event.seq for event in heard)
    lost = [event_id for event_id, _, _ in made if event_id not in {event.event_id for event in heard}]
    assert set(lost).isdisjoint(promised)
    return {
        "lives": lives,
        "events": len(made),
        "promised": len(promised),
        "lost": len(lost),
        "oldest lost, s": round(max((ages[event_id] for event_id in lost), default=0.0), 2),
    }


def test_a_sensor_that_is_killed_twice_loses_at_most_its_last_second(tmp_path):
    assert run_lives(tmp_path, 2)["promised"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sensor_that_is_killed_ten_times_loses_at_most_its_last_second(tmp_path):
    print("\nten lives:", run_lives(tmp_path, 10))


def test_a_broker_that_goes_is_said_and_nothing_ends(broker, tmp_path):
    switched(tmp_path / "state", "ON")  # else nothing is heard before the broker tells
    with Subscriber(broker.port) as watcher, Daemon(tmp_path, broker.port) as daemon:
        daemon.wait_for_status(": connected")
        watcher.wait_for(lambda w: w.on("state"))  # which may be a moment later
        broker.kill()
        daemon.wait_for_status("connection (lost|refused)")
        daemon.wait_for_log("connection lost")
        daemon.wait_for_status(r"\d+ events wait")
        broker.start()
        daemon.wait_for_status(": connected$")
    with Subscriber(broker.port) as late:
        health = late.wait_for(lambda w: w.on("health"))[0].json
    assert "connection" in health["broker"]["last_problem"]
    assert health["broker"]["problem"] is None
    assert "Traceback" not in daemon.log
    assert daemon.process.returncode == 0
    assert watcher.messages


REASONS = {
    "wrong password": "refused: Not authorized",
    "unknown user": "refused: Not authorized",
    "wrong authority": "its certificate is not accepted: it comes from an authority that is not trusted here",
    "expired": "its certificate is not accepted: it has expired",
    "wrong host name": "it is made out to another name",
    "plain to TLS": "is this a TLS port",
    "TLS to plain": "does not speak TLS on this port",
    "denied": "may not publish roomtone/room/event: Not authorized",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", REASONS)
def test_the_reason_is_on_every_channel(tmp_path, case):
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    secret = tmp_path / "secret"
    secret.write_text("wrong" if case == "wrong password" else "right")
    how, mqtt = {}, {}
    tls = {"ca_file": str((stranger if case == "wrong authority" else authority).ca_file)}
    if case in ("wrong password", "unknown user"):
        how["users"] = {"room": "right"}
        mqtt = {"username": "room" if case == "wrong password" else "nobody", "password_file": str(secret)}
    elif case == "denied":
        how["acl"] = "topic readwrite roomtone/room/status\ntopic readwrite roomtone/room/health\n" + "".join(
            f"topic readwrite roomtone/room/{name}\n" for name in ("state", "timeline", "listening", "lessons")
        )
        how["acl"] += "topic read roomtone/#\n"
    elif case == "TLS to plain":
        mqtt = {"tls": tls}
    else:
        certificate, key = authority.issue(
            "server", expired=case == "expired", host="elsewhere.example" if case == "wrong host name" else HOST
        )
        how.update(certificate=certificate, key=key)
        mqtt = {} if case == "plain to TLS" else {"tls": tls}
    words = re.escape(REASONS[case])
    switched(tmp_path / "state", "ON")
    with Broker(tmp_path / "broker", **how) as broker, Daemon(tmp_path, broker.port, mqtt=mqtt) as daemon:
        daemon.wait_for_status("broker")  # it senses
        if case == "denied":
            with Subscriber(broker.port, "roomtone/room/health") as watcher:
                at_s = daemon.wait_for_log(words)  # with the first event
                took_s = daemon.wait_for_status(words)
                watcher.wait_for(lambda w: any(re.search(words, m.payload) for m in w.on("health")))
                print(f"\n{case}: first event after {at_s:.1f} s; status {took_s:.2f} s later; in health")
        else:
            took_s = daemon.wait_for_log(words), daemon.wait_for_status(words)
            print(f"\n{case}: log {took_s[0]:.2f} s, status {took_s[1]:.2f} s; {daemon.status[-1]}")
        check = subprocess.run(
            [sys.executable, "-m", "edge", "--config", str(tmp_path / "config.yaml"), "check", "--live"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=PATIENCE_S,
        )
        assert daemon.process.poll() is None
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.log + check.stderr


def healthy_sound_traced(tmp_path: Path, seconds_of_sound: float, speed: float) -> dict[str, float]:
    """Trace every system call that names a file while the sensor hears so much sound."""
    require_program("strace", "strace")
    trace = tmp_path / "trace"
    wrapper = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=%file", "-o", str(trace))
    began_s = time.monotonic()
    switched(tmp_path / "state", "ON")  # that nobody ever switched it, a sensor writes once
    kept = (tmp_path / "state" / "listening-room.json").read_text()
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as watcher:
        daemon = Daemon(tmp_path, broker.port, recording="-", wrapper=wrapper, stdin=subprocess.PIPE)
        with daemon:
            Feeder(daemon.process, speed, seconds_of_sound).thread.join()
            daemon.process.wait(PATIENCE_S)
        heard = len(watcher.on("event"))
    touched = [line for line in trace.read_text().splitlines() if str(tmp_path / "state") in line]
    reads = r"\b(newfstatat|stat|access|faccessat2?|readlink)\(|openat\(.*O_RDONLY"
    writes = [line for line in touched if not re.search(reads, line)]
    assert writes == []
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["listening-room.json"]
    assert (tmp_path / "state" / "listening-room.json").read_text() == kept
    assert heard > seconds_of_sound / 20
    return {
        "seconds of sound": seconds_of_sound,
        "wall seconds": round(time.monotonic() - began_s),
        "events": heard,
        "looks at the state folder": len(touched),
        "writes to it": len(writes),
    }


def test_a_minute_of_healthy_running_writes_nothing(tmp_path):
    healthy_sound_traced(tmp_path, 60, speed=10)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_an_hour_of_healthy_running_writes_nothing(tmp_path):
    print("\nhealthy hour:", healthy_sound_traced(tmp_path, 3_600, speed=15))


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["full", "read-only", "damaged"])
def test_a_bad_disk_is_said_and_costs_nothing(tmp_path, disk):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(state)], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        switched(state, "ON")
        with Broker(tmp_path / "broker", extra=DURABLE) as broker, forgetful_of_nothing(broker, "room") as watcher:
            broker.stop()
            if disk == "full":
                (state / "ballast").write_bytes(bytes(252 * 1_024))  # beside the switch's page
            elif disk == "read-only":
                subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
            else:
                (state / "outbox-room.sqlite").write_bytes(os.urandom(8_192))
            with Daemon(tmp_path, broker.port, edge={"health_interval_s": 1}) as daemon:
                daemon.wait_for_log("moved aside" if disk == "damaged" else "late events stay in memory only")
                daemon.wait_for_status("[3-9] events wait")
                broker.start()
                with Subscriber(broker.port) as others:
                    said = others.wait_for(lambda w: w.on("health"))[-1].json
                    others.wait_for(lambda w: w.on("health")[-1].json["outbox_depth"] == 0)
                assert daemon.stop() == 0
            heard = first_heard(events(watcher))
            assert len(heard) >= 3
            assert said["outbox_problem"]
            assert [event.seq for event in heard] == sorted(event.seq for event in heard)
            assert "Traceback" not in daemon.log
            late = sum(event.late for event in heard)
            print(f"\n{disk}: {said['outbox_problem']}; {len(heard)} events, {late} of them late")
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


HOUR_S = 3_600


@pytest.mark.slow
def test_a_clock_that_jumps_by_hours_stops_nothing(tmp_path, virtual_microphone):
    """While it listens to a real microphone: five hours back, ten forward, six back; and nine back over a restart."""
    offset, env = stepping_clock(tmp_path)
    sound = soundfile.read(RECORDING, dtype="int16")[0][: 12 * 16_000]
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as watcher:

        def hear_some(least: int) -> None:
            before = len(watcher.on("event"))
            virtual_microphone.play(sound)
            watcher.wait_for(lambda w: len(w.on("event")) >= before + least)

        with Daemon(tmp_path, broker.port, recording=None, env=env) as daemon:
            watcher.wait_for(lambda w: w.on("state") and w.on("state")[-1].json["microphone"] == "ok")
            for hours in (0, -5, 5, -1):
                offset.write_text(str(hours * HOUR_S))
                hear_some(2)
            assert daemon.stop() == 0
        offset.write_text(str(-9 * HOUR_S))
        with Daemon(tmp_path, broker.port, recording=None, env=env) as daemon:
            watcher.wait_for(lambda w: w.on("state")[-1].json["microphone"] == "ok")
            daemon.wait_for_log("the clock is behind")
            hear_some(2)
            assert daemon.stop() == 0
        heard = [message.json for message in watcher.on("event")]
        timeline = watcher.on("timeline")[-1].json["runs"]
    numbers = [event["seq"] for event in heard]
    assert numbers == sorted(set(numbers))
    hours = [event["ts"][:13] for event in heard]
    assert len(set(hours)) >= 4
    assert [run[0] for run in timeline] == sorted(run[0] for run in timeline)
    assert "Traceback" not in daemon.log
    print("\nclock: events in the hours", list(dict.fromkeys(hours)), "with seq rising over all", len(numbers))
