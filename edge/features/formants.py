"""Formants of a frame: the resonances of its voice, as peaks of the smooth spectrum that linear prediction fits.

Source: J. Makhoul, "Linear prediction: a tutorial review", 1975. The spectrum is cut at 5.5 kHz first, below which
three to five formants lie, so that one order fits any voice and a sound of narrower bandwidth is heard alike.
"""

import numpy as np

COUNT = 3
_HIGHEST_HZ = 5_500.0
_ORDER = 10  # two for each of five formants
_PREEMPHASIS = 0.97
_NOISE_FLOOR = 1e-4  # of the power, added: keeps the equations solvable and the peaks finite
_GRID = 512
_SEARCHED_HZ = (200.0, 5_000.0)


class Formants:
    """Finds the lowest three peaks in power spectra of windowed frames."""

    def __init__(self, *, window_samples: int, sample_rate_hz: int) -> None:
        self._bins = round(_HIGHEST_HZ * window_samples / sample_rate_hz) + 1
        self._hz_per_step = 2 * (self._bins - 1) * sample_rate_hz / window_samples / _GRID
        lags = np.arange(_ORDER)
        self._toeplitz = np.abs(lags[:, None] - lags)
        low, high = (round(hz / self._hz_per_step) for hz in _SEARCHED_HZ)
        self._searched = slice(low, high)

    def process(self, power: np.ndarray) -> np.ndarray:
        """Return the formants in Hz, the lowest first: float32 (frames, 3); NaN where there are fewer.

        power: float32 (frames, window // 2 + 1).
        """
        lags = np.fft.irfft(power[:, : self._bins], axis=1)[:, : _ORDER + 2]
        mirrored = np.concatenate([lags[:, 1:2], lags[:, :_ORDER]], axis=1)
        lags = (1 + _PREEMPHASIS**2) * lags[:, :-1] - _PREEMPHASIS * (mirrored + lags[:, 1:])
        lags /= np.maximum(lags[:, :1], 1e-12)
        lags[:, 0] += _NOISE_FLOOR
        predictor = np.linalg.solve(lags[:, self._toeplitz], lags[:, 1:, None])[..., 0]
        inverse = np.abs(np.fft.rfft(np.concatenate([np.ones((len(lags), 1)), -predictor], axis=1), _GRID))
        height = -np.log(np.maximum(inverse, 1e-9))
        left, middle, right = height[:, :-2], height[:, 1:-1], height[:, 2:]
        peaks = (middle >= left) & (middle > right)
        peaks[:, : self._searched.start] = peaks[:, self._searched.stop :] = False
        lowest = np.argsort(~peaks, axis=1, kind="stable")[:, :COUNT]
        rows = np.arange(len(height))[:, None]
        left, middle, right = left[rows, lowest], middle[rows, lowest], right[rows, lowest]
        shift = 0.5 * (right - left) / np.maximum(2 * middle - left - right, 1e-9)
        hz = (lowest + 1 + shift) * self._hz_per_step
        return np.where(peaks[rows, lowest], hz, np.nan).astype(np.float32)
