"""Standardization of MFCC frames before the graph, so that int8 has a fair range; named in the manifest.

`global`: the training set's mean and standard deviation (the study's). `running`: a causal mean over the utterance,
which cancels a speaker's and a microphone's colour, then the training standard deviation.
"""

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import numpy as np

Kind = Literal["global", "running"]
Decibels = Annotated[float, msgspec.Meta(ge=-1e4, le=1e4)]
Spread = Annotated[float, msgspec.Meta(ge=1e-3, le=1e4)]
Frames = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]

PRIOR_FRAMES = 25  # the weight of the training mean at an utterance's onset
HORIZON_S = 3.0  # the running mean's time constant
GROUP_FRAMES = 4  # standardized by one matrix product: a block of the sensor's


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
        self._seen = self._prior_frames
        self._group: np.ndarray | None = None  # the mean before a group of frames, and those of them that have come
        self._held = 0

    def process(self, frames: np.ndarray) -> np.ndarray:
        """Return standardized frames, same shape: (frames, ..., coefficients); axes between are independent sounds."""
        return (self._less_running_mean(frames) if self._running else frames - self._training_mean) * self._scale

    def _less_running_mean(self, frames: np.ndarray) -> np.ndarray:
        """Return each frame less the mean up to it, by one matrix product for a group, and no product of another size:
        that differs in the last bits. Frames still to come have weights of zero; old ones stand in for them."""
        if not len(frames):
            return frames
        rest, parts = frames.reshape(len(frames), -1), []
        if self._group is None:
            self._group = np.zeros((1 + GROUP_FRAMES, rest.shape[1]), np.float32)
            self._group[0] = np.broadcast_to(self._training_mean, frames.shape[1:]).ravel()
        while len(rest):
            first, last = self._held, min(self._held + len(rest), GROUP_FRAMES)
            self._group[1 + first : 1 + last] = rest[: last - first]
            found = _less_mean(min(self._seen, self._horizon_frames), self._horizon_frames).dot(self._group)
            parts.append(found[first:last])
            rest, self._held = rest[last - first :], last
            if last == GROUP_FRAMES:
                self._group[0] = found[-1]
                self._seen += GROUP_FRAMES
                self._held = 0
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(frames.shape)


@lru_cache(maxsize=1_024)
def _less_mean(seen: int, horizon: int) -> np.ndarray:
    """Return the matrix that makes, of a mean over `seen` frames and the group of frames after them, each frame less
    the mean with it in, and the last mean: float32 (GROUP_FRAMES + 1, GROUP_FRAMES + 1)."""
    mean, *frames = np.eye(GROUP_FRAMES + 1)
    rows = []
    for frame in frames:
        seen += 1
        mean = mean + (frame - mean) / min(seen, horizon)
        rows.append(frame - mean)
    return np.array([*rows, mean], np.float32)
