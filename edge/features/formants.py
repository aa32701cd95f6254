"""Formants of a frame: the resonances of its voice, as peaks of the smooth spectrum that linear prediction fits.

Source: J. Makhoul, "Linear prediction: a tutorial review", 1975. The spectrum is cut at 5.5 kHz first, below which
three to five formants lie, so that one order fits any voice and a sound of narrower bandwidth is heard alike.
"""

import numpy as np

from edge.features.mfcc import product

COUNT = 3
_HIGHEST_HZ = 5_500.0
_ORDER = 10  # two for each of five formants
_PREEMPHASIS = 0.97
_NOISE_FLOOR = 1e-4  # of the power, added: keeps the equations solvable and the peaks finite
_GRID = 512
_SEARCHED_HZ = (200.0, 5_000.0)


class Formants:
    """Finds the lowest three peaks in power spectra of windowed frames."""

    def __init__(self, *, window_samples: int, sample_rate_hz: int, block_frames: int) -> None:
        self._block_frames = block_frames
        self._bins = round(_HIGHEST_HZ * window_samples / sample_rate_hz) + 1
        self._hz_per_step = 2 * (self._bins - 1) * sample_rate_hz / window_samples / _GRID
        lags = np.arange(_ORDER)
        self._toeplitz = np.abs(lags[:, None] - lags)
        self._lags_of = _preemphasized_lags(self._bins)
        low, high = (round(hz / self._hz_per_step) for hz in _SEARCHED_HZ)
        self._first = low
        turns = np.outer(np.arange(_ORDER + 1), np.arange(low, high + 2)) * (2 * np.pi / _GRID)
        self._waves = np.cos(turns), np.sin(turns)

    def process(self, power: np.ndarray) -> np.ndarray:
        """Return the formants in Hz, the lowest first: float32 (frames, 3); NaN where there are fewer.

        power: float32 (frames, window // 2 + 1).
        """
        lags = product(power[:, : self._bins].astype(np.float64), self._lags_of, self._block_frames)
        lags /= np.maximum(lags[:, :1], 1e-12)
        lags[:, 0] += _NOISE_FLOOR
        inverse = np.ones((len(lags), _ORDER + 1))
        inverse[:, 1:] = -np.linalg.solve(lags[:, self._toeplitz], lags[:, 1:, None])[..., 0]
        depth = sum(np.square(product(inverse, waves, self._block_frames)) for waves in self._waves)
        peaks = (depth[:, 1:-1] <= depth[:, :-2]) & (depth[:, 1:-1] < depth[:, 2:])
        rows, places = np.nonzero(peaks)
        number = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of the peak in its frame
        lowest = number < COUNT
        rows, places, number = rows[lowest], places[lowest], number[lowest]
        left, middle, right = -0.5 * np.log(np.maximum(depth[rows, places + np.arange(3)[:, None]], 1e-18))
        shift = 0.5 * (right - left) / np.maximum(2 * middle - left - right, 1e-9)
        found = np.full((len(depth), COUNT), np.nan, np.float32)
        found[rows, number] = (self._first + 1 + places + shift) * self._hz_per_step
        return found


def _preemphasized_lags(bins: int) -> np.ndarray:
    """Return what makes, of a power spectrum of `bins` lines, its autocorrelation after pre-emphasis: (bins, lags)."""
    turns = np.pi / (bins - 1) * np.outer(np.arange(bins), np.arange(_ORDER + 1))
    each = np.full((bins, 1), 2.0)  # but for the first and the last line, their negative frequencies are the same
    each[0] = each[-1] = 1.0
    emphasis = 1 + _PREEMPHASIS**2 - 2 * _PREEMPHASIS * np.cos(turns[:, 1:2])
    return each * emphasis * np.cos(turns) / (2 * (bins - 1))
