"""What an artifact hears of many clips, as lessons need it: embeddings, and what it says of them in a room."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edge.errors import ArtifactError
from edge.features.baseline import Baseline
from edge.features.functionals import names
from edge.model.artifact import Artifact
from edge.model.graph import Model
from edge.model.utterance import UtteranceModel
from train.data.clip import Clip
from train.data.features import Cache, clip_frames, key_of
from train.data.windows import speech_bounds
from train.rooms.lessons import settle
from train.rooms.utterances import functionals_along, of_frames, utterances
from train.study.robustness import CLEAN, heard_in, made_of
from train.study.robustness import utterances as frames_of


class Ear(Protocol):
    """One artifact over one list of clips. Conditions are those of train/study/robustness.py."""

    def embeddings(self, condition: str) -> np.ndarray:
        """Return what every clip is like at its end: float32 (clips, dims)."""

    def probs(self, past: np.ndarray, those: np.ndarray, condition: str) -> np.ndarray:
        """Return what the model says of some clips in a room with this past, untaught: float32 (n, labels)."""


class FrameEar:
    """Of a model that hears frames, and of rooms nothing."""

    def __init__(
        self, artifact: Artifact, model: Model, clips: Sequence[Clip], noises: dict[str, np.ndarray], cache: Cache
    ) -> None:
        self._features, self._model, self._clips = artifact.manifest.features, model, clips
        self._noises, self._cache = noises, cache
        self._heard: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def embeddings(self, condition: str) -> np.ndarray:
        return self._all(condition)[0]

    def probs(self, past: np.ndarray, those: np.ndarray, condition: str) -> np.ndarray:
        return self._all(condition)[1][those]

    def _all(self, condition: str) -> tuple[np.ndarray, np.ndarray]:
        if condition not in self._heard:
            embeddings, probs = [], []
            for frames in frames_of(self._clips, condition, self._noises, self._features, self._cache):
                self._model.reset()
                probs.append(self._model.process(frames).copy())
                embeddings.append(self._model.embedding.copy())
            self._heard[condition] = np.array(embeddings), np.array(probs)
        return self._heard[condition]


class UtteranceEar:
    """Of a model that hears utterances against what was heard in the room before."""

    def __init__(
        self, artifact: Artifact, model: UtteranceModel, clips: Sequence[Clip], noises: dict[str, np.ndarray],
        cache: Cache,
    ) -> None:  # fmt: skip
        self._manifest, self._model, self._clips = artifact.manifest, model, clips
        self._noises, self._cache = noises, cache
        self._baseline = Baseline(artifact.manifest.baseline)
        known = names(artifact.manifest.features)
        self._chosen = [known.index(name) for name in artifact.manifest.functionals]
        self._heard: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def embeddings(self, condition: str) -> np.ndarray:
        return self._all(condition)[0]

    def probs(self, past: np.ndarray, those: np.ndarray, condition: str) -> np.ndarray:
        functionals = self._all(condition)[1]
        settle(self._baseline, functionals[past])
        return np.array([self._model.answer(given).copy() for given in self._baseline.against(functionals[those])])

    def _all(self, condition: str) -> tuple[np.ndarray, np.ndarray]:
        if condition not in self._heard:
            functionals = self._functionals(condition)[:, self._chosen]
            self._heard[condition] = np.array([self._model.embedding_of(one) for one in functionals]), functionals
        return self._heard[condition]

    def _functionals(self, condition: str) -> np.ndarray:
        spec, cache = self._manifest.features, self._cache
        if condition == CLEAN:
            _, heard, _ = utterances(self._clips, spec, cache, 1, lambda done, total, note: None)
            return heard.whole(np.arange(len(self._clips)))

        def made(clip: Clip) -> np.ndarray:
            first, last = speech_bounds(clip_frames(clip, spec, cache), spec)
            sound = of_frames(heard_in(clip, condition, self._noises), first, last, spec)
            return functionals_along(sound, spec)[-1]

        room = made_of(condition, self._noises)
        keys = [key_of("utterance in", clip.sha256, spec, condition, room) for clip in self._clips]
        return np.array([
            cache.of(clip.corpus).get(key, lambda clip=clip: made(clip))
            for key, clip in zip(keys, self._clips, strict=True)
        ])  # fmt: skip


def ear_of(artifact: Artifact, clips: Sequence[Clip], noises: dict[str, np.ndarray], cache: Cache) -> Ear:
    """Return what hears for an artifact. Raises ArtifactError where it cannot be taught."""
    if not artifact.manifest.teachable:
        raise ArtifactError(f"{artifact.manifest.model_id}: has no embedding to learn lessons from: convert it again")
    kind = UtteranceEar if artifact.manifest.form == "utterance" else FrameEar
    return kind(artifact, artifact.load(), clips, noises, cache)
