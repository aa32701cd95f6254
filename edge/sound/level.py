"""How loud a block is, and how much of it is at full scale."""

import math

import numpy as np

SILENCE_DBFS = -100.0  # digital silence is called this
CLIPPING = 0.999
_SURELY_BELOW = 0.99  # rounding is smaller than the difference


def level_dbfs(samples: np.ndarray) -> float:
    """Return the RMS level in dB of full scale, never below SILENCE_DBFS."""
    power = float(samples.dot(samples)) / len(samples)
    return max(SILENCE_DBFS, 10.0 * math.log10(power)) if power > 0.0 else SILENCE_DBFS


def clipped(samples: np.ndarray, offset: float = 0.0) -> int:
    """Return how many samples are at full scale, as they were captured: before this offset was taken away."""
    if math.sqrt(samples.dot(samples)) + abs(offset) < _SURELY_BELOW:  # no sample is louder than all of them together
        return 0
    if offset:
        samples = samples + np.float32(offset)
    magnitudes = np.abs(samples)
    if magnitudes[magnitudes.argmax()] < CLIPPING:  # in half the time of counting; max() goes through Python
        return 0
    return int(np.count_nonzero(magnitudes >= CLIPPING))
