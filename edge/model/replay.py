"""The golden sound replayed: through the front end and the graph, against what the converter saw.

A graph that hears frames is asked once for the whole sound. One that hears utterances is played the sound in a room of
which nothing is known, hears it as the room's first utterance, and is played it again.
"""

from typing import NamedTuple

import numpy as np

from edge.errors import ArtifactError
from edge.features.mfcc import mfcc
from edge.model.golden import EVERY_FRAMES, Golden, GoldenSound
from edge.model.graph import Model
from edge.model.manifest import Manifest
from edge.model.utterance import UtteranceModel

FEATURE_TOLERANCE_DB = 0.01  # numpy 1 computes the FFT of float32 in float64: 1e-3 dB apart at the floor
# Beside the tolerance of probabilities, as a share of the embedding's largest number: an embedding in int8 is made of
# many roundings. The runtimes here are .0073 of it apart on the bundled model's golden sound.
EMBEDDING_TOLERANCES = 4.0
FUNCTIONAL_TOLERANCE = 0.01  # deviations; numpy 1 and 2 are at most 2e-4 apart, over the 210 sounds of convert


class Observed(NamedTuple):
    """What a model made of the golden sound.

    features: its MFCC frames (n, coefficients), in dB; of a model that hears utterances, the functionals at the end of
    each of the two times (2, functionals), in deviations of the training's from its mean, 0 where there was no frame
    for one. probs: a row per answer (answers, labels). embedding: at the end (dimensions,), or None.
    """

    features: np.ndarray
    probs: np.ndarray
    embedding: np.ndarray | None


def observe(model: Model | UtteranceModel, manifest: Manifest, sound: GoldenSound) -> Observed:
    """Return what a model makes of a golden sound. One that hears utterances knows nothing of its room afterwards."""
    if isinstance(model, UtteranceModel):
        return _heard_twice(model, manifest, sound)
    spec = manifest.features
    frames = mfcc(sound.samples(spec.sample_rate_hz), spec)
    model.reset()
    rows = []
    for start in range(0, len(frames) - spec.block_frames + 1, spec.block_frames):
        probs = model.process(frames[start : start + spec.block_frames])
        if probs is not None:
            rows.append(probs)
    embedding = model.embedding
    model.reset()
    return Observed(frames, np.array(rows), embedding)


def _heard_twice(model: UtteranceModel, manifest: Manifest, sound: GoldenSound) -> Observed:
    spec, prior = manifest.features, manifest.baseline
    samples = sound.samples(spec.sample_rate_hz)
    mean, deviation = np.array(prior.mean), np.hypot(prior.within, prior.between)
    features, rows = [], []
    model.forget()
    for _ in range(2):
        model.reset(np.zeros(spec.window_samples, np.float32))
        for start in range(0, len(samples) - spec.block_samples + 1, spec.block_samples):
            probs = model.process(samples[start : start + spec.block_samples])
            if probs is not None:
                rows.append(probs)
        features.append(np.nan_to_num((model.functionals - mean) / deviation))
        embedding = model.embedding
        model.hear()
    model.forget()
    return Observed(np.array(features), np.array(rows), embedding)


def record(
    model: Model | UtteranceModel, manifest: Manifest, sound: GoldenSound, *, probs_tolerance: float, same_argmax: bool
) -> Golden:
    """Return what `replay` will compare with, as seen now."""
    features, probs, embedding = observe(model, manifest, sound)
    proof = {}
    if is_of_graph(manifest):
        proof = {
            "embedding": np.round(embedding.astype(np.float64), 3 if probs_tolerance > 1e-3 else 5).tolist(),
            "embedding_tolerance": embedding_tolerance(embedding, probs_tolerance),
        }
    return Golden(
        sound=sound,
        features=np.round(features[:: _every(manifest, EVERY_FRAMES)].astype(np.float64), 3).tolist(),
        probs=np.round(probs.astype(np.float64), 5).tolist(),
        probs_tolerance=probs_tolerance,
        same_argmax=same_argmax,
        **proof,
    )


def replay(model: Model | UtteranceModel, manifest: Manifest) -> float:
    """Return the largest probability difference. Raises ArtifactError if features or probabilities differ too much."""
    golden = manifest.golden
    features, probs, embedding = observe(model, manifest, golden.sound)
    if not len(probs):
        raise ArtifactError("golden replay: the sound is too short for an answer")
    expected = _matrix(golden.features, features.shape[-1], "features")
    seen = features[:: _every(manifest, golden.every_frames)]
    if seen.shape != expected.shape:
        raise ArtifactError(f"golden replay: {len(seen)} frames compared, the manifest has {len(expected)}")
    tolerance, unit = (
        (FUNCTIONAL_TOLERANCE, "deviations") if manifest.form == "utterance" else (FEATURE_TOLERANCE_DB, "dB")
    )
    if not (difference := float(np.abs(seen - expected).max())) <= tolerance:
        raise ArtifactError(
            f"golden replay: features differ by {difference:.3g} {unit}: another front end than in training"
        )
    expected = _matrix(golden.probs, probs.shape[-1], "probs")
    if probs.shape != expected.shape:
        raise ArtifactError(f"golden replay: {len(probs)} probabilities compared, the manifest has {len(expected)}")
    if not (difference := float(np.abs(probs - expected).max())) <= golden.probs_tolerance:
        raise ArtifactError(
            f"golden replay: probabilities differ by {difference:.3g}, tolerance is {golden.probs_tolerance:.3g}"
        )
    if golden.same_argmax and not _same_argmax(probs, expected, golden.probs_tolerance):
        raise ArtifactError("golden replay: another label wins than in the manifest")
    if is_of_graph(manifest):
        _compare_embedding(embedding, golden)
    return difference


def _compare_embedding(embedding: np.ndarray, golden: Golden) -> None:
    if golden.embedding is None or golden.embedding_tolerance is None:
        raise ArtifactError("manifest: golden.embedding: missing, though the model declares an embedding")
    expected = _matrix([golden.embedding], len(embedding), "embedding")[0]
    if not (difference := float(np.abs(embedding - expected).max())) <= golden.embedding_tolerance:
        raise ArtifactError(
            f"golden replay: the embedding differs by {difference:.3g}, tolerance is {golden.embedding_tolerance:.3g}"
        )


def is_of_graph(manifest: Manifest) -> bool:
    """Return whether there is an embedding that the features do not prove."""
    return manifest.embedding is not None and manifest.embedding.source != "functionals"


def embedding_tolerance(embedding: np.ndarray, probs_tolerance: float) -> float:
    """Return by how much the numbers of an embedding may differ where probabilities may by `probs_tolerance`."""
    return float(f"{max(EMBEDDING_TOLERANCES * probs_tolerance * float(np.abs(embedding).max()), 1e-4):.3g}")


def _every(manifest: Manifest, every_frames: int) -> int:
    """Return of how many rows of features one stands in the manifest: of functionals, all do."""
    return 1 if manifest.form == "utterance" else every_frames


def _same_argmax(probs: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Whether the same label wins in every row, but for ties that the tolerance allows."""
    ordered = np.sort(expected, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 2 * tolerance
    return bool((probs.argmax(axis=1) == expected.argmax(axis=1))[clear].all())


def _matrix(rows: list[list[float]], width: int, name: str) -> np.ndarray:
    if not rows or any(len(row) != width for row in rows):
        raise ArtifactError(f"manifest: golden.{name}: expected rows of {width} numbers")
    return np.array(rows)
