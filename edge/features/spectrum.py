"""The shape of a frame's spectrum, in the few numbers that phoneticians give it.

Source: F. Eyben and others, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective
computing", 2016; the spectra are roomtone's own mel bands, so the figures are near openSMILE's, not equal.
"""

import numpy as np

from edge.features.mfcc import MfccSpec, dct_matrix, mel_centres_hz, product

NAMES = ("level", "alpha_ratio", "hammarberg", "slope_low", "slope_middle", "slope_high", "flux", "flatness")
_VOICE_HZ = (50.0, 5_000.0)
_ALPHA_HZ = 1_000.0
_HAMMARBERG_HZ = 2_000.0
_SLOPES_HZ = ((50.0, 500.0), (500.0, 1_500.0), (1_500.0, 5_000.0))
_MAGNITUDE_OF_DB = np.float32(np.log(10) / 20)


class SpectrumShape:
    """Measures consecutive frames by their MFCCs; remembers one frame, for the flux.

    The cosines of the MFCCs are orthonormal, so bands come back from them: all as they were where there are as many
    coefficients as bands, smoother where there are fewer.
    """

    def __init__(self, spec: MfccSpec) -> None:
        self._block_frames = spec.block_frames
        hz, widths = mel_centres_hz(spec)
        low, high = _VOICE_HZ
        decibels_of = dct_matrix(spec.coefficients, spec.mels)
        slopes = np.stack([_slope(hz, *band) for band in _SLOPES_HZ], axis=1)
        mean = np.full((spec.mels, 1), 1 / spec.mels)
        linear = decibels_of.astype(np.float64).dot(np.concatenate([slopes, mean], axis=1))
        self._decibels_of = np.concatenate([decibels_of, linear.astype(np.float32)], axis=1)
        self._bands = spec.mels
        below, above = (hz >= low) & (hz < _ALPHA_HZ), (hz >= _ALPHA_HZ) & (hz <= high)
        sums = np.stack([below * widths, above * widths, np.full(len(hz), 1 / len(hz))], axis=1)
        self._sums = sums.astype(np.float32)
        self._under = slice(0, int(np.searchsorted(hz, _HAMMARBERG_HZ)))
        self._over = slice(self._under.stop, int(np.searchsorted(hz, high)))
        self._last = np.zeros((1, spec.mels), np.float32)

    def reset(self) -> None:
        """Begin a new sound: the flux of its first frame is that from silence."""
        self._last[:] = 0.0

    def process(self, coefficients: np.ndarray) -> np.ndarray:
        """Return `NAMES` for each frame of MFCCs (k * block_frames, coefficients): float32 (frames, 8).

        All in dB but the flux: level, without an absolute reference; 50 Hz to 1 kHz over 1 to 5 kHz (alpha); the
        highest band below 2 kHz over that of 2 to 5 kHz (Hammarberg); slopes per kHz, by least squares; flatness, the
        bands' geometric over their arithmetic mean. Flux: the distance between the bands' magnitudes, which add to 1,
        and those of the frame before.
        """
        known = product(coefficients, self._decibels_of, self._block_frames)
        decibels = known[:, : self._bands]
        magnitude = np.exp(_MAGNITUDE_OF_DB * decibels)
        sums = 10 * np.log10(product(magnitude * magnitude, self._sums, self._block_frames))
        magnitude /= magnitude.sum(axis=1, keepdims=True)
        change = magnitude - np.concatenate([self._last, magnitude[:-1]])
        self._last = magnitude[-1:]
        shape = np.empty((len(coefficients), len(NAMES)), np.float32)
        shape[:, 0] = np.maximum(sums[:, 0], sums[:, 1])
        shape[:, 1] = sums[:, 0] - sums[:, 1]
        shape[:, 2] = decibels[:, self._under].max(axis=1) - decibels[:, self._over].max(axis=1)
        shape[:, 3:6] = known[:, self._bands : self._bands + 3]
        shape[:, 6] = np.sqrt(np.square(change).sum(axis=1))
        shape[:, 7] = known[:, -1] - sums[:, 2]
        return shape


def _slope(hz: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Return the weights that make of bands' dB their slope per kHz between two frequencies: float64 (bands,)."""
    within = (hz >= low_hz) & (hz <= high_hz)
    khz = np.where(within, hz - hz[within].mean(), 0.0) / 1_000
    return khz / khz.dot(khz)
