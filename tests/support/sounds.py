"""Small sounds made here, and the real corpora when they are present."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
CORPORA = Path(os.environ.get("ROOMTONE_CORPORA", ROOT.parent / "shared" / "corpora"))


def corpus_clips(count: int, *, folders: tuple[str, ...] = ("TESS", "RAVDESS"), seed: int = 0) -> list[Path]:
    """Return `count` real clips, the same ones for a seed; skips the test where the corpora are not present."""
    paths = sorted(path for folder in folders for path in (CORPORA / folder).glob("*/*.*"))
    if not paths:
        pytest.skip(f"needs the corpora {', '.join(folders)} (ROOMTONE_CORPORA)")
    return random.Random(seed).sample(paths, min(count, len(paths)))


def chirp(*, seconds: float, seed: int = 0, rate_hz: int = 16_000) -> np.ndarray:
    """Return float32 speech-like harmonics with a gliding pitch, loudness in syllables, and noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    pitch_hz = 120 + 60 * np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * t) + rng.uniform(0, 80)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    syllables = np.maximum(0, np.sin(2 * np.pi * 4 * t + rng.uniform(0, 6)))
    return (0.1 * syllables * voice + 0.001 * rng.standard_normal(len(t))).astype(np.float32)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Return float32 samples as int16, saturating; the inverse of edge.audio.from_int16."""
    return np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(np.int16)
