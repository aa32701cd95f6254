"""A fold's sides as arrays: what a network sees in each epoch, and what it is judged on."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from edge.features.mfcc import MfccSpec
from edge.features.normalize import Normalization
from train.augmentation.augment import Variants, drawn, masked, shifted
from train.config import Recipe, TrainConfig
from train.data.clip import Clip
from train.data.features import Cache, Shipped, clip_frames
from train.data.split import Split
from train.data.windows import along, normalization_of, speech_bounds, standardized, windowed, windows_of
from train.networks import registry

_AT_ONCE = 1_000  # clips
_MOST_FIXED = 10_000  # clips whose windows are kept, where they stay the same in every epoch
_MEASURED = 100_000  # variants of clips of which the normalization is measured, where there are more


class _Anew(Iterable[np.ndarray]):
    """Arrays that are read anew whenever they are gone through."""

    def __init__(self, read: Callable[[], Iterator[np.ndarray]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._read()


class Prepared:
    """The arrays of a fold; every draw depends on the seed and the epoch alone."""

    def __init__(
        self,
        clips: Sequence[Clip],
        split: Split,
        recipe: Recipe,
        config: TrainConfig,
        spec: MfccSpec,
        cache: Cache | Shipped,
        *,
        seed: int,
        network: str,
    ) -> None:
        self._step_frames = registry.step_frames(network)
        self.window_frames = recipe.window_frames or config.window_frames
        self._recipe, self._config, self._spec, self._seed = recipe, config, spec, seed
        self._clips, self._split, self._cache = clips, split, cache
        self._variants = Variants(config.augmentation, spec, cache, trim=recipe.trim) if recipe.augment else None
        made = sum(1 for _ in self._training(1))
        every = _Anew(lambda: self._training(-(-made // _MEASURED)))
        self.normalization: Normalization = normalization_of(every, recipe.normalization, spec)
        training = [clips[index] for index in split.train]
        self._truth = self.truth("train")
        self._heard = heard(training, config.labels, recipe.votes) if recipe.votes else self._truth
        voices = [(clip.corpus, clip.speaker or "") for clip in training]
        self._voices = np.unique(voices, axis=0, return_inverse=True)[1].astype(np.int32)
        self._shares = balanced(training, voices=recipe.voices) if recipe.balance else None
        few = len(split.train) <= _MOST_FIXED
        self._fixed = self.windows("train") if few and not recipe.augment else None

    def windows(self, side: str) -> np.ndarray:
        """Return a side's standardized windows, not augmented: float32 (n, window, coefficients)."""
        none = np.zeros((0, self.window_frames, self._spec.coefficients), np.float32)
        return np.concatenate([none, *self.parts(side)])

    def parts(self, side: str) -> Iterator[np.ndarray]:
        """Yield the windows of a side, some clips at a time: a hundred thousand fit in no memory."""
        those = self._split.side(side)
        for start in range(0, len(those), _AT_ONCE):
            yield self._windows(those[start : start + _AT_ONCE])

    def truth(self, side: str) -> np.ndarray:
        """Return a side's labels as int32 indices."""
        labels = {label: index for index, label in enumerate(self._config.labels)}
        return np.array([labels[self._clips[index].label] for index in self._split.side(side)], np.int32)

    def order(self, number: int) -> np.ndarray:
        """Return the clips of one epoch (from 0), one after the other: int64 (n,)."""
        rng, count = np.random.default_rng([self._seed, number]), len(self._truth)
        return rng.permutation(count) if self._shares is None else rng.choice(count, count, p=self._shares)

    def batch(self, those: np.ndarray, *draw: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """Return windows, what is to be answered, its weights, and label and voice of each as numbers (n, 2), drawn
        anew for each `draw`.

        To be answered is a label as an index, or a share of each label where the recipe goes by votes: per window
        without weights; where the network answers all along, with a weight for each of its answers.
        """
        windows = self._drawn(those, np.random.default_rng([self._seed, *draw]))
        keys = np.stack([self._truth[those], self._voices[those]], axis=1)
        if self._step_frames is None:
            return windows, self._heard[those], None, keys
        step_s = self._step_frames / self._spec.frames_per_s
        truth, weight = along(self._heard[those], windows, step_s, self._step_frames)
        return windows, truth, weight, keys

    def _windows(self, clips: Sequence[int]) -> np.ndarray:
        utterances = [self._utterance(self._clips[index]) for index in clips]
        return windows_of(utterances, self.normalization, self.window_frames, self._step_frames or 1)

    def _training(self, every: int) -> Iterator[np.ndarray]:
        """Yield the frames of the training side, one of so many, variants too; what is not in the cache yet is made."""
        variants = 1 if self._variants is None else self._config.augmentation.variants
        for place in range(0, len(self._split.train) * variants, every):
            clip = self._clips[self._split.train[place // variants]]
            yield self._utterance(clip) if self._variants is None else self._variants.frames(clip, place % variants)

    def _utterance(self, clip: Clip) -> np.ndarray:
        """Return a clip's raw frames, trimmed where the recipe says so."""
        frames = clip_frames(clip, self._spec, self._cache)
        return frames[slice(*speech_bounds(frames, self._spec))] if self._recipe.trim else frames

    def _drawn(self, those: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self._fixed is not None:
            return self._fixed[those]
        clips = [self._split.train[index] for index in those]
        if self._variants is None:
            return self._windows(clips)
        settings = self._config.augmentation
        utterances = [
            drawn(self._variants.of(self._clips[index]), settings, self._spec, rng) for index in clips
        ]  # fmt: skip
        windows = windowed(standardized(utterances, self.normalization), self.window_frames, self._step_frames or 1)
        windows = shifted(windows, self.normalization.std, settings, rng)
        return masked(windows, settings, rng)


def balanced(clips: Sequence[Clip], *, voices: float = 0.0) -> np.ndarray:
    """Return how often each clip is drawn: float (n,), 1 in all.

    Corpora alike, labels alike within a corpus, clips alike within a label. With `voices` above 0, a corpus counts by
    that power of the number of its voices; within a label voices are drawn alike, within a voice what is said (the same
    sentence at three intensities is one), and then clips.
    """
    ways = [
        (clip.corpus, clip.label, *((clip.speaker, clip.text) if voices else ()), number)
        for number, clip in enumerate(clips)
    ]
    inside: dict[tuple, set] = defaultdict(set)  # what there is to choose among, after what was chosen before
    for way in ways:
        for depth in range(1, len(way)):
            inside[way[:depth]].add(way[depth])
    speakers: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        speakers[clip.corpus].add(clip.speaker)
    shares = np.array([
        len(speakers[way[0]]) ** voices / math.prod(len(inside[way[:depth]]) for depth in range(1, len(way)))
        for way in ways
    ])  # fmt: skip
    return shares / shares.sum()


def heard(clips: Sequence[Clip], labels: Sequence[str], share: float) -> np.ndarray:
    """Return what is learned of each clip, a share of each label: float32 (n, labels), 1 in all.

    `share` of it is what listeners heard, where they were asked about labels of these; the rest is what was meant.
    """
    meant = np.eye(len(labels), dtype=np.float32)[[labels.index(clip.label) for clip in clips]]
    votes = np.array([[clip.votes.get(label, 0.0) for label in labels] for clip in clips], np.float32)
    asked = votes.sum(axis=1, keepdims=True)
    return np.where(asked > 0, (1 - share) * meant + share * votes / np.maximum(asked, 1e-9), meant)
