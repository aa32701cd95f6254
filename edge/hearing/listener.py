"""Who hears an utterance: one interface, whichever form the model has."""

from typing import Protocol

import numpy as np

from edge.model.graph import Model
from edge.model.manifest import Manifest
from edge.model.utterance import UtteranceModel


class Listener(Protocol):
    """Is given an utterance, from its onset on, and answers."""

    def begin(self, history: np.ndarray) -> None:
        """An utterance begins after these samples."""

    def take(self, samples: np.ndarray, frames: np.ndarray) -> np.ndarray | None:
        """Take the utterance's next samples and their MFCC frames; return the probabilities (labels,), or None where
        there is no new answer."""

    def end(self, *, was_speech: bool) -> None:
        """It is over, and was speech for certain, or not."""

    @property
    def embedding(self) -> np.ndarray | None:
        """Of the utterance up to its last answer, float32 (dimensions,), also when it is over; None where the model has
        none."""

    @property
    def room_utterances(self) -> int | None:
        """How many utterances its room is known by; None where it knows nothing of rooms."""


class FrameListener:
    """Around a model that hears frames and nothing beyond the utterance."""

    room_utterances = None

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def embedding(self) -> np.ndarray | None:
        return self._model.embedding

    def begin(self, history: np.ndarray) -> None:
        self._model.reset()

    def take(self, samples: np.ndarray, frames: np.ndarray) -> np.ndarray | None:
        return self._model.process(frames)

    def end(self, *, was_speech: bool) -> None:
        pass


class UtteranceListener:
    """Around a model that hears utterances against its room's baseline, of which nothing is known at first.

    What was no speech for certain (a door, a television's clatter) is no part of the room's usual self.
    """

    def __init__(self, model: UtteranceModel) -> None:
        self._model = model
        model.forget()

    @property
    def embedding(self) -> np.ndarray | None:
        return self._model.embedding

    @property
    def room_utterances(self) -> int:
        return self._model.utterances

    def begin(self, history: np.ndarray) -> None:
        self._model.reset(history)

    def take(self, samples: np.ndarray, frames: np.ndarray) -> np.ndarray | None:
        return self._model.process(samples, frames)

    def end(self, *, was_speech: bool) -> None:
        if was_speech:
            self._model.hear()


def listener_of(model: Model | UtteranceModel, manifest: Manifest) -> Listener:
    """Return who hears for a model."""
    return UtteranceListener(model) if manifest.form == "utterance" else FrameListener(model)
