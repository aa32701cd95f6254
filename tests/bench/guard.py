"""Whether the hot path still costs what it did: instructions, which no other load on the machine changes.

`make bench` counts them (valgrind's callgrind) for the same seconds of speech through roomtone and through the floor,
and holds the ratio against tests/bench/baseline.json. `python -m tests.bench.guard --renew` writes that file anew.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.bench.cost import ONE_THREAD, sounds
from tests.bench.peers import RATE_HZ
from tests.support.sounds import ROOT

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.1
MOST_TAUGHT = 1.05  # of what it costs untaught
SHORT_S, LONG_S = 5.0, 15.0  # what starting costs is in both, and falls out of their difference
COUNTED = re.compile(r"Collected : (\d+)")


def instructions_per_audio_s(peer: str, speech: np.ndarray) -> float:
    """Return the instructions that a second of sound adds."""
    short, long = (_instructions(peer, speech[: round(seconds * RATE_HZ)]) for seconds in (SHORT_S, LONG_S))
    return (long - short) / (LONG_S - SHORT_S)


def _instructions(peer: str, sound: np.ndarray) -> int:
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/sound.npy", sound)
        command = [
            "valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out",
            sys.executable, "-m", "tests.bench.peers", peer, f"{folder}/sound.npy",
        ]  # fmt: skip
        environment = os.environ | ONE_THREAD | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    found = COUNTED.search(done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"guard: {peer} under valgrind failed:\n{done.stderr[-2_000:]}")
    return int(found[1])


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold the hot path's instructions against the committed baseline.")
    parser.add_argument("--renew", action="store_true", help="write the baseline instead")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("guard: valgrind is missing; install it (apt-get install valgrind)", file=sys.stderr)
        return 69
    speech = sounds(LONG_S)["speech"]
    counted = {peer: instructions_per_audio_s(peer, speech) for peer in ("roomtone", "roomtone, taught", "floor")}
    ratio, taught = counted["roomtone"] / counted["floor"], counted["roomtone, taught"] / counted["roomtone"]
    million = ", ".join(f"{peer} {value / 1e6:.1f}" for peer, value in counted.items())
    print(f"million instructions per second of speech: {million}; ratio {ratio:.3f}, taught {taught:.3f}")
    if options.renew:
        BASELINE.write_text(json.dumps({"ratio": round(ratio, 3)}) + "\n")
        return 0
    wanted = json.loads(BASELINE.read_text())["ratio"]
    if abs(ratio / wanted - 1) > TOLERANCE:
        print(f"guard: the baseline is {wanted}: {100 * (ratio / wanted - 1):+.0f} %", file=sys.stderr)
        return 1
    if taught > MOST_TAUGHT:
        print(f"guard: lessons cost {100 * (taught - 1):.1f} % more", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
