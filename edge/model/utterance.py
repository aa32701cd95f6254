"""A graph that hears whole utterances: the functionals so far against the room's own baseline, which it keeps.

It takes samples beside MFCC frames, because it listens to more of a voice than those; and it remembers the room beyond
the utterance, as numbers that no sound can be made from.
"""

from collections.abc import Callable

import numpy as np

from edge.features.baseline import LIMIT, Baseline
from edge.features.functionals import Functionals, names
from edge.features.voice import VoiceExtractor
from edge.model.manifest import Manifest

# An answer each 320 ms: nearly all of the cost is that of numpy's calls, whatever each is given.
# Measured, in ms of one core per second of speech: 4.2 for one block at a time, 2.2 for two, 1.2 for four, 0.7 for
# eight, which would keep a label waiting for two thirds of a second.
ANSWER_BLOCKS = 4


class UtteranceModel:
    """Maps an utterance so far to probabilities; `utterances`: how many its room is known by."""

    def __init__(
        self, interpreter, manifest: Manifest, utterance: int, probs: int, embed: Callable[[], np.ndarray] | None
    ) -> None:
        """Raises ValueError where the front end is not one for voices."""
        spec = manifest.features
        self._interpreter, self._utterance, self._probs = interpreter, utterance, probs
        self._extractor = VoiceExtractor(spec)
        self._functionals = Functionals(spec)
        known = names(spec)
        self._chosen = np.array([known.index(name) for name in manifest.functionals])
        self._baseline = Baseline(manifest.baseline)
        self._embed = embed
        if manifest.embedding and embed is None:
            self._embed = lambda: self.embedding_of(self.functionals)
        self._mean = np.array(manifest.baseline.mean)
        self._deviation = np.hypot(manifest.baseline.within, manifest.baseline.between)
        self._answer_samples = ANSWER_BLOCKS * spec.block_samples
        self.reset()

    @property
    def utterances(self) -> int:
        return self._baseline.utterances

    @property
    def functionals(self) -> np.ndarray:
        """Those of the manifest, of the utterance so far: float32 (functionals,), NaN where it had no frame for one."""
        self._take_in()
        if self._heard is None:  # once for an answer and its embedding: what lessons cost is mostly this
            self._heard = self._functionals.values()[self._chosen]
        return self._heard

    @property
    def embedding(self) -> np.ndarray | None:
        """Of the utterance so far, whatever room it is said in: float32 (dimensions,); None before the first answer,
        and always where the manifest declares none."""
        return self._embed() if self._embed and self._answered else None

    def reset(self, history: np.ndarray | None = None) -> None:
        """Begin a new utterance, after these samples (see `VoiceExtractor.reset`)."""
        self._extractor.reset(history)
        self._functionals.reset()
        self._pending: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._heard: np.ndarray | None = None
        self._unanswered_samples = 0
        self._answered = False

    def process(self, samples: np.ndarray, coefficients: np.ndarray | None = None) -> np.ndarray | None:
        """Take the utterance's next samples (float32), always with their MFCCs (see `VoiceExtractor.process`) or never;
        return float32 (labels,), summing to 1, at once where they are its first, and then for every `ANSWER_BLOCKS`
        that have come since the last answer; else None."""
        self._pending.append((samples, coefficients))
        self._unanswered_samples += len(samples)
        if self._answered and self._unanswered_samples < self._answer_samples:
            return None
        self._answered, self._unanswered_samples = True, 0  # whoever asks for an embedding meanwhile shifts nothing
        return self.answer(self._baseline.against(self.functionals))

    def answer(self, given: np.ndarray) -> np.ndarray:
        """Return the graph's answer, float32 (labels,), to what `Baseline.against` says, float32 (functionals + 1,)."""
        self._interpreter.set_tensor(self._utterance, given[None])
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._probs)[0]

    def hear(self) -> None:
        """The utterance is over, and was one: the room is known by one more."""
        self._baseline.hear(self.functionals)

    def forget(self) -> None:
        """Begin with a room of which nothing is known."""
        self._baseline.reset()
        self.reset()

    def embedding_of(self, functionals: np.ndarray) -> np.ndarray:
        """Return an embedding made of functionals: both float32 (functionals,)."""
        away = (functionals - self._mean) / self._deviation
        away[np.isnan(away)] = 0.0
        return np.minimum(np.maximum(away, -LIMIT), LIMIT).astype(np.float32)

    def _take_in(self) -> None:
        if self._pending:
            samples, coefficients = zip(*self._pending, strict=True)
            known = None if coefficients[0] is None else np.concatenate(coefficients)
            self._functionals.process(self._extractor.process(np.concatenate(samples), known))
            self._pending.clear()
            self._heard = None
