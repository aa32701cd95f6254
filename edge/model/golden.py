"""The golden sound: made by a formula, replayed at every start through the front end and the graph.

The manifest holds the formula's parameters, some of the features and all the probabilities that the converter saw;
a sensor whose own differ by more than the tolerance refuses to start.
"""

from typing import Annotated

import msgspec
import numpy as np

from edge.errors import ArtifactError
from edge.features.mfcc import MfccSpec, mfcc
from edge.model.graph import Model

EVERY_FRAMES = 20  # so much of the features stands in a manifest
_PIECE = 4_096
FEATURE_TOLERANCE_DB = 0.01  # numpy 1 computes the FFT of float32 in float64: 1e-3 dB apart at the floor


class GoldenSound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Harmonics of a gliding pitch in syllables, over uniform noise, at 16 kHz."""

    duration_s: Annotated[float, msgspec.Meta(ge=0.5, le=10)] = 2.4
    pitch_start_hz: Annotated[float, msgspec.Meta(gt=20, lt=1_000)] = 110.0
    pitch_end_hz: Annotated[float, msgspec.Meta(gt=20, lt=1_000)] = 260.0
    harmonics: Annotated[int, msgspec.Meta(ge=1, le=40)] = 20
    syllables_per_s: Annotated[float, msgspec.Meta(gt=0, le=20)] = 3.5
    amplitude: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    noise_amplitude: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.002
    noise_seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 1

    def samples(self, rate_hz: int) -> np.ndarray:
        """Return the sound: float32 (duration_s * rate_hz,)."""
        count = int(self.duration_s * rate_hz)
        sound = np.empty(count, np.float32)
        for start in range(0, count, _PIECE):  # so that a start needs no memory which the sensor does not
            piece = np.arange(start, min(start + _PIECE, count), dtype=np.uint32)
            sound[piece] = self._at(piece, rate_hz)
        return sound

    def _at(self, samples: np.ndarray, rate_hz: int) -> np.ndarray:
        t = samples / rate_hz
        glide = (self.pitch_end_hz - self.pitch_start_hz) / (2 * self.duration_s)
        phase = 2 * np.pi * (self.pitch_start_hz * t + glide * t**2)
        voice = sum(np.sin(k * phase) / k for k in range(1, self.harmonics + 1))
        syllables = 0.5 - 0.5 * np.cos(2 * np.pi * self.syllables_per_s * t)
        noise = uniform_noise(samples + np.uint32(self.noise_seed))
        return self.amplitude * syllables * voice + self.noise_amplitude * noise


def uniform_noise(mixed: np.ndarray) -> np.ndarray:
    """Return float64 in [-1, 1), same shape: uint32 counters through the finalizer of MurmurHash3 (fmix32).

    A formula of its own, because loading numpy's generators takes 6.6 MB, which a sensor would carry for nothing else.
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return mixed / 2.0**31 - 1.0


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the converter saw on the golden sound.

    features: every `every_frames`-th MFCC frame, in dB. probs: a row per block of frames, from onset to the end.
    """

    sound: GoldenSound = GoldenSound()
    every_frames: Annotated[int, msgspec.Meta(ge=1)] = EVERY_FRAMES
    features: list[list[float]]
    probs: list[list[float]]
    probs_tolerance: Annotated[float, msgspec.Meta(gt=0, le=0.05)]
    same_argmax: bool = False


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
