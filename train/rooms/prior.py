"""What a training knows of rooms before it hears one: the prior of edge's baseline."""

from collections.abc import Sequence

import numpy as np

from edge.features.baseline import Prior
from train.data.clip import Clip

_LEAST = 1e-3  # a functional that never varies must not divide by nothing


def prior_of(clips: Sequence[Clip], among: Sequence[int], functionals: Sequence[np.ndarray]) -> Prior:
    """Return mean and deviations over voices of functionals, by place (clips, functionals; NaN where a clip lacks one).

    Every voice at every place is a room. A corpus weighs as the root of its voices, so that none decides alone.
    """
    voices: dict[tuple[str, str], list[int]] = {}
    for index in among:
        voices.setdefault((clips[index].corpus, clips[index].speaker), []).append(index)
    corpora = [corpus for corpus, _ in voices for _ in functionals]
    weights = np.array([corpora.count(corpus) ** -0.5 for corpus in corpora])
    rooms = [
        np.ma.masked_invalid(place[indices].astype(np.float64)) for indices in voices.values() for place in functionals
    ]
    means = np.ma.stack([room.mean(axis=0) for room in rooms])
    mean = np.ma.average(means, axis=0, weights=weights)
    within = np.ma.average(np.ma.stack([room.var(axis=0) for room in rooms]), axis=0, weights=weights)
    between = np.ma.average((means - mean) ** 2, axis=0, weights=weights)
    return Prior(
        mean=mean.filled(0.0).tolist(),
        within=np.maximum(np.sqrt(within.filled(1.0)), _LEAST).tolist(),
        between=np.maximum(np.sqrt(between.filled(1.0)), _LEAST).tolist(),
    )
