"""The personal layer: what a room's lessons change in its model's answers.

Ridge regression from embeddings to labels, every taught label weighing alike, added to what the model says. How far it
is trusted beside the model (and how smooth it is, and how far the model is trusted then) is what the lessons themselves
say best of each other, each left out in turn, which a regression gives in closed form. A few of them can mislead, so
the choice begins near the model. Chosen by the protocol `taught`: train/reports/research.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from edge.lessons.lesson import Lesson

_FEWEST_LABELS = 2  # one label alone could only be told more often
_PENALTIES, _USUAL_PENALTY = (1.0, 3.0, 10.0), 3.0  # on weights, per dimension
_OWN_SHARES = (0.3, 0.5, 1.0)  # of the model's log probabilities
_TRUSTS = (3.0, 5.0, 8.0, 12.0, 20.0)  # in the regression, whose scores are shares of a label
_MOST_TRUST, _HALF_TRUST = 10.0, 2.5  # expected of many lessons, and the lessons per label of which half of it is
_SCORES = (-2.0, 3.0)  # beyond them a lesson that is left out says no more
_MARGIN = 0.99  # how near a taught label comes to one that nobody taught, where the model was surest of that
_SHARED_UTTERANCES = 2.0  # for how many utterances the mean deviation of all numbers counts beside each one's own
_LEAST_DEVIATION = 1e-3
_LEAST_PROBABILITY = 1e-6


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

    @property
    def deviation(self) -> np.ndarray:
        """Of each number, float64 (dims,), drawn towards the mean of them all while little was heard."""
        spread = self.squares / max(self.count, 1)
        drawn = self.count * spread + _SHARED_UTTERANCES * spread.mean()
        return np.maximum(np.sqrt(drawn / (self.count + _SHARED_UTTERANCES)), _LEAST_DEVIATION)

    def standardize(self, embedding: np.ndarray) -> np.ndarray:
        """Return embeddings (..., dims) in deviations from the usual: float64."""
        return (embedding - self.mean) / self.deviation


class Figures(NamedTuple):
    """How answers to lessons agree with what they teach. right: the share that is named rightly. chance: what is taught
    was given this probability, geometric mean, every label weighing alike."""

    right: float
    chance: float

    @classmethod
    def of(cls, probs: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> "Figures":
        """Return those of answers, (lessons, labels)."""
        told = np.maximum(probs[np.arange(len(truth)), truth], _LEAST_PROBABILITY)
        chance = np.exp(weight @ np.log(told) / weight.sum())
        return cls(float((probs.argmax(axis=1) == truth).mean()), round(float(chance), 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Personal:
    """A fitted layer. per_label: lessons by label. before, after: how the model and the taught sensor answer to the
    lessons, leaving each one out, None where there are none. in_use: whether what was taught has become likelier."""

    per_label: dict[str, int]
    before: Figures | None = None
    after: Figures | None = None
    in_use: bool = False
    own_share: float = 1.0  # of the model's log probabilities
    weights: np.ndarray | None = None  # float32 (dims, labels), of an embedding as the model gives it
    offset: np.ndarray | None = None  # float32 (labels,)
    taught: np.ndarray | None = None  # which labels somebody taught, bool (labels,)

    def answer(self, embedding: np.ndarray, probs: np.ndarray) -> np.ndarray:
        """Return float32 (labels,), summing to 1, for an utterance so far: its embedding, and the model's answer. Where
        the layer is not in use, that is `probs` itself.

        Labels that nobody taught keep their chance, and where the model is surest of one of them, so is the answer.
        """
        if not self.in_use:
            return probs
        scores = np.maximum(probs, _LEAST_PROBABILITY)
        np.log(scores, out=scores)
        scores *= self.own_share
        scores += embedding @ self.weights
        scores += self.offset
        if not self.taught.all():
            return _among(scores[None], probs[None], self.taught[None])[0]
        scores -= np.maximum.reduce(scores)
        np.exp(scores, out=scores)
        scores /= np.add.reduce(scores)
        return scores


def fit(lessons: Sequence[Lesson], labels: Sequence[str], usual: Usual) -> Personal:
    """Return the layer that lessons of a model of these labels give, in a room that sounds like `usual`."""
    if not lessons:
        return Personal(per_label={})
    place = {label: number for number, label in enumerate(labels)}
    truth = np.array([place[lesson.label] for lesson in lessons])
    counts = np.bincount(truth, minlength=len(labels))
    per_label = {label: int(count) for label, count in zip(labels, counts, strict=True) if count}
    own = np.stack([lesson.log_probs for lesson in lessons]).astype(np.float32)
    own -= np.log(np.exp(own).sum(axis=1, keepdims=True))
    weight = (len(truth) / len(per_label) / counts[truth]).astype(np.float32)
    before = Figures.of(np.exp(own), truth, weight)
    if len(per_label) < _FEWEST_LABELS:
        return Personal(per_label=per_label, before=before, after=before)
    heard = np.stack([lesson.embedding for lesson in lessons]).astype(np.float32)
    if usual.count < _FEWEST_LABELS:  # of the room nothing is known but its lessons, made elsewhere
        usual = Usual(heard.shape[1])
        for embedding in heard:
            usual.hear(embedding)
    # Without itself, a label's only lesson leaves the label untaught.
    known = (counts - np.eye(len(labels), dtype=int)[truth]) > 0
    regressions = _regressions(usual.standardize(heard).astype(np.float32), truth, weight, len(labels))
    chosen = _chosen(regressions, own, truth, weight, known, counts)
    mean = usual.mean / usual.deviation
    left_out = _among(chosen.own_share * own + chosen.trust * chosen.regression.left_out, np.exp(own), known)
    after = Figures.of(left_out, truth, weight)
    return Personal(
        per_label=per_label,
        before=before,
        after=after,
        in_use=after.chance >= before.chance,
        own_share=chosen.own_share,
        weights=(chosen.trust * chosen.regression.weights / usual.deviation[:, None]).astype(np.float32),
        offset=(chosen.trust * (chosen.regression.offset - mean @ chosen.regression.weights)).astype(np.float32),
        taught=counts > 0,
    )


class _Regression(NamedTuple):
    """Scores are `standardized @ weights + offset`; left_out: those of each lesson by the others (lessons, labels)."""

    penalty: float
    weights: np.ndarray
    offset: np.ndarray
    left_out: np.ndarray


class _Choice(NamedTuple):
    """gain: how much likelier what the lessons say was made by it, each left out, natural logarithm."""

    gain: float
    own_share: float
    trust: float
    regression: _Regression


def _chosen(
    regressions: Sequence[_Regression], own: np.ndarray, truth: np.ndarray, weight: np.ndarray, known: np.ndarray,
    counts: np.ndarray,
) -> _Choice:  # fmt: skip
    """Return what makes the lessons likeliest, drawn towards what is usual. own: the model's log probabilities; known:
    which labels the other lessons teach; both (lessons, labels)."""
    # Of a label that only the lesson itself teaches, the others say nothing: it keeps its chance.
    told = np.flatnonzero(known[np.arange(len(truth)), truth])
    own = np.where(known, own, -np.inf)
    # Lessons per label, their harmonic mean: the scarcest say most about how little is known.
    per_label = 1.0 / np.mean(1.0 / counts[counts > 0])
    expected = _MOST_TRUST * per_label / (per_label + _HALF_TRUST)

    def beside_truth(scores: np.ndarray) -> np.ndarray:
        """Return scores (lessons, labels) of the told lessons less their own label's: (labels, lessons)."""
        return np.ascontiguousarray((scores[told] - scores[told, truth[told], None]).T)

    def likely(beside: np.ndarray) -> float:
        """Return the log likelihood of what the told lessons say."""
        return -float(weight[told] @ np.log(np.exp(beside).sum(axis=0)))

    own = beside_truth(own)
    alone, best = likely(own), None
    for regression in regressions:
        scores = beside_truth(regression.left_out)
        for own_share, trust in product(_OWN_SHARES, (*_TRUSTS, expected)):
            gain = likely(own_share * own + trust * scores) - alone
            gain -= np.log(regression.penalty / _USUAL_PENALTY) ** 2 + np.log(own_share) ** 2
            gain -= np.log((trust + 1) / (expected + 1)) ** 2
            if best is None or gain > best.gain:
                best = _Choice(float(gain), own_share, trust, regression)
    return best


def _regressions(given: np.ndarray, truth: np.ndarray, weight: np.ndarray, labels: int) -> list[_Regression]:
    """Return ridge regressions from embeddings in deviations (lessons, dims) to labels, with an intercept, by penalty.

    What each lesson would be without itself follows from its leverage (R. D. Cook, 1977); where there are fewer lessons
    than dimensions, all of it from their products with each other.
    """
    wanted = np.eye(labels, dtype=np.float32)[truth]
    shares = weight / weight.sum()
    middle, offset = shares @ given, shares @ wanted
    given, wanted = given - middle, wanted - offset
    # Labels weigh alike whatever lesson is left out, which only lightens its own in the closed form.
    balance = wanted * (shares / (1.0 - shares))[:, None]
    lessons, dims = given.shape
    products = given @ given.T if lessons <= dims else (given * weight[:, None]).T @ given
    found = []
    for penalty in _PENALTIES:
        if lessons <= dims:
            inverse = np.linalg.inv(products + np.diag(penalty * dims / weight))
            weights = given.T @ (inverse @ wanted)
            leverage = (products * inverse).sum(axis=1)
        else:
            inverse = np.linalg.inv(products + penalty * dims * np.eye(dims, dtype=np.float32))
            weights = inverse @ (given.T @ (wanted * weight[:, None]))
            leverage = ((given @ inverse) * given).sum(axis=1) * weight
        rest = np.maximum(1.0 - leverage - shares, 1e-3)
        said = given @ weights
        left_out = np.clip(wanted + offset - (wanted - said) / rest[:, None] + balance, *_SCORES)
        found.append(_Regression(penalty, weights, offset - middle @ weights, left_out))
    return found


def _among(scores: np.ndarray, probs: np.ndarray, taught: np.ndarray) -> np.ndarray:
    """Return probabilities, all arguments (n, labels): labels that are taught share anew, by scores, what the model
    gave them together; but where it was surest of another label, none of them comes to be surer than that."""
    scores = np.where(taught, scores, -np.inf)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares *= (probs * taught).sum(axis=1, keepdims=True) / shares.sum(axis=1, keepdims=True)
    told = np.where(taught, shares, probs)
    others = _MARGIN * np.where(taught, 0.0, probs).max(axis=1, keepdims=True)
    risen = (told > np.maximum(probs, others)) & (others >= _MARGIN * probs.max(axis=1, keepdims=True))
    part = np.divide(others - probs, told - probs, out=np.ones_like(told), where=risen).clip(0.0, 1.0)
    return (probs + part.min(axis=1, keepdims=True) * (told - probs)).astype(np.float32)
