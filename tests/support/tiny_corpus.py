"""A corpus of a few seconds with the file names of TESS, made here: each label has a pitch of its own."""

from pathlib import Path

import numpy as np
import soundfile

LABELS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
WORDS = ("back", "dog", "mob", "pool", "rain", "week")


def write_corpus(folder: Path, *, words: tuple[str, ...] = WORDS, seconds: float = 0.5) -> Path:
    """Write 2 speakers x 7 labels x words as 16 kHz WAV under `folder`/TESS and return that."""
    rng = np.random.default_rng(0)
    t = np.arange(int(seconds * 16_000)) / 16_000
    for speaker, shift in (("OAF", 1.0), ("YAF", 1.2)):
        for number, label in enumerate(LABELS):
            place = folder / "TESS" / f"{speaker}_{label}"
            place.mkdir(parents=True, exist_ok=True)
            for word in words:
                pitch_hz = shift * 90 * 1.3**number * rng.uniform(0.98, 1.02)
                voice = sum(np.sin(2 * np.pi * k * pitch_hz * t) / k for k in range(1, 8))
                sound = 0.1 * voice + 0.002 * rng.standard_normal(len(t))
                soundfile.write(place / f"{speaker}_{word}_{label}.wav", sound.astype(np.float32), 16_000)
    return folder / "TESS"
