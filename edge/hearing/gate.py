"""What is worth listening to: a level gate over an adaptive noise floor, then a speech gate."""

from collections import deque
from pathlib import Path
from typing import Protocol

import numpy as np

from edge.errors import ArtifactError
from edge.features.mfcc import MfccExtractor, MfccSpec
from edge.model.artifact import SPEECH_MODEL, load
from edge.model.graph import Model
from edge.sound.blocks import BLOCK_S

QUIETEST_FLOOR_DBFS = -80.0
INITIAL_FLOOR_DBFS = -60.0  # believed until a window has passed, so that a recording may begin with speech
SPEECH_LABELS = ("other", "speech")
SPEECH = SPEECH_LABELS.index("speech")


class LevelGate:
    """Open while a block stands out of the noise floor.

    The floor is the quietest block of the last `floor_window_s` (minimum statistics, after R. Martin, "Noise power
    spectral density estimation based on optimal smoothing and minimum statistics", 2001): speech has pauses, so it
    does not raise the floor, while a fan that is switched on does, one window later.
    """

    def __init__(self, *, margin_db: float, floor_window_s: float) -> None:
        self.margin_db = margin_db
        self._blocks_per_part = max(1, round(1.0 / BLOCK_S))
        self._parts = deque([INITIAL_FLOOR_DBFS], maxlen=max(1, round(floor_window_s)))
        self._parts.extend([INITIAL_FLOOR_DBFS] * (self._parts.maxlen - 1))
        self._part, self._part_blocks = 0.0, 0
        self._past_floor = INITIAL_FLOOR_DBFS
        self.floor_dbfs = INITIAL_FLOOR_DBFS
        self.above_floor_db = 0.0

    def believe(self, floor_dbfs: float) -> None:
        """Take this for the noise floor until a window has passed."""
        self._parts.extend([floor_dbfs] * self._parts.maxlen)
        self._past_floor = floor_dbfs

    def process(self, level: float) -> bool:
        """Take a block's level in dBFS; return whether the block is worth a look."""
        self._part = level if self._part_blocks == 0 else min(self._part, level)
        self._part_blocks += 1
        self.floor_dbfs = max(QUIETEST_FLOOR_DBFS, min(self._part, self._past_floor))
        if self._part_blocks == self._blocks_per_part:
            self._parts.append(self._part)
            self._past_floor = min(self._parts)
            self._part_blocks = 0
        self.above_floor_db = level - self.floor_dbfs
        return self.above_floor_db > self.margin_db


class SpeechRule:
    """Decides whether a block is speech, from both gates.

    A doubtful probability is enough where the block stands well out of the noise or where speech is under way.
    """

    def __init__(self, *, sure: float, doubtful: float, strong_margin_db: float) -> None:
        self._sure, self._doubtful, self._strong_margin_db = sure, min(doubtful, sure), strong_margin_db

    def holds(self, probability: float, *, loud: bool, above_floor_db: float, speaking: bool) -> bool:
        # What does not stand out of the noise is no speech, whatever it sounds like.
        if not loud:
            return False
        eager = speaking or above_floor_db >= self._strong_margin_db
        return probability >= (self._doubtful if eager else self._sure)


class SpeechGate(Protocol):
    """Tells speech from other sound, block by block; it may look at samples, at frames, or at both."""

    def reset(self, history: np.ndarray) -> None:
        """Begin anew: the next block does not follow on the last one, but on these samples."""

    def process(self, samples: np.ndarray, frames: np.ndarray) -> float:
        """Take a block (samples,) and its MFCC frames (frames, coefficients); return the probability of speech."""


class NetworkGate:
    """A step network of our own on the model's frames, or on its own where the model was made for others."""

    def __init__(self, model: Model, extractor: MfccExtractor | None = None) -> None:
        self._model, self._extractor = model, extractor

    def reset(self, history: np.ndarray) -> None:
        self._model.reset()
        if self._extractor:
            self._extractor.reset(history)

    def process(self, samples: np.ndarray, frames: np.ndarray) -> float:
        probs = self._model.process(self._extractor.process(samples) if self._extractor else frames)
        return 0.0 if probs is None else float(probs[SPEECH])


def load_speech_gate(features: MfccSpec, path: Path = SPEECH_MODEL) -> SpeechGate:
    """Return the gate of a speech artifact, to be given frames of this kind. Raises ArtifactError."""
    artifact, model = load(path)
    labels, own = tuple(artifact.manifest.labels), artifact.manifest.features
    if artifact.manifest.form == "utterance":
        raise ArtifactError(f"{path}: hears whole utterances, a speech gate is to say where they begin")
    if labels != SPEECH_LABELS:
        raise ArtifactError(f"{path}: labels are {', '.join(labels)}, a speech gate has {', '.join(SPEECH_LABELS)}")
    return NetworkGate(model, None if own == features else MfccExtractor(own))
