"""What `sensitivity` does: false events in an hour of other sound, and the share of speech that gets a label.

    python -m tests.bench.sensitivity [--clips 300] [--out reports/sensitivity.json]

It needs ESC-10, CREMA-D and nEMO (ROOMTONE_CORPORA), and draws a picture beside the report.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.hearing.pipeline import Pipeline
from edge.labels import QUIET, UNKNOWN
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import SAMPLE_RATE_HZ, timed_blocks
from edge.sound.recording import load_recording
from tests.bench import asked
from tests.support.sounds import CORPORA, ROOT

REPORT = ROOT / "tests" / "bench" / "reports" / "sensitivity.json"
SETTINGS = (0, 25, 50, 75, 100)
GAP_S, ROOM_DBFS = 1.5, -60.0
SOUNDS = {".wav", ".ogg", ".flac", ".opus"}


def files(corpora: Path, name: str) -> list[Path]:
    return sorted(path for path in (corpora / name).rglob("*") if path.suffix.lower() in SOUNDS)


def in_a_room(paths: list[Path]) -> Iterator[np.ndarray]:
    """Yield the clips with pauses between them, in a room that is never quite silent."""
    chance = np.random.default_rng(0)
    for path in paths:
        clip = np.concatenate([load_recording(path), np.zeros(round(GAP_S * SAMPLE_RATE_HZ), np.float32)])
        noise = chance.normal(0.0, 10 ** (ROOM_DBFS / 20), len(clip))
        yield (clip + noise).astype(np.float32)


def labels_of(pipeline: Pipeline, clips: Iterator[np.ndarray]) -> tuple[list[set[str]], int, float]:
    """Return what was said of each clip, how many emotions were said, and the hours it took."""
    ends, said, events, sound_s = [], [], 0, 0.0
    lengths: list[int] = []

    def pieces() -> Iterator[np.ndarray]:
        for clip in clips:
            lengths.append(len(clip))
            yield clip

    for block in timed_blocks(pieces(), started_at=0.0):
        while len(ends) < len(lengths):
            ends.append(sum(lengths[: len(ends) + 1]) / SAMPLE_RATE_HZ)
            said.append(set())
        sound_s = block.end_s
        if (change := pipeline.process(block).change) and change.label != QUIET:
            place = next((number for number, end_s in enumerate(ends) if block.end_s <= end_s), len(ends) - 1)
            said[place].add(change.label)
            events += change.label != UNKNOWN
    return said, events, sound_s / 3_600


def measured(clips: int) -> list[dict]:
    """Return what each setting does, with so many clips of each corpus of speech."""
    speech = [path for name in ("CREMA-D", "nEMO") for path in random.Random(0).sample(files(CORPORA, name), clips)]
    other = files(CORPORA, "ESC-10")
    found = []
    for sensitivity in SETTINGS:
        artifact, model = load(DEFAULT_MODEL)
        heard, _, _ = labels_of(Pipeline(model, artifact.manifest, sensitivity=sensitivity), in_a_room(speech))
        fresh = Pipeline(model, artifact.manifest, sensitivity=sensitivity)
        strange, events, hours = labels_of(fresh, in_a_room(other))
        found.append({
            "sensitivity": sensitivity,
            "false_events_per_hour": round(events / hours, 1),
            "false_clips": sum(bool(said - {UNKNOWN}) for said in strange),
            "speech_heard": round(sum(bool(said) for said in heard) / len(heard), 4),
            "speech_labelled": round(sum(bool(said - {UNKNOWN}) for said in heard) / len(heard), 4),
        })  # fmt: skip
        print(found[-1], flush=True)
    return found


def table(found: list[dict]) -> str:
    """Return the measured settings as a table."""
    lines = ["| sensitivity | false emotions in an hour of ESC-10 | speech heard | speech labelled |"]
    lines.append("| ---: | ---: | ---: | ---: |")
    lines += [
        f"| {each['sensitivity']} | {each['false_events_per_hour']:.0f} | {100 * each['speech_heard']:.1f} % "
        f"| {100 * each['speech_labelled']:.1f} % |"
        for each in found
    ]
    return "\n".join(lines)


def draw(found: list[dict], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    at = [each["sensitivity"] for each in found]
    left.plot(at, [each["false_events_per_hour"] for each in found], "o-", color="#b3541e")
    left.set_title("false emotions in an hour of ESC-10")
    for name, words in (("speech_heard", "heard"), ("speech_labelled", "labelled")):
        right.plot(at, [100 * each[name] for each in found], "o-", label=words)
    right.set_title("speech (CREMA-D, nEMO), % of clips")
    right.legend()
    for axes in (left, right):
        axes.set_xlabel("sensitivity")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=asked.number, default=300, help="of each corpus of speech (300)")
    parser.add_argument("--out", type=Path, default=REPORT, help="a file for the figures; the picture is beside it")
    options = parser.parse_args()
    asked.corpora("CREMA-D", "nEMO", "ESC-10")
    out = asked.file(options.out)
    found = measured(options.clips)
    out.write_text(json.dumps(found, indent=1) + "\n")
    draw(found, out.with_suffix(".png"))
    print(table(found))


if __name__ == "__main__":
    asked.answer(main)
