"""`roomtone run` as people run it: how soon it is ready, how late it speaks, what it holds: `make bench`.

Starts the daemon on a recording of speech as a microphone, in real time, against a real broker: once alone, then many
times on one core of the machine. An observer that is not ours (paho) notes when each state arrives; a state carries the
time of its last sample, so the difference is all that lies between the sound and the room's knowing it.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import soundfile
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.cost import sounds
from tests.bench.peers import GRAPHS, RATE_HZ
from tests.support.broker import HOST, Broker
from tests.support.daemon import Daemon
from tests.support.memory import peak_mb

SETTLED_S = 2.0
LAST_S = 1.0  # before the first of them ends, their memory is read


def run_together(count: int, seconds: float, cores: set[int]) -> dict:
    """Run `count` daemons for `seconds` of speech each, on these cores, and return what was seen of them."""
    with tempfile.TemporaryDirectory(prefix="roomtone-bench-") as name, Broker(Path(name) / "broker") as broker:
        folder = Path(name)
        speech = sounds(seconds)["speech"]
        arrivals: dict[str, list[tuple[float, float]]] = defaultdict(list)

        def note(client, data, message: paho.MQTTMessage) -> None:
            if not message.retain:
                now_s, state = time.time(), json.loads(message.payload)
                arrivals[message.topic.split("/")[1]].append((now_s, datetime.fromisoformat(state["ts"]).timestamp()))

        observer = paho.Client(CallbackAPIVersion.VERSION2)
        observer.on_message = note
        observer.connect(HOST, broker.port)
        observer.subscribe("roomtone/+/state")
        observer.loop_start()
        with ExitStack() as stack:
            daemons = [
                stack.enter_context(_daemon(folder, number, broker.port, np.roll(speech, -number * RATE_HZ), cores))
                for number in range(count)
            ]
            for daemon in daemons:
                daemon.wait_until_ready()
            time.sleep(max(0.0, daemons[0].began_at + seconds - LAST_S - time.time()))
            peaks = [peak_mb(daemon.process.pid) for daemon in daemons]
            usages = [daemon.finish() for daemon in daemons]
        observer.disconnect()
        observer.loop_stop()
        # The recording's clock begins before the model is loaded: its first blocks are late for that alone.
        late_ms = [
            1_000 * (seen - said)
            for times in arrivals.values()
            for seen, said in times
            if said > times[0][0] + SETTLED_S
        ]
        first_s = [arrivals[f"room-{number}"][0][0] - daemon.began_at for number, daemon in enumerate(daemons)]
        return {
            "daemons": count,
            "seconds": seconds,
            "ready_s": statistics.median(daemon.ready_at - daemon.began_at for daemon in daemons),
            "first_state_s": statistics.median(first_s),
            "states": len(late_ms),
            "latency_ms": dict(
                zip(("p50", "p99", "worst"), np.percentile(late_ms, [50, 99, 100]).round(1), strict=True)
            ),
            "cpu_per_audio_s": statistics.median(usage.ru_utime + usage.ru_stime for usage in usages) / seconds,
            "peak_rss_mb": max(peaks),
        }


def _daemon(folder: Path, number: int, port: int, sound: np.ndarray, cores: set[int]) -> Daemon:
    home = folder / str(number)
    home.mkdir()
    soundfile.write(home / "speech.flac", sound, RATE_HZ)
    edge = {"device": {"id": f"room-{number}"}, "log_level": "error"}
    return Daemon(home, port, recording=home / "speech.flac", edge=edge, cores=cores)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure the daemon's start, latency and memory, alone and in a crowd."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech for each (60)")
    parser.add_argument("--crowd", type=int, default=32, help="daemons together on one core (32)")
    parser.add_argument("--out", type=Path, default=GRAPHS)
    options = parser.parse_args()
    one_core = {max(os.sched_getaffinity(0))}
    run_together(1, 6.0, os.sched_getaffinity(0))  # what was not in the page cache is now
    found = [run_together(1, options.seconds, os.sched_getaffinity(0))]
    if options.crowd > 1:
        found.append(run_together(options.crowd, options.seconds, one_core))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "daemons.json").write_text(json.dumps(found, indent=1) + "\n")
    for one in found:
        late = one["latency_ms"]
        print(
            f"{one['daemons']} daemons: ready {one['ready_s']:.2f} s after exec, "
            f"first state {one['first_state_s']:.2f} s; "
            f"{one['states']} states {late['p50']}, {late['p99']}, {late['worst']} ms after their last sample "
            f"(p50, p99, worst); {1_000 * one['cpu_per_audio_s']:.1f} ms of CPU per second each, start included; "
            f"{one['peak_rss_mb']:.1f} MB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
