"""Clips and functionals of voices that are made up: each has a level of its own, and moods differ from that."""

import numpy as np

from train.data.clip import Clip

CORPUS = "here"


def clips_of(corpus: str, *, voices: int, labels: tuple[str, ...], each: int) -> list[Clip]:
    """Return `each` clips of every label by every voice."""
    return [
        Clip(path=f"{corpus}/{voice}-{label}-{take}.wav", corpus=corpus, speaker=f"voice {voice}", label=label)
        for voice in range(voices)
        for label in labels
        for take in range(each)
    ]


def functionals_of(clips: list[Clip], *, apart: float, seed: int = 0) -> np.ndarray:
    """Return float32 (clips, 6): a label moves one number by 1, a voice moves all of them by about `apart`."""
    rng = np.random.default_rng(seed)
    labels = sorted({clip.label for clip in clips})
    voices = {key: rng.normal(0, apart, 6) for key in sorted({(clip.corpus, clip.speaker) for clip in clips})}
    rows = rng.normal(0, 0.2, (len(clips), 6))
    for row, clip in zip(rows, clips, strict=True):
        row += voices[clip.corpus, clip.speaker]
        row[labels.index(clip.label)] += 1.0
    return rows.astype(np.float32)
