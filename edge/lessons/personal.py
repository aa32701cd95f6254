"""The personal layer: what a room's lessons change in its model's answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.lessons.lesson import Lesson

_HALF_KNOWN = 2.0  # lessons after which a label's mean is half its own
_SHARPNESS = 1.0
_FEWEST_LABELS = 2  # one label alone could only be told more often
_LEAST_DEVIATION = 1e-3


class Usual:
    """Running mean and deviation of a room's embeddings, whatever was said in them: 2 numbers a dimension."""

    def __init__(self, dims: int) -> None:
        self.count = 0
        self.mean, self.squares = np.zeros((2, dims), np.float64)

    def hear(self, embedding: np.ndarray) -> None:
        """Take in a whole utterance's embedding: float (dims,)."""
        self.count += 1
        step = embedding.astype(np.float64) - self.mean
        self.mean += step / self.count
        self.squares += step * (embedding - self.mean)

    def standardize(self, embedding: np.ndarray) -> np.ndarray:
        """Return embeddings (..., dims) in deviations from the usual: float32."""
        if self.count < 2:
            return (embedding - self.mean).astype(np.float32)
        deviation = np.sqrt(self.squares / self.count)
        return ((embedding - self.mean) / np.maximum(deviation, _LEAST_DEVIATION)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Personal:
    """A fitted layer. per_label: lessons by label. right_before, right_after: of the lessons, leaving one out, None
    where there are none. in_use: whether it helps."""

    per_label: dict[str, int]
    right_before: float | None = None
    right_after: float | None = None
    in_use: bool = False
    usual: Usual | None = None
    taught: np.ndarray | None = None  # which labels: bool (labels,)
    means: np.ndarray | None = None  # float32 (labels taught, dims)

    def answer(self, embedding: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Return float32 (labels,), summing to 1, for an utterance so far: its embedding, and the model's answer. Where
        the layer is not in use, that is `probs` itself."""
        if not self.in_use:
            return probs
        return _answer(self.usual.standardize(embedding), probs, self.taught, self.means)


def fit(lessons: Sequence[Lesson], labels: Sequence[str], usual: Usual) -> Personal:
    """Return the layer that lessons of a model of these labels give."""
    per_label = {label: sum(lesson.label == label for lesson in lessons) for label in labels}
    per_label = {label: count for label, count in per_label.items() if count}
    if not lessons:
        return Personal(per_label=per_label)
    truth = np.array([labels.index(lesson.label) for lesson in lessons])
    given = usual.standardize(np.stack([lesson.embedding for lesson in lessons]).astype(np.float32))
    probs = np.exp(np.stack([lesson.log_probs for lesson in lessons]).astype(np.float32))
    before = float((probs.argmax(1) == truth).mean())
    after = 0.0
    for left_out in range(len(lessons)):
        kept = np.arange(len(lessons)) != left_out
        taught, means = _means(given[kept], truth[kept], len(labels))
        after += _answer(given[left_out], probs[left_out], taught, means).argmax() == truth[left_out]
    after /= len(lessons)
    taught, means = _means(given, truth, len(labels))
    return Personal(
        per_label=per_label, right_before=before, right_after=after,
        in_use=len(per_label) >= _FEWEST_LABELS and after > before, usual=usual, taught=taught, means=means,
    )  # fmt: skip


def _means(given: np.ndarray, truth: np.ndarray, labels: int) -> tuple[np.ndarray, np.ndarray]:
    counts = np.bincount(truth, minlength=labels)
    taught = counts > 0
    sums = np.zeros((labels, given.shape[1]), np.float32)
    np.add.at(sums, truth, given)
    return taught, sums[taught] / (counts[taught] + _HALF_KNOWN)[:, None]


def _answer(given: np.ndarray, probs: np.ndarray, taught: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Labels never taught keep their chance; those taught share what they had together."""
    if not taught.any():
        return probs
    scores = _SHARPNESS * (means @ given - 0.5 * np.square(means).sum(1)) / np.sqrt(len(given))
    scores = scores + 0.3 * np.log(np.maximum(probs[taught], 1e-6))
    shares = np.exp(scores - scores.max())
    told = np.array(probs, np.float32)
    told[taught] = shares / shares.sum() * probs[taught].sum()
    return told
