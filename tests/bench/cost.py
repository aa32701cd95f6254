"""What roomtone costs, beside what a person would otherwise run: `make bench`.

Every peer hears the same sounds in a process of its own, several rounds in turn; medians, and ratios within the run.
Prints a table, writes JSON and a picture into runs/bench.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from tests.bench import asked
from tests.bench.ears import joined, pink
from tests.bench.peers import GRAPHS, PEERS
from tests.support.sounds import CORPORA, ROOT, corpus_clips

SILENCE_DBFS = -62.0
PACKAGES = ("numpy", "ai-edge-litert", "librosa", "tensorflow", "tensorflow-cpu", "keras", "kaldi-native-fbank")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1",
              "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip


def sounds(seconds: float) -> dict[str, np.ndarray]:
    """Return a quiet room, other sound than speech (where the corpora are), and speech, of the same length."""
    samples = round(seconds * SAMPLE_RATE_HZ)
    silence = pink(samples, np.random.default_rng(0)) * 10 ** (SILENCE_DBFS / 20)
    made = {"silence": silence}
    if (CORPORA / "TESS").is_dir():
        ambience = random.Random(0).sample(sorted((CORPORA / "ESC-10").glob("*/*.ogg")), 30)
        made["ambience"] = joined([load_recording(path) for path in ambience])
        made["speech"] = np.concatenate([load_recording(path) for path in corpus_clips(60, folders=("TESS",))])
    else:
        made["speech"] = load_recording(ROOT / "edge" / "commands" / "demo.flac")
    return {name: np.resize(sound, samples).astype(np.float32) for name, sound in made.items()}


def measure(module: str, *arguments: str) -> Any:
    """Run a module of the bench in a process of its own, with one thread; return the JSON that it prints last."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what roomtone costs beside its peers.")
    parser.add_argument("--rounds", type=asked.number, default=2, help="of all (2)")
    parser.add_argument("--seconds", type=asked.seconds, default=60.0, help="of each sound (60)")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--out", type=Path, default=GRAPHS)
    options = parser.parse_args()
    out = asked.folder(options.out)
    subprocess.run([sys.executable, "-m", "tests.bench.graphs"], cwd=ROOT, check=True)
    files = {}
    for name, sound in sounds(options.seconds).items():
        files[name] = GRAPHS / f"{name}.npy"
        np.save(files[name], sound)
    if "ambience" not in files:
        print(f"cost: no corpora in {CORPORA}: no ambience, and speech is the bundled recording", file=sys.stderr)
    seen: dict[str, dict[str, list[dict[str, float]]]] = {peer: {name: [] for name in files} for peer in options.peers}
    for number in range(options.rounds):
        for peer in options.peers:  # in turn, so that a slow minute of the machine meets all of them
            for name, path in files.items():
                seen[peer][name].append(measure("tests.bench.peers", peer, str(path)))
            print(f"round {number + 1} of {options.rounds}: {peer}", file=sys.stderr, flush=True)
    found = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": versions(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "peers": {
            peer: {"what": PEERS[peer].what, "sounds": {name: median(rounds) for name, rounds in by_sound.items()}}
            for peer, by_sound in seen.items()
        },
    }
    (out / "cost.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, out / "cost.png")
    print(table(found))
    print(summary(found))
    return 0


def table(found: dict) -> str:
    """Return the figures as Markdown: milliseconds of CPU per second of sound, and how many times roomtone's."""
    names = list(next(iter(found["peers"].values()))["sounds"])
    ours = found["peers"].get("roomtone", {}).get("sounds", {}).get("speech", {}).get("cpu_per_audio_s")
    head = ["", *(f"{name}, ms/s" for name in names), "times roomtone on speech", "first result, s", "memory, MB"]
    rows = []
    for peer, one in found["peers"].items():
        speech = one["sounds"]["speech"]
        ratio = f"{speech['cpu_per_audio_s'] / ours:.2f}" if ours and not peer.startswith("MFCC") else ""
        cells = [f"{1_000 * one['sounds'][name]['cpu_per_audio_s']:.2f}" for name in names]
        rows.append([peer, *cells, ratio, f"{speech['first_result_s']:.2f}", f"{speech['rss_mb']:.0f}"])
    from train.pages.tables import markdown

    return markdown(head, rows)


def summary(found: dict) -> str:
    """Return what the figures say, in a sentence; nothing where a peer that it names was not measured."""
    named = ("roomtone", "study", "YAMNet-shaped int8", "floor")
    if not set(named) <= set(found["peers"]):
        return ""
    alone, study, yamnet, floor = (
        {name: 1_000 * one["cpu_per_audio_s"] for name, one in found["peers"][peer]["sounds"].items()} for peer in named
    )
    return (
        f"So roomtone costs {study['speech'] / alone['speech']:.0f} times less than the study's way, "
        f"{yamnet['speech'] / alone['speech']:.1f} times less than a YAMNet in int8, "
        f"{alone['speech'] / floor['speech']:.1f} times the floor, and in silence "
        f"{100 * alone['silence'] / alone['speech']:.0f} % of what it costs on speech."
    )


def draw(found: dict, path: Path) -> None:
    """Draw CPU per second of speech, on a logarithmic axis."""
    import matplotlib.pyplot as plt

    peers = list(found["peers"])[::-1]
    values = [1_000 * found["peers"][peer]["sounds"]["speech"]["cpu_per_audio_s"] for peer in peers]
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(peers) + 1), layout="constrained")
    bars = axes.barh(peers, values, color=["#2f7f78" if peer.startswith("roomtone") else "#b9b2a3" for peer in peers])
    axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
    axes.set(xscale="log", xlabel="ms of CPU per second of speech", xlim=(min(values) / 2, max(values) * 3))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def versions() -> dict[str, str]:
    """Return what is installed of PACKAGES."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # TensorFlow comes under one of two names
    return found


def processor() -> str:
    """Return the processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    asked.answer(main)
