"""Whether the hot path still costs what it did: instructions, which no other load on the machine changes.

`make bench` counts those of the bundled recording through roomtone and through the floor, after a process has started
and warmed up, and holds their ratio against tests/bench/baseline.json. x86-64 by valgrind's callgrind; arm64, where it
is given a bundle (`make bundle ARCH=arm64`), emulated by qemu-user with a plugin (count.c). Two counts of the same code
differ by a third of a percent.

python -m tests.bench.guard [--arm64 dist/roomtone-VERSION-bookworm-arm64.tar] [--renew]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge.sound.recording import load_recording
from tests.bench import arm64
from tests.bench.cost import ONE_THREAD
from tests.bench.peers import RATE_HZ
from tests.support.sounds import ROOT

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.03
MOST_TAUGHT = 1.05  # of what it costs untaught
PEERS = ("roomtone", "roomtone, taught", "floor")
# The corpora are not everywhere, and other speech costs something else.
SOUND = ROOT / "edge" / "commands" / "demo.flac"
# A part of callgrind's counts ends at each of the calls that peers.py makes around the sound.
MARKED = "getppid"

Count = Callable[[str, Path], int]  # instructions that a peer has for a sound


def callgrind(peer: str, sound: Path) -> int:
    """Return how many instructions of this machine a peer has for the sound."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--dump-before={MARKED}", f"--callgrind-out-file={folder}/out"]
        command = [*valgrind, sys.executable, "-m", "tests.bench.peers", peer, str(sound)]
        environment = os.environ | ONE_THREAD | {"PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        parts = sorted(Path(folder).glob("out.*"), key=lambda part: int(part.suffix[1:]))
        found = re.search(r"^totals: (\d+)$", parts[-1].read_text(), re.MULTILINE) if parts else None
    if done.returncode or not found:
        raise SystemExit(f"guard: {peer} under valgrind failed:\n{done.stderr[-2_000:]}")
    return int(found[1])


def counted(count: Count, sound: np.ndarray) -> dict[str, float]:
    """Return millions of instructions for a second of the sound, by peer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.npy"
        np.save(file, sound)
        return {peer: round(count(peer, file) / 1e6 / (len(sound) / RATE_HZ), 2) for peer in PEERS}


def ratio_of(millions: dict[str, float]) -> float:
    """Return how many times the floor roomtone costs."""
    return millions["roomtone"] / millions["floor"]


def table(baseline: dict[str, dict[str, float]]) -> str:
    """Return the baseline as Markdown."""
    from train.pages.tables import markdown

    rows = [
        [machine, *(f"{millions[peer]:.2f}" for peer in PEERS), f"{ratio_of(millions):.2f}"]
        for machine, millions in baseline.items()
    ]
    return markdown(["million instructions a second", *PEERS, "times the floor"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Hold the hot path's instructions against the committed baseline.")
    parser.add_argument("--arm64", type=Path, metavar="BUNDLE", help="a bundle for arm64: count there, too")
    parser.add_argument("--renew", action="store_true", help="write the baseline instead, of what was counted")
    options = parser.parse_args()
    if lacking := _lacking(options.arm64):
        print(f"guard: {lacking}", file=sys.stderr)
        return 69
    sound, baseline, faults = load_recording(SOUND), json.loads(BASELINE.read_text()), []
    with arm64.unpacked(options.arm64) as count_arm64:
        counts = {"x86-64": callgrind} | ({"arm64": count_arm64} if count_arm64 else {})
        for machine, count in counts.items():
            found = counted(count, sound)
            print(table({machine: found}), end="", flush=True)
            if options.renew:
                baseline[machine] = found
            elif abs(away := ratio_of(found) / ratio_of(baseline[machine]) - 1) > TOLERANCE:
                faults.append(f"{machine}: {100 * away:+.1f} % against {BASELINE.name}")
            if (taught := found["roomtone, taught"] / found["roomtone"]) > MOST_TAUGHT:
                faults.append(f"{machine}: lessons cost {100 * (taught - 1):.1f} % more")
    if options.renew:
        BASELINE.write_text(json.dumps(baseline, indent=1) + "\n")
    for fault in faults:
        print(f"guard: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _lacking(bundle: Path | None) -> str | None:
    """Return what is not here that counting needs, and how it comes."""
    if shutil.which("valgrind") is None:
        return "valgrind is missing; install it (apt-get install valgrind)"
    if bundle and shutil.which(arm64.QEMU) is None:
        return f"{arm64.QEMU} is missing; install it (apt-get install qemu-user; qemu-user-static takes no plugin)"
    if bundle and not (bundle.is_file() and tarfile.is_tarfile(bundle)):
        return f"{bundle}: no bundle; make one with `make bundle ARCH=arm64`"
    return None


if __name__ == "__main__":
    sys.exit(main())
