"""Many sensors in a process, of which each says what a real one said: its own link, outbox and timeline, no microphone.

    python -m tests.bench.fleet_sensors TAPE --port 1883 --first 0 --count 250

A tape is what the sensor's own code said of a room: real recordings of speech, some of the time, and a quiet room's
noise, heard faster than time passes. Every sensor plays it from another place on, in real time, with today's times. It
has heard such a day already: its timeline is as long as one. What it says late, because the process has too much to do,
is counted: nothing is left out.
"""

import argparse
import copy
import heapq
import json
import math
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import EdgeConfig, Mqtt
from edge.daemon.sensor import Sensor
from edge.delivery.link import Link
from edge.delivery.outbox import Outbox
from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import timed_blocks
from edge.sound.recording import load_recording
from edge.voice.payloads import Event, Health, State, rfc3339, unix_s
from edge.voice.sequence import Sequence, uuid7
from edge.voice.timeline import MOST_RUNS, WHOLE_S, TimelineRecorder
from tests.support.broker import HOST
from tests.support.sounds import CORPORA
from train.data.folders import recordings

RATE_HZ = 16_000
SPOKEN = 0.1  # of the time
CLIPS_TOGETHER = (1, 8)
KINDS = {"state": State, "event": Event, "health": Health}
HEALTH_S, TIMELINE_S, DAY_S = 60.0, 5.0, 86_400.0
CONNECTS_HZ, STAGGER_S = 50.0, 5.0


def room(seconds: float, seed: int) -> Iterator[np.ndarray]:
    """Yield float32 chunks at 16 kHz: a few clips of speech together, then a while of the room's noise, in turn."""
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    speech = [path for corpus in ("TESS", "RAVDESS") for path in recordings(CORPORA / corpus).files]
    heard = 0
    while heard < seconds * RATE_HZ:
        gain = np.float32(10 ** (chance.uniform(-20.0, 0.0) / 20))
        spoken = [load_recording(chance.choice(speech)) * gain for _ in range(chance.randint(*CLIPS_TOGETHER))]
        silence = round(sum(map(len, spoken)) * (1 / SPOKEN - 1) * chance.uniform(0.2, 1.8))
        for chunk in (*spoken, *(noise.standard_normal(RATE_HZ, np.float32) * 1e-3 for _ in range(silence // RATE_HZ))):
            heard += len(chunk)
            yield chunk


class Bare:
    """Instead of a link, where no core is to spare for a thousand of them: all say it on one connection."""

    def __init__(self, client: paho.Client, device: str) -> None:
        self._client, self._prefix = client, f"roomtone/{device}/"
        self.connects, self.outbox = 1, Outbox(None)
        self.retain("status", b"online")
        self.retain("listening", b"ON")

    def retain(self, name: str, payload: object, *, qos: int = 1) -> None:
        self._client.publish(self._prefix + name, _encoded(payload), qos=qos, retain=True)

    def event(self, event: Event) -> None:
        self._client.publish(self._prefix + "event", _encoded(event), qos=1)


def _encoded(payload: object) -> bytes:
    return payload if isinstance(payload, bytes) else msgspec.json.encode(payload)


def bare_client(port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(100)
    client.connect(HOST, port)
    client.loop_start()
    return client


class _Writing(Link):
    """A link that writes down what it is to send: (seconds since the start of the sound, kind, payload)."""

    def __init__(self) -> None:
        super().__init__(Mqtt(), "tape", host=HOST, port=1)
        self.said: list[tuple[float, str, object]] = []
        self.now_s = 0.0

    def start(self, **commands: object) -> None:
        pass

    def retain(self, name: str, payload: object, *, qos: int = 1) -> None:
        if name in KINDS:
            self.said.append((self.now_s, name, payload))

    def event(self, event: Event) -> None:
        self.said.append((self.now_s, "event", event))


def record(path: Path, *, seconds: float, seed: int) -> None:
    """Have a sensor hear such a room, and write what it said: a line each."""
    artifact, model = load(DEFAULT_MODEL)
    link = _Writing()
    sensor = Sensor(Pipeline(model, artifact.manifest), link, artifact.manifest.model_id, EdgeConfig())
    sensor.start()
    for block in timed_blocks(room(seconds, seed), started_at=0.0):
        link.now_s = block.end_s
        sensor.process(block)
    with path.open("w") as file:
        file.write(json.dumps({"seconds": link.now_s}) + "\n")
        for at_s, kind, payload in link.said:
            file.write(json.dumps([round(at_s, 3), kind, msgspec.to_builtins(payload)]) + "\n")


@dataclass(frozen=True)
class Tape:
    """What was said in `seconds`, by time."""

    seconds: float
    said: list[tuple[float, str, State | Event]]
    health: Health

    @classmethod
    def read(cls, path: Path) -> "Tape":
        head, *lines = path.read_text().splitlines()
        told = [(at_s, kind, msgspec.convert(payload, KINDS[kind])) for at_s, kind, payload in map(json.loads, lines)]
        health = next(payload for _, kind, payload in told if kind == "health")
        return cls(json.loads(head)["seconds"], [each for each in told if each[1] != "health"], health)


@dataclass
class Playing:
    """A sensor that plays a tape over and over from `at` on."""

    link: Link | Bare
    tape: Tape
    at: int
    begins_s: float  # Unix time of the tape's start, as it is played now
    sequence: Sequence = field(default_factory=Sequence)
    timeline: TimelineRecorder = field(default_factory=TimelineRecorder)

    def remember(self, now: float, ago_s: float) -> None:
        """Have heard such a day, which was told whole `ago_s` ago."""
        changes = [(at_s, event) for at_s, kind, event in self.tape.said if kind == "event"]
        plays = min(DAY_S / self.tape.seconds, 1 + MOST_RUNS / len(changes))
        for ago in range(math.ceil(plays), -1, -1):
            began = self.begins_s - ago * self.tape.seconds
            for at_s, event in changes:
                if now - DAY_S < began + at_s < now:
                    self.timeline.add(began + at_s, event.event_type, event.confidence)
        self.link.retain(*self.timeline.due(time.monotonic() - ago_s, now - ago_s))

    def next_due(self) -> float:
        """Return the Unix time at which it says the next thing."""
        return self.begins_s + self.tape.said[self.at][0]

    def say(self, now: float) -> str:
        """Say it, as if it were so now; return what kind it was."""
        _, kind, payload = self.tape.said[self.at]
        self.at += 1
        if self.at == len(self.tape.said):
            self.at, self.begins_s = 0, self.begins_s + self.tape.seconds
        if kind == "event":
            self.timeline.add(now, payload.event_type, payload.confidence)
            self.link.event(msgspec.structs.replace(
                payload, ts=rfc3339(now), event_id=uuid7(now), seq=self.sequence.next()))  # fmt: skip
        else:
            since = now - (unix_s(payload.ts) - unix_s(payload.since))
            self.link.retain("state", msgspec.structs.replace(
                payload, ts=rfc3339(now), since=rfc3339(since), seq=self.sequence.next()))  # fmt: skip
        return kind

    def say_health(self, now: float) -> str:
        self.link.retain("health", msgspec.structs.replace(self.tape.health, ts=rfc3339(now)), qos=0)
        return "health"

    def tell_day(self, now: float) -> str:
        if (due := self.timeline.due(time.monotonic(), now)) is None:
            return "nothing"
        self.link.retain(*due)
        return due[0]


def begin_bare(client: paho.Client, tape: Tape, count: int, chance: random.Random) -> Iterator[Playing]:
    """Yield sensors on one connection, which have all heard the same day."""
    day, first = b"", None
    for number in range(count):
        at, now = chance.randrange(len(tape.said)), time.time()
        playing = Playing(Bare(client, f"room-{number:04}"), tape, at, now - tape.said[at][0])
        if first is None:
            first = playing
            playing.remember(now, 1.0)
            day = msgspec.json.encode(playing.timeline.timeline(now))
        else:
            playing.link.retain("timeline", day)
            playing.timeline = copy.copy(first.timeline)
            playing.timeline._runs = list(first.timeline._runs)
            playing.timeline._whole = now - chance.uniform(1.0, WHOLE_S - 1.0)
        yield playing


def begin(tape: Tape, port: int, number: int, chance: random.Random) -> Playing:
    """Connect a sensor, `room-<number>`."""
    link = Link(Mqtt(), f"room-{number:04}", host=HOST, port=port)
    at = chance.randrange(len(tape.said))
    now = time.time()
    playing = Playing(link, tape, at, now - tape.said[at][0] + chance.uniform(0.0, 1.0))
    link.start(first={"listening/set": lambda word: None})
    link.retain("listening", b"ON")
    playing.remember(now, chance.uniform(1.0, WHOLE_S - 1.0))
    return playing


def play(sensors: list[Playing], chance: random.Random, counts: dict) -> None:
    """Have them speak until interrupted."""
    now = time.time()
    due: list[tuple[float, int, str]] = []
    for number, each in enumerate(sensors):
        each.begins_s += now + chance.uniform(0.0, STAGGER_S) - each.next_due()  # connecting took its time
        due += [(each.next_due(), number, "said"), (now + chance.uniform(0.0, HEALTH_S), number, "health"),
                (now + chance.uniform(0.0, TIMELINE_S), number, "day")]  # fmt: skip
    heapq.heapify(due)
    while True:
        at, number, what = due[0]
        if (wait_s := at - time.time()) > 0:
            time.sleep(min(wait_s, 0.5))
            continue
        sensor, now = sensors[number], time.time()
        counts["lags_s"].append(now - at)
        if what == "said":
            kind, again = sensor.say(now), sensor.next_due()
        elif what == "health":
            kind, again = sensor.say_health(now), at + HEALTH_S
        else:
            kind, again = sensor.tell_day(now), at + TIMELINE_S
        counts[kind] = counts.get(kind, 0) + 1
        heapq.heapreplace(due, (again, number, what))


def main() -> int:
    parser = argparse.ArgumentParser(description="Many sensors in a process.")
    parser.add_argument("tape", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--bare", action="store_true", help="all on one connection, without links")
    options = parser.parse_args()
    tape, chance = Tape.read(options.tape), random.Random(options.first)
    sensors = list(begin_bare(bare_client(options.port), tape, options.count, chance)) if options.bare else []
    for number in () if options.bare else range(options.first, options.first + options.count):
        sensors.append(begin(tape, options.port, number, chance))
        time.sleep(1 / CONNECTS_HZ)
    while not all(each.link.connects and each.link.outbox.idle for each in sensors):
        time.sleep(0.1)
    counts: dict = {"lags_s": []}

    def told(*signalled: object, zero: bool) -> None:
        """Say what was done since the last time; begin to count."""
        lags_s = sorted(counts["lags_s"]) or [0.0]
        said = {kind: count for kind, count in counts.items() if kind not in ("lags_s", "nothing")}
        behind = {f"p{share}": round(1_000 * lags_s[min(len(lags_s) - 1, len(lags_s) * share // 100)], 2)
                  for share in (50, 99)}  # fmt: skip
        if not zero:
            waiting = sum(each.link.outbox.depth for each in sensors)
            print(json.dumps({"said": said, "lag_ms": behind, "worst_lag_ms": round(1_000 * lags_s[-1], 1),
                              "events_waiting": waiting}), flush=True)  # fmt: skip
        counts.clear()
        counts["lags_s"] = []

    signal.signal(signal.SIGUSR1, partial(told, zero=True))
    signal.signal(signal.SIGUSR2, partial(told, zero=False))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("ready", flush=True)
    try:
        play(sensors, chance, counts)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
