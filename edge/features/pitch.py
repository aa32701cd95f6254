"""Pitch and voicing of a frame: where its autocorrelation, made fair to all lags, is highest.

Source: P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a
sampled sound", 1993: the windowed frame's autocorrelation is divided by the window's own, and a small cost for each
octave down lets the shorter of two equal periods win.
"""

import numpy as np

LOWEST_HZ = 70.0
HIGHEST_HZ = 600.0
OCTAVE_COST = 0.02
SEMITONES_FROM_HZ = 27.5  # A0, as in eGeMAPS
_MOST_VOICED = 0.999  # harmonics 30 dB above the noise


class Pitch:
    """Finds pitch and voicing in autocorrelations of windowed frames.

    They are circular, inverse transforms of power spectra: with a window that fades out at both ends and is four times
    the longest lag, what wraps around is below a hundredth of what does not.
    """

    def __init__(self, window: np.ndarray, *, sample_rate_hz: int) -> None:
        self._first = int(sample_rate_hz / HIGHEST_HZ)
        self._last = int(sample_rate_hz / LOWEST_HZ) + 1
        if len(window) < 4 * self._last:
            raise ValueError(f"a window of {len(window)} samples is too short for a pitch of {LOWEST_HZ:.0f} Hz")
        own = np.fft.irfft(np.abs(np.fft.rfft(window.astype(np.float64))) ** 2)
        lags = np.arange(self._first - 1, self._last + 2)
        self._fair = (own[0] / own[lags]).astype(np.float32)
        self._cost = (OCTAVE_COST * np.log2(lags[1:-1] * LOWEST_HZ / sample_rate_hz)).astype(np.float32)
        self._rate_hz = sample_rate_hz

    def process(self, autocorrelation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pitch in semitones above 27.5 Hz and voicing from 0 to .999, each float32 (frames,).

        autocorrelation: float32 (frames, lags), lag 0 first. Voicing is the height of the peak, the share of the power
        that repeats; where nothing does, it is 0 and the pitch means nothing.
        """
        energy = np.maximum(autocorrelation[:, :1], 1e-12)
        fair = autocorrelation[:, self._first - 1 : self._last + 2] / energy * self._fair
        middle, before, after = fair[:, 1:-1], fair[:, :-2], fair[:, 2:]
        peaks = (middle >= before) & (middle > after)
        best = np.where(peaks, middle - self._cost, -2.0).argmax(axis=1)
        rows = np.arange(len(fair))
        left, top, right = before[rows, best], middle[rows, best], after[rows, best]
        bend = np.maximum(2 * top - left - right, 1e-6)
        shift = np.clip(0.5 * (right - left) / bend, -0.5, 0.5)
        found = peaks.any(axis=1)
        voicing = np.where(found, np.clip(top + 0.25 * (right - left) * shift, 0.0, _MOST_VOICED), 0.0)
        pitch_hz = self._rate_hz / (self._first + best + shift)
        return (12 * np.log2(pitch_hz / SEMITONES_FROM_HZ)).astype(np.float32), voicing.astype(np.float32)


def harmonics_to_noise_db(voicing: np.ndarray) -> np.ndarray:
    """Return what repeats over what does not, of a voicing from 0 to .999: from -20 to 30 dB."""
    repeats = np.maximum(voicing, 0.01)
    return 10 * np.log10(repeats / (1 - repeats))
