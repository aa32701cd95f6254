"""Pitch and voicing of a frame: where its autocorrelation, made fair to all lags, is highest.

Source: P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound", 1993: the windowed frame's autocorrelation is divided by the window's own, and a small cost for each
octave down lets the shorter of two equal periods win.

What repeats in a voice lies low, so the sound is looked at below 2 kHz: that is a quarter of the samples.
"""

from functools import reduce

import numpy as np

from edge.features.mfcc import hann, product

RATE_HZ = 4_000  # of the frames whose pitch is sought
LOWEST_HZ = 70.0
HIGHEST_HZ = 600.0
OCTAVE_COST = 0.02
SEMITONES_FROM_HZ = 27.5  # A0, as in eGeMAPS
_MOST_VOICED = 0.999  # harmonics 30 dB above the noise
_LAGS_PER_SAMPLE = 2  # the autocorrelation is known between the samples, too
_HIGHEST_HARMONIC_HZ = 1_500.0


class Lowered:
    """A stream of samples at `RATE_HZ`, whatever chunks it comes in: each is the mean over two of its periods."""

    def __init__(self, sample_rate_hz: int) -> None:
        """Raises ValueError where the rate is no multiple of `RATE_HZ`."""
        if sample_rate_hz % RATE_HZ:
            raise ValueError(f"pitch is sought in sound of {RATE_HZ} Hz, and {sample_rate_hz} is no multiple of that")
        self.step = sample_rate_hz // RATE_HZ
        self._share = np.float32(0.5 / self.step)
        self.reset()

    def reset(self) -> None:
        """Begin a new sound, after silence."""
        self._rest = np.zeros(self.step, np.float32)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Return what `samples` (float32) complete: float32 (n,)."""
        known = np.concatenate([self._rest, samples])
        count = len(known) // self.step
        self._rest = known[(count - 1) * self.step :]
        whole = known[: count * self.step]
        # No sum along an axis: it is slower, and its last bits depend on how many there are.
        first, *others = whole.reshape(count, self.step).T
        sums = reduce(np.add, [*others, first])
        return (sums[1:] + sums[:-1]) * self._share


class Pitch:
    """Finds pitch and voicing in frames of a sound at `RATE_HZ`.

    Autocorrelations are circular, of power spectra: with a window that fades out at both ends and is four times the
    longest lag, what wraps around is below a hundredth of what does not.
    """

    def __init__(self, window_samples: int, *, block_frames: int) -> None:
        self._rate_hz = _LAGS_PER_SAMPLE * RATE_HZ
        self._first = int(self._rate_hz / HIGHEST_HZ)
        last = int(self._rate_hz / LOWEST_HZ) + 1
        if _LAGS_PER_SAMPLE * window_samples < 4 * last:
            raise ValueError(f"a window of {window_samples} samples is too short for a pitch of {LOWEST_HZ:.0f} Hz")
        self._block_frames = block_frames
        self._window = hann(window_samples)
        lags = np.arange(self._first - 1, last + 2)
        self._lines = round(_HIGHEST_HARMONIC_HZ * window_samples / RATE_HZ) + 1
        turns = 2 * np.pi / (_LAGS_PER_SAMPLE * window_samples) * np.arange(self._lines)
        waves = 2 * np.cos(turns[:, None] * np.append(lags, 0))  # the last: the energy
        waves[0] /= 2  # all other lines have negative frequencies of the same power
        own = (np.abs(np.fft.rfft(self._window.astype(np.float64))) ** 2)[: self._lines].dot(waves)
        self._waves = (waves * (own[-1] / own)).astype(np.float32)
        self._cost = (OCTAVE_COST * np.log2(lags[1:-1] * LOWEST_HZ / self._rate_hz)).astype(np.float32)

    def process(self, framed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pitch in semitones above 27.5 Hz and voicing from 0 to .999, each float32 (frames,).

        framed: float32 (k * block_frames, window). Voicing is the height of the peak, the share of the power that
        repeats; where nothing does, it is 0 and the pitch means nothing.
        """
        spectrum = np.fft.rfft(framed * self._window)[:, : self._lines]
        power = (spectrum * spectrum.conj()).real.astype(np.float32)
        lags = product(power, self._waves, self._block_frames)
        fair = lags[:, :-1] / np.maximum(lags[:, -1:], 1e-12)
        middle = fair[:, 1:-1]
        peaks = (middle >= fair[:, :-2]) & (middle > fair[:, 2:])
        best = np.where(peaks, middle - self._cost, -2.0).argmax(axis=1)
        at = best + np.arange(0, fair.size, fair.shape[1])
        left, top, right = fair.take(at), fair.take(at + 1), fair.take(at + 2)
        rise = 0.5 * (right - left)
        shift = rise / np.maximum(2 * top - left - right, 1e-6)
        shift = np.minimum(np.maximum(shift, -0.5), 0.5)
        voicing = np.minimum(np.maximum(top + 0.5 * rise * shift, 0.0), _MOST_VOICED)
        voicing[(top < left) | (top <= right)] = 0.0  # no peak at all
        pitch = 12 * np.log2(self._rate_hz / SEMITONES_FROM_HZ / (self._first + best + shift))
        return pitch.astype(np.float32), voicing.astype(np.float32)


def harmonics_to_noise_db(voicing: np.ndarray) -> np.ndarray:
    """Return what repeats over what does not, of a voicing from 0 to .999: from -20 to 30 dB."""
    repeats = np.maximum(voicing, 0.01)
    return 10 * np.log10(repeats / (1 - repeats))
