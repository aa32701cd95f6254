"""Several sensors on one machine: what the second, the third and the eighth add, in memory and CPU, on one core.

    python -m tests.bench.instances [--counts 1 2 3 8] [--seconds 30] [--set MALLOC_ARENA_MAX=1]

Each is `roomtone run` with a program as its microphone that plays speech at the pace of the clock, on a real broker.
The sensors and what captures for them are held to one core; the players and the broker are not, and not counted.
"""

import argparse
import compileall
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tests.bench import asked
from tests.bench.cost import sounds
from tests.bench.peers import RATE_HZ
from tests.support.broker import Broker
from tests.support.daemon import Daemon
from tests.support.memory import cpu_s
from tests.support.sounds import ROOT, to_int16

REPORT = Path(__file__).parent / "reports" / "instances.json"
SETTLED_S = 15.0
_PLAYER = """
import os, sys, time
os.sched_setaffinity(0, range(os.cpu_count()))
sound, due_s, at = open(sys.argv[1], "rb").read(), time.monotonic(), 0
while True:
    os.write(1, sound[at : at + 3_200])
    at = (at + 3_200) % len(sound)
    due_s += 0.1
    time.sleep(max(0.0, due_s - time.monotonic()))
"""


def measure(count: int, seconds: float, core: int, environment: dict[str, str]) -> dict:
    """Run `count` sensors for `seconds` after they have settled, on one core, and return what they needed."""
    with tempfile.TemporaryDirectory(prefix="roomtone-bench-") as name, Broker(Path(name) / "broker") as broker:
        folder = Path(name)
        (folder / "player.py").write_text(_PLAYER)
        speech = to_int16(sounds(40.0)["speech"])
        with ExitStack() as stack:
            daemons = []
            for number in range(count):
                home = folder / str(number)
                home.mkdir()
                sound = home / "speech.raw"
                sound.write_bytes(np.roll(speech, -number * RATE_HZ).tobytes())
                edge = {
                    "device": {"id": f"room-{number}"},
                    "audio": {"command": [sys.executable, "-S", str(folder / "player.py"), str(sound)]},
                }
                daemons.append(stack.enter_context(
                    Daemon(home, broker.port, recording="", edge=edge, env=environment, cores={core})
                ))  # fmt: skip
            for daemon in daemons:
                daemon.wait_until_ready()
                daemon.wait_for_status("^(?!microphone)")
            time.sleep(SETTLED_S)
            pairs = [(daemon.process.pid, _capture(daemon.process.pid)) for daemon in daemons]
            before = [cpu_s(*pair) for pair in pairs]
            time.sleep(seconds)
            after = [cpu_s(*pair) for pair in pairs]
            used = [(now - then) / seconds for now, then in zip(after, before, strict=True)]
            memory = [_memory_mb(*pair) for pair in pairs]
        return {
            "sensors": count,
            "rss_mb": round(statistics.mean(each["Rss"] for each in memory), 1),
            "pss_mb": round(statistics.mean(each["Pss"] for each in memory), 1),
            "uss_mb": round(statistics.mean(each["Private_Clean"] + each["Private_Dirty"] for each in memory), 1),
            "total_pss_mb": round(sum(each["Pss"] for each in memory), 1),
            "cpu_ms_per_s": round(1_000 * statistics.mean(used), 1),
            "core_percent": round(100 * sum(used), 1),
        }


def _capture(sensor: int) -> int:
    """Return the process that captures for a sensor."""
    (child,) = Path(f"/proc/{sensor}/task/{sensor}/children").read_text().split()
    return int(child)


def _memory_mb(*processes: int) -> dict[str, float]:
    """Return the sums of both processes in MB, by the kernel's words. Pss counts a shared page by its share."""
    told: dict[str, float] = {}
    for pid in processes:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, value = line.partition(":")
            told[name] = told.get(name, 0.0) + int(value.split()[0]) * 1_024 / 1e6
    return told


def table(found: list[dict]) -> str:
    """Return the table of the README."""
    lines = [
        "| sensors | memory of all, MB | a further one, MB | its own pages, MB | CPU of each, ms/s | of the core, % |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one, before in zip(found, [None, *found], strict=False):
        more = "" if before is None else (
            f"{(one['total_pss_mb'] - before['total_pss_mb']) / (one['sensors'] - before['sensors']):.1f}"
        )  # fmt: skip
        lines.append(f"| {one['sensors']} | {one['total_pss_mb']:.1f} | {more} | {one['uss_mb']:.1f} "
                     f"| {one['cpu_ms_per_s']:.1f} | {one['core_percent']:.1f} |")  # fmt: skip
    return "\n".join(lines)


def setting(text: str) -> tuple[str, str]:
    """Read NAME=VALUE. Raises ArgumentTypeError."""
    name, given, value = text.partition("=")
    if not (name and given):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=asked.number, nargs="+", default=[1, 2, 3, 8])
    parser.add_argument("--seconds", type=asked.seconds, default=30.0)
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE",
                        help="in the sensors' environment")  # fmt: skip
    parser.add_argument("--out", type=Path, help=f"write the figures there, as {REPORT.name} has them")
    options = parser.parse_args()
    out = options.out and asked.file(options.out)
    compileall.compile_dir(ROOT / "edge", quiet=1)  # as pip does when it installs: or each compiles it at its start
    environment = dict(options.set)
    core = max(os.sched_getaffinity(0))
    found = [measure(count, options.seconds, core, environment) for count in options.counts]
    for one in found:
        print(json.dumps(one), flush=True)
    print(table(found))
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    asked.answer(main)
