"""A constant offset, as microphones with digital output (PDM, I2S) have: it is no sound, and is taken away.

The offset is the mean of the blocks so far, each weighted within by Hann's window (so that speech is not in it, even
that of a deep voice), with a memory of seconds. Where some blocks in a row lie wholly on one side of it, it has jumped,
and is followed at once. So `x + c` gives what `x` gives, whatever `c` is: nothing here asks how large an offset is but
against another.
"""

import numpy as np

MEMORY_BLOCKS = 50  # of 80 ms: 4 s
JUMPED_BLOCKS = 3  # longer than half a period of what sounds, or rumbles
_JUMP = 1e-3  # less is left to the mean


class OffsetRemoval:
    """Takes the offset from blocks that follow on each other. offset: what was taken from the last one."""

    def __init__(self, block_samples: int) -> None:
        self._weights = _hann(block_samples)
        self._blocks = self._one_sided = 0
        self.offset = 0.0

    def removed(self, samples: np.ndarray) -> np.ndarray:
        """Return a block (float32, shorter at the end of a sound) without its offset."""
        weights = self._weights if len(samples) == len(self._weights) else _hann(len(samples))
        mean, before = float(samples.dot(weights)), self.offset
        self._blocks += 1
        self._one_sided = self._one_sided + 1 if abs(mean - before) > _JUMP and _one_sided(samples, before) else 0
        jumped = self._one_sided == JUMPED_BLOCKS
        if jumped:
            self._blocks, self._one_sided = 1, 0
        self.offset = before + (mean - before) / min(self._blocks, MEMORY_BLOCKS)
        return samples - np.float32(self.offset)


def _one_sided(samples: np.ndarray, offset: float) -> bool:
    return bool(samples[samples.argmin()] > offset or samples[samples.argmax()] < offset)


def _hann(length: int) -> np.ndarray:
    """Return weights whose sum is one: float32 (length,)."""
    weights = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2
    return (weights / weights.sum()).astype(np.float32)
