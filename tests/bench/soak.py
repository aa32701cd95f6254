"""A long day through the sensor's code, faster than real time: `make soak`, on the corpora (ROOMTONE_CORPORA).

Speech, ambience and silence in a random order that a seed fixes, made by a process of its own, through the daemon's own
loop (edge/daemon/run.py) to a real broker. Measures memory and CPU by the hour of sound, the real-time factor, dropped
blocks, and what the events were, by a digest of everything in them but the clock: two runs with one seed must agree.
The report is written anew after each hour, its picture at the end.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from edge.config import EdgeConfig, Mqtt
from edge.daemon.kept import durable_outbox
from edge.daemon.run import sense
from edge.sound.blocks import BLOCK_S, BLOCK_SAMPLES, Block, timed_blocks
from edge.sound.portaudio.capture import RING_S
from edge.sound.recording import load_recording
from edge.voice.payloads import Event
from tests.bench import asked
from tests.bench.growth import Panel, draw
from tests.support.broker import HOST, Broker
from tests.support.sounds import CORPORA, ROOT

REPORT = ROOT / "tests" / "bench" / "reports" / "soak.json"
HOUR_S = 3_600.0
SETTLED_HOURS = 2  # by then, whatever is held for some time has been held for that long
HEALTH_S = 1.0  # about a minute of sound, at this pace
RATE_HZ = 16_000
SILENCE_S = (1, 60)
CLIPS_TOGETHER = (1, 8)
SPEECH_SHARE, AMBIENCE_SHARE = 0.5, 0.25  # of the choices; the rest is digital silence or a quiet room's noise
CLOCK = ("event_id", "ts", "seq", "late")
TABLE_HOURS = (1, 2, 4, 8, 16, 24)
_PAGE_BYTES = 4_096
_SAMPLE_BYTES = 4


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def day(hours: float, seed: int) -> Iterator[np.ndarray]:
    """Yield float32 chunks at 16 kHz, the same ones for a seed; a few seconds each, so that they weigh little."""
    from train.data.folders import recordings

    chance = random.Random(seed)
    noise = np.random.default_rng(seed)
    speech = [path for corpus in ("TESS", "RAVDESS") for path in recordings(CORPORA / corpus).files]
    ambience = recordings(CORPORA / "ESC-10").files
    left = round(hours * HOUR_S * RATE_HZ)
    while left > 0:
        kind = chance.random()
        if kind < SPEECH_SHARE + AMBIENCE_SHARE:
            files = speech if kind < SPEECH_SHARE else ambience
            gain = np.float32(10 ** (chance.uniform(-20.0, 0.0) / 20))
            sounds = (load_recording(chance.choice(files)) * gain for _ in range(chance.randint(*CLIPS_TOGETHER)))
        else:
            level = np.float32(0.0 if chance.random() < 0.3 else 10 ** (chance.uniform(-75.0, -45.0) / 20))
            sounds = (noise.standard_normal(RATE_HZ, np.float32) * level for _ in range(chance.randint(*SILENCE_S)))
        for sound in sounds:
            yield sound[: max(0, left)]
            left -= len(sound)


class Soak:
    """Blocks of a day that watch what becomes of the process that hears them. sound: samples, float32 at 16 kHz."""

    def __init__(self, sound: BinaryIO, seed: int, report: Path) -> None:
        self._sound, self._seed, self._report = sound, seed, report
        self.rss_by_hour: list[int] = []
        self.cpu_s_by_hour: list[float] = []
        self.digest_by_hour: list[str] = []
        self.heard_s = 0.0
        self.backlog_s = self.dropped_s = self.longest_backlog_s = 0.0
        self.labels: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def blocks(self) -> Iterator[Block]:
        self._began_s, worked_s = time.monotonic(), time.process_time()
        for block in timed_blocks(self._chunks(), started_at=time.time()):
            if block.end_s >= HOUR_S * (len(self.rss_by_hour) + 1) - 0.04:
                self.rss_by_hour.append(rss_bytes())
                self.cpu_s_by_hour.append(time.process_time() - worked_s)
                self.digest_by_hour.append(self.digest[:16])
                print(f"hour {len(self.rss_by_hour)}: {self.rss_by_hour[-1] / 1e6:.1f} MB, "
                      f"{sum(self.labels.values())} events", file=sys.stderr, flush=True)  # fmt: skip
                write(self.told(), self._report)
                worked_s = time.process_time()  # the report is the bench's
            self.heard_s = block.end_s
            given_s = time.monotonic()
            yield block
            self._account(time.monotonic() - given_s)

    def _chunks(self) -> Iterator[np.ndarray]:
        """As a microphone gives them, whose memory is none of the sensor's: a block at a time, from a pipe."""
        while data := self._sound.read(BLOCK_SAMPLES * _SAMPLE_BYTES):
            yield np.frombuffer(data, np.float32)

    def _account(self, took_s: float) -> None:
        """Keep the books of a microphone that would have recorded meanwhile, and whose ring holds RING_S."""
        self.backlog_s = max(0.0, self.backlog_s + took_s - BLOCK_S)
        self.longest_backlog_s = max(self.longest_backlog_s, self.backlog_s)
        self.dropped_s += max(0.0, self.backlog_s - RING_S)
        self.backlog_s = min(self.backlog_s, RING_S)

    def note(self, event: Event) -> None:
        self.labels[event.event_type] += 1
        facts = {name: value for name, value in msgspec.to_builtins(event).items() if name not in CLOCK}
        self._digest.update(msgspec.json.encode(facts) + b"\n")

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


    def told(self) -> dict:
        """Return what was measured so far."""
        rss = self.rss_by_hour
        grown = rss[-1] - rss[SETTLED_HOURS - 1] if len(rss) > SETTLED_HOURS else None
        return {
            "hours": round(self.heard_s / HOUR_S, 3),
            "seed": self._seed,
            "events": sum(self.labels.values()),
            "labels": dict(self.labels),
            "events_sha256": self.digest,
            "events_sha256_by_hour": self.digest_by_hour,
            "rss_mb_by_hour": [round(each / 1e6, 2) for each in rss],
            "rss_grown_since_settled_mb": None if grown is None else round(grown / 1e6, 2),
            "cpu_s_by_hour": [round(cpu_s, 2) for cpu_s in self.cpu_s_by_hour],
            "wall_s": round(time.monotonic() - self._began_s),
            "longest_backlog_s": round(self.longest_backlog_s, 3),
            "dropped_blocks": round(self.dropped_s / BLOCK_S),
        }


def soak(hours: float, seed: int, report: Path) -> dict:
    """Return what was measured over so many hours of sound."""
    command = [sys.executable, "-m", "tests.bench.soak", "--hours", str(hours), "--seed", str(seed), "--sound"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Broker(Path(folder) / "broker") as broker,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as sound,
    ):
        made = Soak(sound.stdout, seed, report)
        config = EdgeConfig(
            mqtt=Mqtt(host=HOST, port=broker.port), state_folder=f"{folder}/state", health_interval_s=HEALTH_S
        )
        sense(
            config, made.blocks(), stopping=lambda: False, outbox=durable_outbox(config), on_event=made.note
        )  # fmt: skip
    return made.told()


def write(found: dict, report: Path) -> None:
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(found, indent=1) + "\n")


def picture(found: dict, path: Path) -> None:
    hours = range(1, len(found["rss_mb_by_hour"]) + 1)
    if len(hours) > 1:
        panels = [Panel("MB", {"memory (RSS)": found["rss_mb_by_hour"]}),
                  Panel("s of CPU for an hour of sound", {"CPU": found["cpu_s_by_hour"]})]  # fmt: skip
        draw(path, "hours of sound", hours, panels, doubling=False)


def table(found: dict) -> str:
    """Return memory and CPU by hour as Markdown."""
    from train.pages.tables import markdown  # 100 MB, which are none of the sensor's

    hours = [hour for hour in TABLE_HOURS if hour <= len(found["rss_mb_by_hour"])]
    rows = [
        [name, *(f"{found[figures][hour - 1]:.1f}" for hour in hours)]
        for name, figures in (("memory, MB", "rss_mb_by_hour"), ("CPU for the hour, s", "cpu_s_by_hour"))
    ]
    return markdown(["hours of sound", *map(str, hours)], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Let the sensor hear a day, faster than real time.")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak.json"))
    parser.add_argument("--sound", action="store_true", help=argparse.SUPPRESS)  # write the day's sound, and no more
    options = parser.parse_args()
    asked.corpora("TESS", "RAVDESS", "ESC-10")
    if options.sound:
        for chunk in day(options.hours, options.seed):
            sys.stdout.buffer.write(chunk.astype(np.float32, copy=False).tobytes())
        return 0
    out = asked.file(options.out)
    measured = soak(options.hours, options.seed, out)
    write(measured, out)
    picture(measured, out.with_suffix(".png"))
    print(json.dumps(measured))
    print(table(measured))
    return 0


if __name__ == "__main__":
    asked.answer(main)
