"""A long day through the sensor's code, faster than real time: `make soak`, on the corpora (ROOMTONE_CORPORA).

Speech, ambience and silence in a random order that a seed fixes, through the daemon's own loop (edge/daemon/run.py) to
a real broker. Measures memory by the hour of sound, the real-time factor, dropped blocks, and what the events were, by
a digest of everything in them but the clock: two runs with one seed must agree.
"""

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from edge.config import EdgeConfig, Mqtt
from edge.daemon.kept import durable_outbox
from edge.daemon.run import sense
from edge.sound.blocks import BLOCK_S, Block, timed_blocks
from edge.sound.portaudio.capture import RING_S
from edge.sound.recording import load_recording
from edge.voice.payloads import Event
from tests.support.broker import HOST, Broker
from tests.support.sounds import CORPORA
from train.data.folders import recordings

HOUR_S = 3_600.0
HEALTH_S = 1.0  # about a minute of sound, at this pace
RATE_HZ = 16_000
SILENCE_S = (1, 60)
CLIPS_TOGETHER = (1, 8)
SPEECH_SHARE, AMBIENCE_SHARE = 0.5, 0.25  # of the choices; the rest is digital silence or a quiet room's noise
CLOCK = ("event_id", "ts", "seq", "late")
_PAGE_BYTES = 4_096


def rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def day(hours: float, seed: int) -> Iterator[np.ndarray]:
    """Yield float32 chunks at 16 kHz, the same ones for a seed; a few seconds each, so that they weigh little."""
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
    """Blocks of a day that watch what becomes of the process that hears them."""

    def __init__(self, hours: float, seed: int) -> None:
        self._chunks = day(hours, seed)
        self.rss_by_hour: list[int] = []
        self.digest_by_hour: list[str] = []
        self.heard_s = 0.0
        self.making_s = 0.0
        self.backlog_s = self.dropped_s = self.longest_backlog_s = 0.0
        self.labels: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def blocks(self) -> Iterator[Block]:
        began_s = time.time()
        for block in timed_blocks(self._timed(), started_at=began_s):
            if block.end_s >= HOUR_S * (len(self.rss_by_hour) + 1) - 0.04:
                self.rss_by_hour.append(rss_bytes())
                self.digest_by_hour.append(self.digest[:16])
                print(f"hour {len(self.rss_by_hour)}: {self.rss_by_hour[-1] / 1e6:.1f} MB, "
                      f"{sum(self.labels.values())} events", file=sys.stderr, flush=True)  # fmt: skip
            self.heard_s = block.end_s
            given_s = time.monotonic()
            yield block
            self._account(time.monotonic() - given_s)

    def _timed(self) -> Iterator[np.ndarray]:
        """The day's chunks; the time it takes to read files and make noise is the bench's, not the sensor's."""
        while True:
            began_s = time.process_time()
            chunk = next(self._chunks, None)
            self.making_s += time.process_time() - began_s
            if chunk is None:
                return
            yield chunk

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


def soak(hours: float, seed: int) -> dict:
    """Return what was measured over so many hours of sound."""
    made = Soak(hours, seed)
    began_s, cpu_s = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "broker") as broker:
        config = EdgeConfig(
            mqtt=Mqtt(host=HOST, port=broker.port), state_folder=f"{folder}/state", health_interval_s=HEALTH_S
        )
        sense(
            config, made.blocks(), stopping=lambda: False, outbox=durable_outbox(config), on_event=made.note
        )  # fmt: skip
    cpu_s = time.process_time() - cpu_s
    grown = made.rss_by_hour[-1] - made.rss_by_hour[0] if made.rss_by_hour else None
    return {
        "hours": round(made.heard_s / HOUR_S, 3),
        "seed": seed,
        "events": sum(made.labels.values()),
        "labels": dict(made.labels),
        "events_sha256": made.digest,
        "events_sha256_by_hour": made.digest_by_hour,
        "rss_mb_by_hour": [round(rss / 1e6, 2) for rss in made.rss_by_hour],
        "rss_grown_since_first_hour_mb": None if grown is None else round(grown / 1e6, 2),
        "realtime_factor": round((cpu_s - made.making_s) / made.heard_s, 5),
        "wall_s": round(time.monotonic() - began_s),
        "longest_backlog_s": round(made.longest_backlog_s, 3),
        "dropped_blocks": round(made.dropped_s / BLOCK_S),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Let the sensor hear a day, faster than real time.")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak.json"))
    options = parser.parse_args()
    if not (CORPORA / "TESS").is_dir():
        print(f"soak: no corpora in {CORPORA}: set ROOMTONE_CORPORA", file=sys.stderr)
        return 66
    measured = soak(options.hours, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(measured, indent=1) + "\n")
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
