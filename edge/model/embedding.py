"""The embedding: what an utterance so far is like, in at most 256 numbers that no sound can be made from.

It is what a person's lessons are learned from. A model answers with it at once, whatever its form: from an output of
its graph, from what its state has summed up since the onset, or from the functionals that the graph was given.
"""

from typing import Annotated, Literal

import msgspec
import numpy as np

MOST_DIMENSIONS = 256
MOMENTS = "moments"  # the state that sums up, of a step graph
_VARIANCE_FLOOR = 1e-4


class Embedding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model's embedding comes from, and how many numbers it is.

    graph: the graph's output `embedding` (1, dimensions). moments: mean and deviation of each channel, from the state
    of that name: how many blocks, their sums, the sums of their squares (1, 1 + dimensions). functionals: those of the
    utterance form, in deviations of the training's from its mean.
    """

    source: Literal["graph", "moments", "functionals"]
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=MOST_DIMENSIONS)]


def of_moments(moments: np.ndarray) -> np.ndarray:
    """Return means, then deviations, float32 (dimensions,), of a count, sums and sums of squares (1 + dimensions,)."""
    both = moments[1:] / moments[0]  # in place from here on: this is for every block
    channels = len(both) // 2
    mean, spread = both[:channels], both[channels:]
    spread -= mean * mean
    np.maximum(spread, 0.0, out=spread)
    spread += _VARIANCE_FLOOR
    np.sqrt(spread, out=spread)
    return both
