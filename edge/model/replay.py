"""The golden sound replayed: through the front end and the graph, against what the converter saw."""

import numpy as np

from edge.errors import ArtifactError
from edge.features.mfcc import MfccSpec, mfcc
from edge.model.golden import EVERY_FRAMES, Golden, GoldenSound
from edge.model.graph import Model

FEATURE_TOLERANCE_DB = 0.01  # numpy 1 computes the FFT of float32 in float64: 1e-3 dB apart at the floor


def observe(model: Model, spec: MfccSpec, sound: GoldenSound) -> tuple[np.ndarray, np.ndarray]:
    """Return the golden sound's frames (n, coefficients) and probabilities (blocks, labels), a row per block."""
    frames = mfcc(sound.samples(spec.sample_rate_hz), spec)
    model.reset()
    rows = []
    for start in range(0, len(frames) - spec.block_frames + 1, spec.block_frames):
        probs = model.process(frames[start : start + spec.block_frames])
        if probs is not None:
            rows.append(probs)
    model.reset()
    return frames, np.array(rows)


def record(model: Model, spec: MfccSpec, sound: GoldenSound, *, probs_tolerance: float, same_argmax: bool) -> Golden:
    """Return what `replay` will compare with, as seen now."""
    frames, probs = observe(model, spec, sound)
    return Golden(
        sound=sound,
        features=np.round(frames[::EVERY_FRAMES].astype(np.float64), 3).tolist(),
        probs=np.round(probs.astype(np.float64), 5).tolist(),
        probs_tolerance=probs_tolerance,
        same_argmax=same_argmax,
    )


def replay(model: Model, spec: MfccSpec, golden: Golden) -> float:
    """Return the largest probability difference. Raises ArtifactError if features or probabilities differ too much."""
    frames, probs = observe(model, spec, golden.sound)
    if not len(probs):
        raise ArtifactError("golden replay: the sound is too short for an answer")
    expected = _matrix(golden.features, spec.coefficients, "features")
    seen = frames[:: golden.every_frames]
    if seen.shape != expected.shape:
        raise ArtifactError(f"golden replay: {len(seen)} frames compared, the manifest has {len(expected)}")
    if not (difference := float(np.abs(seen - expected).max())) <= FEATURE_TOLERANCE_DB:
        raise ArtifactError(
            f"golden replay: features differ by {difference:.3g} dB: another front end than in training"
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
    return difference


def _same_argmax(probs: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Whether the same label wins in every row, but for ties that the tolerance allows."""
    ordered = np.sort(expected, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > 2 * tolerance
    return bool((probs.argmax(axis=1) == expected.argmax(axis=1))[clear].all())


def _matrix(rows: list[list[float]], width: int, name: str) -> np.ndarray:
    if not rows or any(len(row) != width for row in rows):
        raise ArtifactError(f"manifest: golden.{name}: expected rows of {width} numbers")
    return np.array(rows)
