"""The shape of a frame's spectrum, in the few numbers that phoneticians give it.

Source: F. Eyben and others, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective
computing", 2016; the spectra are roomtone's own frames of 32 ms, so the figures are near openSMILE's, not equal.
"""

import numpy as np

from edge.features.mfcc import product

NAMES = ("level", "alpha_ratio", "hammarberg", "slope_low", "slope_middle", "slope_high", "flux", "flatness")
_VOICE_HZ = (50.0, 5_000.0)
_ALPHA_HZ = 1_000.0
_HAMMARBERG_HZ = 2_000.0
_SLOPES_HZ = ((50.0, 500.0), (500.0, 1_500.0), (1_500.0, 5_000.0))
_FLOOR = 1e-10


class SpectrumShape:
    """Measures power spectra of consecutive frames; remembers one frame, for the flux."""

    def __init__(self, *, window_samples: int, sample_rate_hz: int, block_frames: int) -> None:
        self._block_frames = block_frames
        hz = np.fft.rfftfreq(window_samples, 1 / sample_rate_hz)
        low, high = _VOICE_HZ
        self._below = slice(*np.searchsorted(hz, (low, _ALPHA_HZ)))
        self._above = slice(*np.searchsorted(hz, (_ALPHA_HZ, high)))
        self._under = slice(*np.searchsorted(hz, (0.0, _HAMMARBERG_HZ)))
        self._over = slice(*np.searchsorted(hz, (_HAMMARBERG_HZ, high)))
        self._slopes = np.stack([_slope(hz, *band) for band in _SLOPES_HZ], axis=1)[: self._over.stop + 1]
        self._last = np.zeros(len(hz), np.float32)

    def reset(self) -> None:
        """Begin a new sound: the flux of its first frame is that from silence."""
        self._last[:] = 0.0

    def process(self, power: np.ndarray, bands: np.ndarray) -> np.ndarray:
        """Return `NAMES` for each frame, float32 (frames, 8).

        power: float32 (frames, bins); bands: its mel bands, (frames, mels). All in dB but the flux: level, without an
        absolute reference; 50 Hz to 1 kHz over 1 to 5 kHz (alpha); the highest bin below 2 kHz over that of 2 to 5 kHz
        (Hammarberg); slopes per kHz, by least squares; flatness, the bands' geometric over their arithmetic mean. Flux:
        the distance between a frame's magnitudes, which add to 1, and those before.
        """
        power = power + np.float32(_FLOOR)
        decibels = 10 * np.log10(power[:, : len(self._slopes)])
        below, above = power[:, self._below].sum(axis=1), power[:, self._above].sum(axis=1)
        magnitude = np.sqrt(power)
        magnitude /= magnitude.sum(axis=1, keepdims=True)
        change = np.diff(magnitude, axis=0, prepend=self._last[None])
        self._last[:] = magnitude[-1]
        shape = np.empty((len(power), len(NAMES)), np.float32)
        shape[:, 0] = 10 * np.log10(below + above)
        shape[:, 1] = 10 * np.log10(below / above)
        shape[:, 2] = decibels[:, self._under].max(axis=1) - decibels[:, self._over].max(axis=1)
        shape[:, 3:6] = product(decibels, self._slopes, self._block_frames)
        shape[:, 6] = np.sqrt(np.square(change).sum(axis=1))
        shape[:, 7] = 10 * (np.log10(bands).mean(axis=1) - np.log10(bands.mean(axis=1)))
        return shape


def _slope(hz: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Return the weights that make of a spectrum its slope per kHz between two frequencies: float32 (bins,)."""
    within = (hz >= low_hz) & (hz <= high_hz)
    khz = np.where(within, hz - hz[within].mean(), 0.0) / 1_000
    return (khz / khz.dot(khz)).astype(np.float32)
