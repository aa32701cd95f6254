"""A microphone that is alive but dead: it delivers exact zeros, a constant, or clipping, for seconds."""

import math

import numpy as np

from edge.sound.blocks import BLOCK_S, Block
from edge.sound.level import clipped

DEAD_S = 10.0  # even a quiet room moves the last bit of a working converter far more often
CLIPPED_S = 3.0  # longer than a shout
CLIPPED_RATIO = 0.01  # of a block's samples


class SignalCheck:
    """Fed with every block, says whether sound that flows is worth anything.

    `zeros` or `constant` after DEAD_S of nothing else, until the first block that is worth something; `clipped` after
    CLIPPED_S in which every block has at least CLIPPED_RATIO of its samples at full scale, until CLIPPED_S in which
    none has: music at the edge of it would come and go many times a minute.
    """

    def __init__(self) -> None:
        self._told: str | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew: to be called when the sound was interrupted. What was dead, and is no better, is so at once."""
        self._kind: str | None = None
        self._blocks = 0  # in a row, of this kind
        if self._told == "clipped":
            self._told = None

    @property
    def lasted_s(self) -> float:
        """For how long the sound has been of the kind of its last block."""
        return self._blocks * BLOCK_S

    def process(self, block: Block) -> str | None:
        """Take a block; return a reason code of edge/sound/faults.py, or None."""
        kind = _kind(block.samples, block.offset)
        self._blocks = self._blocks + 1 if kind == self._kind else 1
        self._kind = kind
        # Whole blocks: a sum of 0.08 s is off by an ulp, and a limit must not depend on that.
        if self._blocks >= math.ceil((DEAD_S if kind in ("zeros", "constant") else CLIPPED_S) / BLOCK_S):
            self._told = kind
        elif kind is None and self._told != "clipped":
            self._told = None
        return self._told


def _kind(samples: np.ndarray, offset: float) -> str | None:
    # Most blocks are told from a constant by two samples, and min() and max() take thrice as long.
    if samples[0] == samples[-1] and samples[samples.argmin()] == samples[samples.argmax()]:
        return "constant" if samples[0] + np.float32(offset) else "zeros"
    return "clipped" if clipped(samples, offset) >= CLIPPED_RATIO * len(samples) else None
