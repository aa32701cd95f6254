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
_MOST_JITTER_SEMITONES, _MOST_SHIMMER_DB = 2.0, 12.0
_OF_VOICE = (
    "pitch", "harmonics_to_noise", "alpha_ratio", "hammarberg", "slope_low", "slope_middle", "slope_high", "flux",
    "flatness", "formant_1", "formant_2", "formant_3",
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
        self._of_voice = [count + DESCRIPTORS.index(name) for name in _OF_VOICE]
        self._pitch, self._voicing, self._level = (
            count + DESCRIPTORS.index(name) for name in ("pitch", "voicing", "level")
        )
        changes = count
        masks = [_LOUD] * count + [_LOUD_PAIR] * changes + [_VOICED] * len(_OF_VOICE)
        self._mask_of = np.array([*masks, _RISING, _FALLING, _VOICED_THREE, _VOICED_THREE])
        everything = np.arange(len(self._mask_of))
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
        self._count, self._sum, self._squares = np.zeros((3, len(self._mask_of)))
        self._voiced_frames = self._loud_frames = self._voiced_runs = 0

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
        change = np.diff(all_frames, axis=0)
        step = change[1:, self._pitch]
        bend = np.abs(np.diff(change[:, [self._pitch, self._level]], axis=0))
        loud_pair, voiced_pair = loud[2:] & loud[1:-1], voiced[2:] & voiced[1:-1]
        steady = voiced_pair & (np.abs(step) < _STEP_SEMITONES)
        rising, falling, voiced_three = steady & (step > 0), steady & (step < 0), voiced_pair & voiced[:-2]
        masks = np.stack([loud[2:], loud_pair, voiced[2:], rising, falling, voiced_three], axis=1)
        values = np.column_stack(
            [
                frames[:, self._coefficients],
                change[1:, self._coefficients],
                frames[:, self._of_voice],
                step,
                step,
                np.minimum(bend, (_MOST_JITTER_SEMITONES, _MOST_SHIMMER_DB)),
            ]
        ).astype(np.float64)
        counted = masks[:, self._mask_of] & np.isfinite(values)
        values = np.where(counted, values, 0.0)
        self._count += counted.sum(axis=0)
        self._sum += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        self._loud_frames += int(loud[2:].sum())
        self._voiced_frames += int(voiced[2:].sum())
        self._voiced_runs += int((voiced[2:] & ~voiced[1:-1]).sum())
        self._peaks = peaks[-RISE_FRAMES:]
        self._before, self._loud, self._voiced = all_frames[-2:], loud[-2:], voiced[-2:]

    def values(self) -> np.ndarray:
        """Return the functionals, float32 (len(names),); NaN where the utterance had no frame for one."""
        counted = np.where(self._count > 0, self._count, np.nan)
        mean = self._sum / counted
        deviation = np.sqrt(np.maximum(self._squares / counted - mean**2, 0.0))
        run = np.log1p(self._voiced_frames / max(self._voiced_runs, 1))
        share = self._voiced_frames / max(self._loud_frames, 1)
        return np.concatenate([mean[self._with_mean], deviation[self._with_deviation], [run, share]]).astype(np.float32)
