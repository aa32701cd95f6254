"""What a second of the bundled recording costs by the size of a block, and by how often an utterance is answered.

    python -m tests.bench.blocks

All of the sensor's ear in blocks of another size: its extractor, its gates, its networks, which were made for 80 ms and
may answer otherwise then; shorter ones the speech gate does not take. In instructions (guard.py), as a machine's load
is in none of them.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from edge.sound.recording import load_recording
from tests.bench import asked
from tests.bench.growth import Panel, draw, power
from tests.bench.guard import SOUND, callgrind
from tests.bench.peers import BLOCK_MS, RATE_HZ, SIZES
from tests.support.sounds import ROOT
from train.pages.tables import markdown

REPORT = ROOT / "tests" / "bench" / "reports" / "blocks.json"
SECONDS = 10
Found = list[dict[str, float]]


def measure() -> Found:
    """Return of each size: ms of a block, ms from answer to answer, millions of instructions for a second."""
    sound, found = load_recording(SOUND)[: SECONDS * RATE_HZ], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.npy"
        np.save(file, sound)
        for name, (block_ms, answer_ms) in SIZES.items():
            millions = round(callgrind(name, file) / 1e6 / SECONDS, 2)
            found.append({"block_ms": block_ms, "answer_ms": answer_ms, "millions": millions})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def lines(found: Found) -> dict[str, dict[float, float]]:
    """Return millions of instructions by ms: of what lies between answers, and of blocks."""
    return {
        f"answers so far apart, in blocks of {BLOCK_MS} ms": {
            one["answer_ms"]: one["millions"] for one in found if one["block_ms"] == BLOCK_MS
        },
        "blocks so long, each answered": {
            one["block_ms"]: one["millions"] for one in found if one["block_ms"] == one["answer_ms"]
        },
    }


def table(found: Found) -> str:
    """Return the figures as Markdown, with the power by which they grow from the shortest to the longest."""
    columns = sorted({ms for line in lines(found).values() for ms in line})
    rows = []
    for name, line in lines(found).items():
        few, many = min(line), max(line)
        grown = power(few, many, line[few], line[many])
        rows.append([name, *(f"{line[ms]:.2f}" for ms in columns), grown])
    return markdown(["million instructions a second", *(f"{ms} ms" for ms in columns), "grows by"], rows)


def picture(found: Found, path: Path) -> None:
    """Draw instructions by length."""
    by_name = lines(found)
    places = sorted(next(iter(by_name.values())))
    drawn = {name: [line[ms] for ms in places] for name, line in by_name.items()}
    draw(path, "ms", places, [Panel("million instructions for a second of sound", drawn)])


def main() -> int:
    parser = argparse.ArgumentParser(description="Count what the sensor costs by the size of its blocks.")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args()
    out = asked.file(options.out)
    found = measure()
    out.write_text(json.dumps(found, indent=1) + "\n")
    picture(found, out.with_suffix(".png"))
    print(table(found))
    return 0


if __name__ == "__main__":
    asked.answer(main)
