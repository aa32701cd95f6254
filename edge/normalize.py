"""Standardization of MFCC frames before the graph, so that int8 has a fair range; named in the manifest.

`global`: the training set's mean and standard deviation (the study's). `running`: a causal mean over the utterance,
which cancels a speaker's and a microphone's colour, then the training standard deviation.
"""

from typing import Annotated, Literal

import msgspec
import numpy as np

Kind = Literal["global", "running"]
Decibels = Annotated[float, msgspec.Meta(ge=-1e4, le=1e4)]
Spread = Annotated[float, msgspec.Meta(ge=1e-3, le=1e4)]
Frames = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]

PRIOR_FRAMES = 25  # the weight of the training mean at an utterance's onset
HORIZON_S = 3.0  # the running mean's time constant


class Normalization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`mean` and `std` have one value per coefficient; the rest is used by `running` only."""

    kind: Kind
    mean: list[Decibels]
    std: list[Spread]
    prior_frames: Frames = PRIOR_FRAMES
    horizon_frames: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 150


class Normalizer:
    """Applies a Normalization to consecutive frames of an utterance."""

    def __init__(self, settings: Normalization) -> None:
        self._running = settings.kind == "running"
        self._prior_frames = settings.prior_frames
        self._horizon_frames = settings.horizon_frames
        self._training_mean = np.array(settings.mean, np.float32)
        self._scale = (1.0 / np.array(settings.std, np.float64)).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Begin a new utterance: the running mean is the training mean again."""
        self._mean = self._training_mean
        self._seen = self._prior_frames

    def process(self, frames: np.ndarray) -> np.ndarray:
        """Return standardized frames, same shape: (frames, ..., coefficients); axes between are independent sounds."""
        if not self._running:
            return (frames - self._training_mean) * self._scale
        means, mean = np.empty_like(frames), self._mean
        for frame, following in zip(frames, means, strict=True):
            self._seen += 1
            np.subtract(frame, mean, out=following)
            np.multiply(following, np.float32(1.0 / min(self._seen, self._horizon_frames)), out=following)
            mean = np.add(mean, following, out=following)
        self._mean = mean.copy()  # not a row that keeps all the others
        return (frames - means) * self._scale
