"""The choice of an artifact's golden sound.

`python -m convert.verification.golden ARTIFACT OUT.npz FIRST END` observes the candidates from FIRST to before END.

Two implementations of int8 round differently, so one step of an activation apart is no fault; where the network is of
two minds that moves a probability by more than the tolerance. So the first candidate is taken on which all runtimes
here agree with room to spare.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from convert.graph import child
from edge.errors import ArtifactError
from edge.model.artifact import read_artifact, write_artifact
from edge.model.golden import GoldenSound
from edge.model.graph import load_model
from edge.model.manifest import Manifest
from edge.model.replay import Observed, embedding_tolerance, is_of_graph, observe, record

# float32 differs by the order of sums; float16 by how a runtime widens it; the others by steps of 1/256.
TOLERANCE = {"float32": 1e-4, "float16": 1e-3, "dynamic": 2 / 256, "int8": 2 / 256}
ROOM = 0.5  # the share of the tolerance that the runtimes here may use up

PER_DURATION = 70
# How many are looked at before it is known whether more are needed: of most networks the first will do.
PORTIONS = (10, 3 * PER_DURATION)


def candidates() -> list[GoldenSound]:
    """Return the sounds to choose from, always the same; the longest first: they replay the most of a network."""
    rng = np.random.RandomState(1)
    return [
        GoldenSound(
            duration_s=duration,
            pitch_start_hz=round(rng.uniform(70, 400), 1),
            pitch_end_hz=round(rng.uniform(70, 400), 1),
            harmonics=int(rng.randint(5, 40)),
            syllables_per_s=round(rng.uniform(1, 8), 2),
            amplitude=round(10 ** rng.uniform(-1.5, -0.3), 4),
            noise_amplitude=round(10 ** rng.uniform(-4, -2), 5),
        )
        for duration in (2.4, 1.2, 0.6)
        for _ in range(PER_DURATION)
    ]


def with_golden(graph: bytes, manifest: Manifest, pythons: Sequence[str], *, timeout_s: float) -> Manifest:
    """Return the manifest with a golden sound on which all runtimes agree.

    Raises ArtifactError where there is none: the artifact would be refused by one of them.
    """
    tolerance, apart = TOLERANCE[manifest.precision], []
    for end in PORTIONS:
        numbers = range(len(apart), end)
        observed = [_observed_by(python, graph, manifest, numbers, timeout_s) for python in pythons]
        apart += [max(_apart(one, seen[0], tolerance) for one in seen) for seen in zip(*observed, strict=True)]
        if fitting := [index for index, share in enumerate(apart) if share <= ROOM]:
            break
    chosen = fitting[0] if fitting else int(np.argmin(apart))
    if not apart[chosen] <= 1.0:
        raise ArtifactError(
            f"golden sound: the runtimes are {apart[chosen]:.3g} times the tolerance apart on the best of {len(apart)}"
        )
    golden = record(
        load_model(graph, manifest),
        manifest,
        candidates()[chosen],
        probs_tolerance=tolerance,
        same_argmax=manifest.precision in ("dynamic", "int8"),
    )
    return msgspec.structs.replace(manifest, golden=golden)


def _apart(one: Observed, other: Observed, tolerance: float) -> float:
    """Return how far apart two runtimes are, as a share of what replay lets pass."""
    share = float(np.abs(one.probs - other.probs).max()) / tolerance
    if one.embedding is None:
        return share
    difference = float(np.abs(one.embedding - other.embedding).max())
    return max(share, difference / embedding_tolerance(other.embedding, tolerance))


def _observed_by(
    python: str, graph: bytes, manifest: Manifest, numbers: range, timeout_s: float
) -> list[Observed]:
    with tempfile.TemporaryDirectory(prefix="roomtone-golden-") as name:
        path, out = Path(name) / "candidate.tflite", Path(name) / "out.npz"
        write_artifact(path, graph, manifest)
        child.run_module(
            "convert.verification.golden", [str(path), str(out), str(numbers.start), str(numbers.stop)],
            what=f"{manifest.model_id}: golden sounds in {python}", timeout_s=timeout_s, python=python,
        )  # fmt: skip
        with np.load(out) as file:
            return [
                Observed(
                    features=np.empty(0), probs=file[f"probs_{number}"], embedding=file.get(f"embedding_{number}")
                )
                for number in numbers
            ]


def main(path: str, out_path: str, first: str, end: str) -> None:
    """Write the probabilities of these candidates, before the artifact has a golden sound, and its embedding where the
    features do not prove that."""
    artifact = read_artifact(path)
    manifest, found = artifact.manifest, {}
    model = load_model(artifact.graph, manifest)
    sounds = candidates()
    for number in range(int(first), int(end)):
        seen = observe(model, manifest, sounds[number])
        found[f"probs_{number}"] = seen.probs
        if is_of_graph(manifest):
            found[f"embedding_{number}"] = seen.embedding
    np.savez(out_path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
