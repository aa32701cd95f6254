"""What a sensor costs in real time, and how much of it is hearing, telling and waking: `make bench`.

A microphone brings 12.5 blocks a second. Between two of them the processor does something else, and each block finds
code and data out of the caches: that costs several times what the same blocks cost one after the other (cost.py).
Each of PARTS is a process of its own, several rounds in turn; medians. A start, a connection and the first report of
health are over when it begins to count, and the broker's own time is not counted.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edge.sound.blocks import Block, paced, timed_blocks
from tests.bench import asked
from tests.bench.cost import measure, sounds
from tests.bench.peers import GRAPHS, RATE_HZ
from tests.support.broker import HOST, Broker
from tests.support.sounds import ROOT

REPORT = ROOT / "tests" / "bench" / "reports" / "telling.json"
LEAD_IN_S = 8.0
MESSAGE = bytes(470)  # as long as a state

Blocks = Iterator[Block]


def waking(blocks: Blocks, folder: Path, port: int) -> None:
    for _ in blocks:
        pass


def hearing(blocks: Blocks, folder: Path, port: int) -> None:
    from edge.hearing.pipeline import Pipeline
    from edge.model.artifact import DEFAULT_MODEL, load

    artifact, model = load(DEFAULT_MODEL)
    pipeline = Pipeline(model, artifact.manifest)
    for block in blocks:
        pipeline.process(block)


def sensor(blocks: Blocks, folder: Path, port: int) -> None:
    from edge.config import EdgeConfig, Mqtt
    from edge.daemon.run import sense

    config = EdgeConfig(mqtt=Mqtt(host=HOST, port=port), state_folder=str(folder / "state"))
    sense(config, blocks, stopping=lambda: False)


def paho(blocks: Blocks, folder: Path, port: int) -> None:
    import paho.mqtt.client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(HOST, port)
    client.loop_start()
    due_s = 0.0
    for block in blocks:
        if block.end_s >= due_s:
            due_s += 1.0
            client.publish("state", MESSAGE, qos=1, retain=True)
    client.loop_stop()


PARTS: dict[str, tuple[Callable[[Blocks, Path, int], None], str]] = {
    "waking": (waking, "blocks come, and nothing is done with them"),
    "hearing": (hearing, "blocks in, observations out"),
    "sensor": (sensor, "all of it, with MQTT: a state a second while somebody speaks, events, health, the timeline"),
    "paho": (paho, "blocks come, and paho publishes a message of a state's length every second"),
}


def counted(samples: np.ndarray, part: Callable[[Blocks, Path, int], None]) -> float:
    """Return the CPU seconds that a part takes for a sound in real time, LEAD_IN_S of which come before it."""
    began_s = ended_s = 0.0

    def blocks() -> Blocks:
        nonlocal began_s, ended_s
        sound = np.concatenate([np.resize(samples, round(LEAD_IN_S * RATE_HZ)), samples])
        for block in paced(timed_blocks([sound], started_at=time.time())):
            if not began_s and block.end_s > LEAD_IN_S:
                began_s = time.process_time()
            yield block
            ended_s = time.process_time()

    with tempfile.TemporaryDirectory(prefix="roomtone-bench-") as name, Broker(Path(name) / "broker") as broker:
        part(blocks(), Path(name), broker.port)
    return ended_s - began_s


def table(found: dict) -> str:
    """Return the figures as Markdown: milliseconds of CPU for a second of sound."""
    from train.pages.tables import markdown

    rows = [
        [part, one["what"], *(f"{1_000 * cpu_s:.2f}" for cpu_s in one["cpu_per_audio_s"].values())]
        for part, one in found["parts"].items()
    ]
    names = list(next(iter(found["parts"].values()))["cpu_per_audio_s"])
    return markdown(["part", "what it does", *(f"{name}, ms/s" for name in names)], rows)


def summary(found: dict) -> str:
    """Return what the figures say, in a sentence."""
    waking, hearing, sensor, paho = (found["parts"][part]["cpu_per_audio_s"] for part in PARTS)
    return (
        f"So of a second of speech in real time, {100 * waking['speech'] / sensor['speech']:.0f} % is waking, "
        f"{100 * (hearing['speech'] - waking['speech']) / sensor['speech']:.0f} % hearing, and "
        f"{100 * (sensor['speech'] - hearing['speech']) / sensor['speech']:.0f} % "
        f"({1_000 * (sensor['speech'] - hearing['speech']):.2f} ms) all else that a sensor does; what paho publishes "
        f"alone is {1_000 * (paho['speech'] - waking['speech']):.2f} ms. Silence costs "
        f"{100 * sensor['silence'] / sensor['speech']:.0f} % of speech."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a sensor costs in real time, part by part.")
    parser.add_argument("--rounds", type=asked.number, default=2, help="of all (2)")
    parser.add_argument("--seconds", type=asked.seconds, default=60.0, help="of each sound (60)")
    parser.add_argument("--out", type=Path, default=GRAPHS, help=f"a folder for {REPORT.name}")
    parser.add_argument("--part", nargs=2, metavar=("PART", "SOUND"), help="only count this, in this process")
    options = parser.parse_args()
    if options.part:
        part, path = options.part
        samples = np.load(path)
        print(counted(samples, PARTS[part][0]) / (len(samples) / RATE_HZ))
        return 0
    GRAPHS.mkdir(parents=True, exist_ok=True)
    out = asked.folder(options.out)
    made = sounds(options.seconds)
    files = {name: GRAPHS / f"telling-{name}.npy" for name in ("silence", "speech")}
    for name, path in files.items():
        np.save(path, made[name])
    seen: dict[str, dict[str, list[float]]] = {part: {name: [] for name in files} for part in PARTS}
    for number in range(options.rounds):
        for part, by_sound in seen.items():  # in turn, so that a slow minute of the machine meets all of them
            for name, measured in by_sound.items():
                measured.append(measure("tests.bench.telling", "--part", part, str(files[name])))
            print(f"round {number + 1} of {options.rounds}: {part}", file=sys.stderr, flush=True)
    found = {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "load": round(os.getloadavg()[0], 1),
        "parts": {
            part: {
                "what": PARTS[part][1],
                "cpu_per_audio_s": {name: statistics.median(measured) for name, measured in by_sound.items()},
            }
            for part, by_sound in seen.items()
        },
    }
    (out / REPORT.name).write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    print(summary(found))
    return 0


if __name__ == "__main__":
    asked.answer(main)
