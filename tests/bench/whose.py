"""What a lesson tells of whoever spoke: how often its embedding names the speaker, among those of a corpus.

`python -m tests.bench.whose [CORPUS]...` hears some clips of each speaker as the sensor does, learns the speakers from
half of them (nearest mean, whitened by the deviation within speakers), and names those of the other half.
"""

import argparse
import csv
import random
from collections import defaultdict
from pathlib import Path

import numpy as np

from edge.hearing.pipeline import Pipeline
from edge.model.artifact import DEFAULT_MODEL, load
from edge.sound.blocks import timed_blocks
from edge.sound.recording import load_recording
from tests.support.sounds import CORPORA

CLIPS = 24  # of each speaker
SHRINKAGE = 0.1  # of the covariance within speakers towards its mean


def speakers(corpus: str) -> dict[str, list[Path]]:
    """Return the clips of a corpus by speaker."""
    found = defaultdict(list)
    with (CORPORA / corpus / "index.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found[row["speaker"]].append(CORPORA / corpus / row["path"])
    return found


def embedding(pipeline: Pipeline, path: Path) -> np.ndarray | None:
    """Return that of a clip's last answer; None where the sensor hears nobody."""
    before, answered = pipeline.own_probs, False
    end_s = 0.0
    for block in timed_blocks([load_recording(path)], started_at=0.0):
        end_s = block.end_s
        answered |= pipeline.process(block).probs is not None
    found = pipeline.embedding if answered and pipeline.own_probs is not before else None
    pipeline.interrupt(end_s)
    return found


def named(corpus: str) -> tuple[float, int, int]:
    """Return the share of clips whose speaker is named, how many clips, and among how many speakers."""
    artifact, model = load(DEFAULT_MODEL)
    pipeline = Pipeline(model, artifact.manifest)
    known, asked = defaultdict(list), []
    for speaker, paths in sorted(speakers(corpus).items()):
        chosen = random.Random(0).sample(sorted(paths), min(CLIPS, len(paths)))
        heard = [found for found in (embedding(pipeline, path) for path in chosen) if found is not None]
        known[speaker] += heard[: len(heard) // 2]
        asked += [(speaker, each) for each in heard[len(heard) // 2 :]]
    names = [name for name, heard in known.items() if heard]
    means = np.stack([np.mean(known[name], axis=0) for name in names])
    within = np.concatenate([np.stack(known[name]) - mean for name, mean in zip(names, means, strict=True)])
    covariance = np.cov(within.T)
    spherical = np.eye(len(covariance)) * covariance.trace() / len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * spherical
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    right = [names[int(np.square((each - means) @ whiten).sum(axis=1).argmin())] == speaker for speaker, each in asked]
    return float(np.mean(right)), len(right), len(names)


def main() -> None:
    parser = argparse.ArgumentParser(description="How often an embedding names its speaker.")
    parser.add_argument("corpora", nargs="*", default=["nEMO"], help="folders of ROOMTONE_CORPORA with an index.csv")
    for corpus in parser.parse_args().corpora:
        share, clips, among = named(corpus)
        chance = f"chance {100 / among:.0f} %"
        print(f"{corpus}: {100 * share:.0f} % of {clips} clips named, among {among} speakers ({chance})")


if __name__ == "__main__":
    main()
