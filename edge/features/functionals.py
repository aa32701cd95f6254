"""Functionals: what an utterance so far is like, in numbers that do not depend on its length.

Means and deviations of its MFCCs over loud frames, of what makes a voice over voiced ones, and of how both change;
updated block by block in constant memory. What was chosen, and by which figures: train/reports/research.md.
"""

import numpy as np

from edge.features.mfcc import MfccSpec
from edge.features.voice import DESCRIPTORS

LOUD_DB = 25.0  # below the loudest frame so far: fainter ones are the room
RISE_FRAMES = 8  # if it rises by more than that within so many, all before was the room
VOICED = 0.6  # of the power repeats
_STEP_SEMITONES = 4.0  # between frames: more is a mistake about the octave
_MOST_BEND = np.array([2.0, 12.0], np.float32)  # of jitter in semitones, of shimmer in dB
_OF_VOICE = (
    "pitch", "harmonics_to_noise", "alpha_ratio", "hammarberg", "slope_low", "slope_middle", "slope_high", "flux",
    "flatness",
)  # fmt: skip
_LOUD, _LOUD_PAIR, _VOICED, _RISING, _FALLING, _VOICED_THREE = range(6)


def names(spec: MfccSpec) -> list[str]:
    """Return what each functional is, in order."""
    coefficients = [f"mfcc_{number}" for number in range(spec.coefficients)]
    uneven = ("jitter", "shimmer")
    means = [*coefficients, *_OF_VOICE, "pitch_rise", "pitch_fall", *uneven]
    deviations = [*coefficients, *(f"{name}_change" for name in coefficients), *_OF_VOICE, *uneven]
    return [*(f"{name}_mean" for name in means), *(f"{name}_deviation" for name in deviations),
            "voiced_run", "voiced_share"]  # fmt: skip


class Functionals:
    """Takes in an utterance's frames and knows its functionals at any time."""

    def __init__(self, spec: MfccSpec) -> None:
        count = spec.coefficients
        self._coefficients = slice(0, count)
        self._of_voice = np.array([count + DESCRIPTORS.index(name) for name in _OF_VOICE])
        self._pitch, self._voicing, self._level = (
            count + DESCRIPTORS.index(name) for name in ("pitch", "voicing", "level")
        )
        changes = count
        masks = [_LOUD] * count + [_LOUD_PAIR] * changes + [_VOICED] * len(_OF_VOICE)
        self._mask_of = np.array([*masks, _RISING, _FALLING, _VOICED_THREE, _VOICED_THREE])
        everything = np.arange(len(self._mask_of))
        self._own = self._mask_of * len(everything) + everything  # each value's place in the products with all masks
        self._bending = slice(self._pitch, self._level + 1, self._level - self._pitch)  # both, without a copy
        is_change = self._mask_of == _LOUD_PAIR
        self._with_mean = everything[~is_change]
        self._with_deviation = everything[(self._mask_of != _RISING) & (self._mask_of != _FALLING)]
        self._columns = count + len(DESCRIPTORS)
        self.reset()

    def reset(self) -> None:
        """Begin a new utterance."""
        self._forget()
        self._peaks = np.full(RISE_FRAMES, np.nan)  # the loudest frame until each of the last ones
        # The last two frames, and whether each was loud and voiced.
        self._before = np.zeros((2, self._columns))
        self._loud, self._voiced = np.zeros((2, 2), bool)

    def _forget(self) -> None:
        self._count = np.zeros(_VOICED_THREE + 1)  # frames, by mask
        self._sum, self._squares = np.zeros((2, len(self._mask_of)))
        self._voiced_runs = 0

    def process(self, frames: np.ndarray) -> None:
        """Take in consecutive frames of a VoiceExtractor: float32 (n, columns)."""
        if not len(frames):
            return
        all_frames = np.concatenate([self._before, frames])
        level = frames[:, self._level]
        peaks = np.concatenate([self._peaks, np.fmax.accumulate(np.fmax(level, self._peaks[-1]))])
        loud = np.concatenate([self._loud, level > peaks[RISE_FRAMES:] - LOUD_DB])
        risen = np.flatnonzero(peaks[RISE_FRAMES:] - peaks[:-RISE_FRAMES] > LOUD_DB)
        if len(risen):
            self._forget()
            loud[: 2 + risen[-1]] = False
        voiced = np.concatenate([self._voiced, loud[2:] & (frames[:, self._voicing] > VOICED)])
        change = all_frames[1:] - all_frames[:-1]
        step = change[1:, self._pitch]
        bend = np.abs(change[1:, self._bending] - change[:-1, self._bending])
        loud_pair, voiced_pair = loud[2:] & loud[1:-1], voiced[2:] & voiced[1:-1]
        steady = voiced_pair & (np.abs(step) < _STEP_SEMITONES)
        masks = np.array(
            [loud[2:], loud_pair, voiced[2:], steady & (step > 0), steady & (step < 0), voiced_pair & voiced[:-2]],
            np.float64,
        )
        values = np.concatenate(
            [
                frames[:, self._coefficients],
                change[1:, self._coefficients],
                frames.take(self._of_voice, axis=1),
                step[:, None],
                step[:, None],
                np.minimum(bend, _MOST_BEND),
            ],
            axis=1,
            dtype=np.float64,
        )
        self._count += masks.sum(axis=1)
        self._sum += masks.dot(values).take(self._own)
        self._squares += masks.dot(values * values).take(self._own)
        self._voiced_runs += np.count_nonzero(voiced[2:] & ~voiced[1:-1])
        self._peaks = peaks[-RISE_FRAMES:]
        self._before, self._loud, self._voiced = all_frames[-2:], loud[-2:], voiced[-2:]

    def values(self) -> np.ndarray:
        """Return the functionals, float32 (len(names),); NaN where the utterance had no frame for one."""
        counted = np.where(self._count > 0, self._count, np.nan)[self._mask_of]
        mean = self._sum / counted
        deviation = np.sqrt(np.maximum(self._squares / counted - mean * mean, 0.0))
        run = np.log1p(self._count[_VOICED] / max(self._voiced_runs, 1))
        share = self._count[_VOICED] / max(self._count[_LOUD], 1.0)
        return np.concatenate([mean[self._with_mean], deviation[self._with_deviation], [run, share]]).astype(np.float32)
