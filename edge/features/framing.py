"""A stream of samples, cut into blocks of overlapping frames: what all features are made from."""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Framing:
    """Cuts any chunks into the same frames, `block_frames` at a time.

    Frame t covers samples [t * hop - before, t * hop - before + window) of what was given since the last reset; those
    before it are silence, or what `reset` was told.
    """

    def __init__(self, *, window_samples: int, hop_samples: int, block_frames: int, before_samples: int = 0) -> None:
        self._overlap_samples = window_samples - hop_samples
        self._before_samples, self._hop_samples = before_samples, hop_samples
        # The block under way, behind what its first frame also sees, and its frames as views of that memory.
        self._samples = np.zeros(self._overlap_samples + block_frames * hop_samples, np.float32)
        self._held = before_samples
        self._framed = sliding_window_view(self._samples, window_samples)[::hop_samples]

    def reset(self, history: np.ndarray | None = None) -> None:
        """Begin a new sound. With `history`, samples that precede it, each block gives its frames at once instead of
        one block later; where it is shorter than the overlap of two frames, silence precedes it."""
        self._held = self._before_samples if history is None else self._overlap_samples
        self._samples[: self._held] = 0.0
        if history is not None:
            known = history[-self._held :]
            self._samples[self._held - len(known) : self._held] = known

    def blocks(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the blocks that `samples` (float32, full scale 1.0) complete: views (block_frames, window), each good
        until the next."""
        block, held = self._samples, self._held
        while len(samples) >= (missing := len(block) - held):
            block[held:], samples = samples[:missing], samples[missing:]
            yield self._framed
            held = self._overlap_samples
            block[:held] = block[len(block) - held :]
        self._held = held + len(samples)
        block[held : self._held] = samples

    def frames(self, samples: np.ndarray) -> np.ndarray:
        """Return the frames of all blocks that `samples` complete, at once: float32 (k * block_frames, window)."""
        known = np.concatenate([self._samples[: self._held], samples], dtype=np.float32)
        block_samples = len(self._samples) - self._overlap_samples
        count = max(0, len(known) - self._overlap_samples) // block_samples
        rest = known[count * block_samples :]
        self._held = len(rest)
        self._samples[: self._held] = rest
        if not count:
            return np.empty((0, self._framed.shape[1]), np.float32)
        # What sliding_window_view would give, which takes longer than all of this.
        shape, strides = (count * len(self._framed), self._framed.shape[1]), (self._hop_samples * 4, 4)
        return np.ndarray(shape, np.float32, known, strides=strides)
