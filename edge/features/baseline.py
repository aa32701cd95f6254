"""The room's baseline: how its utterances usually sound, so that the next one is heard against them.

Emotion is how a voice differs from its usual self. What a room's usual self is, is estimated from its utterances so
far, whatever was said in them, and begins as the training's: an empirical Bayes estimate (C. Morris, "Parametric
empirical Bayes inference", 1983), number by number. One in which voices differ much is soon the room's own, another
stays longer with the training's.
"""

from typing import Annotated

import msgspec
import numpy as np

LIMIT = 5.0  # deviations; what lies further out is as far
HALF_KNOWN_UTTERANCES = 5.0  # a room is half known after as many
# Bounds of sense: what an artifact says of rooms must not turn into numbers that are none.
_Value = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
_Deviation = Annotated[float, msgspec.Meta(ge=1e-6, le=1e6)]


class Prior(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the training knows of rooms: one value per functional.

    mean: over rooms; within: the deviation between utterances of a room; between: that of the rooms' means.
    spread_utterances: how many utterances `within` counts for beside the room's own deviation.
    horizon_utterances: after so many more, an utterance weighs 1/e of what it did.
    """

    mean: list[_Value]
    within: list[_Deviation]
    between: list[_Deviation]
    spread_utterances: Annotated[float, msgspec.Meta(ge=1e-3, le=1e6)] = 8.0
    horizon_utterances: Annotated[float, msgspec.Meta(ge=2, le=1e9)] = 300.0


class Baseline:
    """Mean and deviation of a room's functionals; a few hundred numbers, however long it listens.

    A functional may be NaN (no frame of the utterance was voiced): it is then not heard, and stands at the mean.
    """

    def __init__(self, prior: Prior, *, rooms: int | None = None) -> None:
        """rooms: so many are followed at once, which all hear as many utterances (in training)."""
        self._shape = (len(prior.mean),) if rooms is None else (rooms, len(prior.mean))
        self._mean = np.array(prior.mean, np.float64)
        self._within = np.square(np.array(prior.within, np.float64))
        self._between = np.square(np.array(prior.between, np.float64))
        self._spread_utterances = prior.spread_utterances
        self._decay = float(np.exp(-1.0 / prior.horizon_utterances))
        self.reset()

    def reset(self) -> None:
        """Forget the room."""
        self.utterances = 0
        self._weight, self._room_mean, self._squares = np.zeros((3, *self._shape))
        self._usual = self._expected()

    def hear(self, functionals: np.ndarray) -> None:
        """Take in a whole utterance: float (functionals,), one for each room.

        What is further than `LIMIT` deviations from the usual pulls no harder than what is `LIMIT` away, so that no
        door and no television becomes the room's usual self at once.
        """
        mean, deviation = self._usual
        reach = LIMIT * deviation
        known = np.isfinite(functionals)
        heard = np.clip(np.where(known, functionals, mean), mean - reach, mean + reach)
        weight = self._decay * self._weight + known
        step = np.where(known, heard - self._room_mean, 0.0)
        self._room_mean += step / np.maximum(weight, 1.0)
        self._squares = self._decay * self._squares + step * (heard - self._room_mean)
        self._weight = weight
        self.utterances += 1
        self._usual = self._expected()

    def relative(self, functionals: np.ndarray, rooms: np.ndarray | None = None) -> np.ndarray:
        """Return how far functionals (..., functionals) are from the usual, in deviations: float32, within `LIMIT`.

        rooms: in which of several each is said, int (...,).
        """
        mean, deviation = self._usual if rooms is None else (usual[rooms] for usual in self._usual)
        away = (functionals - mean) / deviation
        return np.minimum(np.maximum(np.where(np.isfinite(away), away, 0.0), -LIMIT), LIMIT).astype(np.float32)

    def against(self, functionals: np.ndarray, rooms: np.ndarray | None = None) -> np.ndarray:
        """Return what a network is given of functionals (..., functionals): they relative to the usual, then how well
        the room is known, 0 to 1: float32 (..., functionals + 1). rooms: see `relative`."""
        given = np.empty((*functionals.shape[:-1], functionals.shape[-1] + 1), np.float32)
        given[..., :-1] = self.relative(functionals, rooms)
        given[..., -1] = self.utterances / (self.utterances + HALF_KNOWN_UTTERANCES)
        return given

    def _expected(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected mean and deviation of the room's next utterance, each (functionals,), or of all."""
        # The mean counts for as many utterances as leave a room's mean as uncertain as rooms differ.
        uncertain = self._between * self._within / (self._within + self._weight * self._between)
        mean = self._mean + self._weight * uncertain / self._within * (self._room_mean - self._mean)
        counted = self._spread_utterances + np.maximum(self._weight - 1.0, 0.0)
        spread = (self._spread_utterances * self._within + self._squares) / counted
        return mean, np.sqrt(spread + uncertain)
