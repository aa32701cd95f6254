"""`roomtone run` as people run it: how soon it is ready, how late it speaks, what it holds: `make bench`.

Starts the daemon on a recording of speech as a microphone, in real time, against a real broker: once alone, then many
times on one core of the machine. An observer that is not ours (paho) notes when each state arrives; a state carries the
time of its last sample, so the difference is all that lies between the sound and the room's knowing it. Latency and CPU
are of the time in which all of them run and none starts any more.
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

from tests.bench import asked
from tests.bench.cost import sounds
from tests.bench.growth import Panel, draw
from tests.bench.peers import GRAPHS, RATE_HZ
from tests.support.broker import HOST, Broker
from tests.support.daemon import Daemon
from tests.support.memory import cpu_s, peak_mb
from tests.support.patience import wait_until
from tests.support.sounds import ROOT
from train.pages.tables import markdown

REPORT = ROOT / "tests" / "bench" / "reports" / "daemons.json"
MOST_LATE_MS = 100.0  # that 64 of them may be at the 99th percentile
SETTLED_S = 2.0
STARTING_S = 30.0, 2.0  # that all of them, and each, may take to start while the first already hear


def run_together(count: int, seconds: float, cores: set[int]) -> dict:
    """Run `count` daemons on speech, on these cores, and return what was seen of them in `seconds` after all started.

    Raises RuntimeError if one ended meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="roomtone-bench-") as name, Broker(Path(name) / "broker") as broker:
        folder = Path(name)
        together_s, each_s = STARTING_S
        speech = sounds(together_s + count * each_s + seconds)["speech"]
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
            wait_until(
                lambda: len(arrivals) == count, lambda: f"{len(arrivals)} of {count} have said something",
                patience_s=together_s + count * each_s,
            )  # fmt: skip
            time.sleep(SETTLED_S)
            pids = [daemon.process.pid for daemon in daemons]
            settled_s, worked_s = time.time(), cpu_s(*pids)
            time.sleep(seconds)
            if ended := [daemon.log for daemon in daemons if daemon.process.poll() is not None]:
                raise RuntimeError(f"{len(ended)} of {count} ended early: {ended[0]}")
            worked_s, measured_s = cpu_s(*pids) - worked_s, time.time() - settled_s
            peaks = [peak_mb(pid) for pid in pids]
        observer.disconnect()
        observer.loop_stop()
        # The recording's clock begins before the model is loaded: its first blocks are late for that alone.
        late_ms = [1_000 * (seen - said) for times in arrivals.values() for seen, said in times if said > settled_s]
        first_s = [arrivals[f"room-{number}"][0][0] - daemon.began_at for number, daemon in enumerate(daemons)]
        return {
            "daemons": count,
            "seconds": round(measured_s, 1),
            "ready_s": round(statistics.median(daemon.ready_at - daemon.began_at for daemon in daemons), 3),
            "first_state_s": round(statistics.median(first_s), 3),
            "states": len(late_ms),
            "latency_ms": dict(
                zip(("p50", "p99", "worst"), np.percentile(late_ms, [50, 99, 100]).round(1), strict=True)
            ),
            "cpu_ms_per_s": round(1_000 * worked_s / count / measured_s, 2),
            "core_percent": round(100 * worked_s / measured_s, 1),
            "peak_rss_mb": round(max(peaks), 1),
            "load": round(os.getloadavg()[0], 1),
        }


def _daemon(folder: Path, number: int, port: int, sound: np.ndarray, cores: set[int]) -> Daemon:
    home = folder / str(number)
    home.mkdir()
    soundfile.write(home / "speech.flac", sound, RATE_HZ)
    edge = {"device": {"id": f"room-{number}"}, "log_level": "error"}
    return Daemon(home, port, recording=home / "speech.flac", edge=edge, cores=cores)


def table(found: list[dict]) -> str:
    """Return the figures by number of daemons as Markdown."""
    rows = [
        [str(one["daemons"]), f"{one['ready_s']:.2f}", f"{one['first_state_s']:.2f}",
         *(f"{one['latency_ms'][share]:.1f}" for share in ("p50", "p99", "worst")),
         f"{one['cpu_ms_per_s']:.1f}", f"{one['core_percent']:.1f}", f"{one['peak_rss_mb']:.1f}", f"{one['load']:.1f}"]
        for one in found
    ]  # fmt: skip
    return markdown(["microphones", "ready, s", "first state, s", "late by p50, ms", "p99, ms", "at most, ms",
                     "CPU of each, ms/s", "of the core, %", "memory of one, MB", "load"], rows)  # fmt: skip


def picture(found: list[dict], path: Path) -> None:
    """Draw lateness, and what of the core is taken, by number of daemons."""
    late = {share: [one["latency_ms"][share] for one in found] for share in ("p50", "p99", "worst")}
    taken = {"all of them": [one["core_percent"] for one in found]}
    panels = [
        Panel("ms late", late, most=(f"{MOST_LATE_MS:.0f} ms", MOST_LATE_MS), logarithmic=True),
        Panel("% of the core", taken),
        Panel("ms of CPU for a second of sound", {"each of them": [one["cpu_ms_per_s"] for one in found]}),
    ]
    draw(path, "microphones on one core", [one["daemons"] for one in found], panels)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure the daemon's start, latency and memory, alone and in a crowd."
    )
    parser.add_argument("--seconds", type=asked.seconds, default=60.0, help="measured, with each number (60)")
    parser.add_argument("--counts", type=asked.number, nargs="+", default=[1, 4, 16, 64], help="together (1 4 16 64)")
    parser.add_argument("--out", type=Path, default=GRAPHS, help=f"a folder for {REPORT.name} and its picture")
    options = parser.parse_args()
    out, everywhere = asked.folder(options.out), os.sched_getaffinity(0)
    run_together(1, 6.0, everywhere)  # what was not in the page cache is now
    found = []
    for count in options.counts:
        found.append(run_together(count, options.seconds, {max(everywhere)} if count > 1 else everywhere))
        (out / REPORT.name).write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    picture(found, (out / REPORT.name).with_suffix(".png"))
    print(table(found))
    return 0


if __name__ == "__main__":
    asked.answer(main)
