"""A camera by RTSP against the same sound as a file: are the labels the same, and how late are they?

    python -m tests.bench.camera FILE [--cameras 4]

Several cameras on this machine play the file at the pace of the clock at once, each to a sensor's ears of its own.
"""

import argparse
import bisect
import threading
import time
from pathlib import Path

import numpy as np

from edge.config import Audio, EdgeConfig
from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import BLOCK_SAMPLES, SAMPLE_RATE_HZ, Block, timed_blocks
from edge.sound.microphone import Microphone
from edge.sound.recording import read_recording
from tests.bench import asked
from tests.support.broker import free_port
from tests.support.rtsp_server import Camera
from tests.support.sounds import to_int16

FFMPEG = ("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i")
RAW = ("-vn", "-f", "s16le", "-ac", "1", "-ar", "16000", "-")


def pipeline() -> Pipeline:
    artifact, model = load(DEFAULT_MODEL)
    config = EdgeConfig()
    return Pipeline(model, artifact.manifest, gate=config.gate, decision=config.decision)


class Sensor(threading.Thread):
    """Hears a camera to its end. changes: (label, seconds of sound). heard_at: when each block had been heard."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self.changes: list[tuple[str, float]] = []
        self.heard_at: list[float] = []
        self.began: list[np.ndarray] = []
        self.faults: list[str] = []
        self.dropped = 0
        self.sent: list[tuple[float, float]] = []

    def run(self) -> None:
        camera, hears = Camera(free_port(), self._file), pipeline()
        with camera, Microphone(Audio(command=(*FFMPEG, camera.address, *RAW))) as microphone:
            for item in microphone.blocks():
                if not isinstance(item, Block):
                    self.faults.append(item.reason)
                    if self.heard_at:  # it came to its end
                        break
                    continue
                change = hears.process(item).change
                if len(self.began) < 20:
                    self.began.append(item.captured)
                self.heard_at.append(time.time())
                if change:
                    self.changes.append((change.label, change.at_s))
            self.dropped = microphone.dropped_blocks
            self.sent = camera.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--cameras", type=asked.number, default=4)
    options = parser.parse_args()
    hears = pipeline()
    blocks = timed_blocks(read_recording(options.file), started_at=0.0)
    expected = [(change.label, change.at_s) for block in blocks if (change := hears.process(block).change)]
    whole = to_int16(np.concatenate(list(read_recording(options.file)))).tobytes()
    sensors = [Sensor(options.file) for _ in range(options.cameras)]
    for sensor in sensors:
        sensor.start()
        time.sleep(0.7)
    for sensor in sensors:
        sensor.join()
        missing = whole.find(to_int16(np.concatenate(sensor.began)).tobytes()) // 2 / SAMPLE_RATE_HZ
        sound_s = len(sensor.heard_at) * BLOCK_SAMPLES / SAMPLE_RATE_HZ
        times, before = zip(*sensor.sent, strict=True)
        late = []
        for number, at in enumerate(sensor.heard_at, start=1):
            end_s = missing + number * BLOCK_SAMPLES / SAMPLE_RATE_HZ
            late.append(at - times[bisect.bisect_left(before, end_s) - 1])
        same = [label for label, _ in sensor.changes] == [label for label, _ in expected]
        shift_ms = [1_000 * (here - missing * -1 - there)
                    for (_, here), (_, there) in zip(sensor.changes, expected, strict=False)]  # fmt: skip
        print(
            f"{sound_s:.0f} s, {missing:.3f} s missing at its start; {len(sensor.changes)} changes of {len(expected)}, "
            f"{'the same' if same else 'OTHERS'}, at most {max(map(abs, shift_ms), default=0):.0f} ms elsewhere; "
            f"latency p50 {1_000 * np.median(late):.0f} ms, p99 {1_000 * np.quantile(late, 0.99):.0f} ms; "
            f"{sensor.dropped} blocks dropped; {', '.join(sensor.faults)}"
        )


if __name__ == "__main__":
    asked.answer(main)
