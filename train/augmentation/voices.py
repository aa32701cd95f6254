"""Utterances as the speech gate's scenes take them: drawn by voice, and marked where somebody speaks."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import soxr
from scipy.fft import irfft, next_fast_len, rfft

from edge.sound.blocks import SAMPLE_RATE_HZ
from edge.sound.recording import load_recording
from train.augmentation import teacher
from train.data.clip import Clip

MOST_OF_A_CORPUS = 1_500  # clips that are drawn from, as many of each voice: more of the same voices teach little
_SPEED = (0.8, 1.25)
_BEFORE_S, _AFTER_S, _FADE_S = 0.6, 0.4, 0.02
_PIECE = 512  # samples of which a noise's spectrum is measured


class Voices:
    """Clips by corpus and speaker. A corpus is drawn by the root of its speakers, and its speakers alike."""

    def __init__(
        self, clips: Sequence[Clip], *, hears: Callable[[str, np.ndarray], np.ndarray] | None = None
    ) -> None:
        """hears: a teacher that says where somebody speaks in clips without a label, which come from anywhere."""
        by_corpus: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
        for clip in clips:
            by_corpus[clip.corpus][clip.speaker or clip.path].append(clip)
        self._corpora = [
            [_some(of, MOST_OF_A_CORPUS // len(speakers) + 1) for of in speakers.values()]
            for _, speakers in sorted(by_corpus.items())
        ]
        shares = np.sqrt([len(speakers) for speakers in self._corpora])
        self._shares = shares / shares.sum()
        self._hears = hears
        self._heard = cache(self._read)

    def utterance(self, level_dbfs: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return somebody's utterance at a level and a speed, and what each sample is (teacher.py)."""
        stored, marks = self._heard(self._any(rng))
        sound = stored.astype(np.float32) / 32_768
        where = np.flatnonzero(marks == teacher.SPEECH)
        if not len(where):
            where = np.array([0])
        loudness = teacher.powers(sound)[where].mean() + 1e-12
        first = max(0, where[0] - round(100 * rng.uniform(0, _BEFORE_S)))
        last = min(len(marks), where[-1] + 1 + round(100 * rng.uniform(0.05, _AFTER_S)))
        part = slice(first * teacher.TEN_MS, last * teacher.TEN_MS)
        sound, marks = sound[part].copy(), np.repeat(marks[first:last], teacher.TEN_MS)
        fade = np.linspace(0, 1, min(round(_FADE_S * SAMPLE_RATE_HZ), len(sound)), dtype=np.float32)
        sound[: len(fade)] *= fade
        sound[len(sound) - len(fade) :] *= fade[::-1]
        sound *= 10 ** (level_dbfs / 20) / np.sqrt(loudness)
        if rng.random() < 0.5:
            speed = rng.uniform(*_SPEED)
            sound = soxr.resample(sound, SAMPLE_RATE_HZ * speed, SAMPLE_RATE_HZ)
            marks = marks[np.minimum((np.arange(len(sound)) * speed).astype(int), len(marks) - 1)]
        return sound, marks

    def floor(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return steady noise of power 1 like that of some clip's pauses: a corpus's own noise must not tell of speech.

        Its spectrum is that of the clip's NONE; white where a clip has no pauses.
        """
        stored, marks = self._heard(self._any(rng))
        quiet = stored.reshape(-1, teacher.TEN_MS)[marks == teacher.NONE].ravel() / 32_768
        length = next_fast_len(samples, real=True)
        spectrum = rfft(rng.standard_normal(length))
        if len(quiet) > 2 * _PIECE:
            pieces = quiet[: len(quiet) // _PIECE * _PIECE].reshape(-1, _PIECE) * np.hanning(_PIECE)
            shape = np.sqrt(np.mean(np.abs(rfft(pieces)) ** 2, axis=0))
            spectrum *= np.interp(np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, len(shape)), shape)
        noise = irfft(spectrum, length)[:samples]
        return noise / (np.sqrt(np.mean(noise**2)) + 1e-12)

    def _any(self, rng: np.random.Generator) -> Clip:
        speakers = self._corpora[rng.choice(len(self._corpora), p=self._shares)]
        clips = speakers[rng.integers(len(speakers))]
        return clips[rng.integers(len(clips))]

    def _read(self, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
        """Return a clip's samples, int16 because thousands are held, and its marks."""
        sound = load_recording(clip.path)
        sound = sound[: len(sound) // teacher.TEN_MS * teacher.TEN_MS]
        if self._hears and not clip.label:
            marks = teacher.by_teacher(sound, self._hears(clip.sha256, sound))
        else:
            marks = teacher.by_level(sound)
        return (np.clip(sound, -1, 1) * 32_767).astype(np.int16), marks


def _some(clips: list[Clip], most: int) -> list[Clip]:
    """Return at most so many of them, spread over their order."""
    return clips[:: -(-len(clips) // most)]
