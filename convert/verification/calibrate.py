"""Calibration on the validation side: the temperature of the logits, and from which probability a label is said."""

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.special import softmax

from train.fitting import metrics

# Fewer mistakes than this say nothing about confidence: a network that is always right would be made boundlessly sure.
MIN_MISTAKES = 10
MIN_SAID = 20
ENTER_RANGE = (0.3, 0.95)
EXIT_SHARE = 0.7  # `exit` as a share of `enter`


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of the reliability diagram: mean confidence and share of right answers of `count` clips."""

    confidence: float
    accuracy: float
    count: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """`precision` (None where nothing is said) and `coverage` are what `enter` gives on the validation side, at clips'
    ends. `mood_enter` and `arousal_enter`: the same thresholds for groups of labels, and for excited against calm;
    None: not to be said."""

    clips: int
    mistakes: int
    temperature: float
    ece_before: float
    ece_after: float
    enter: float
    exit: float
    precision: float | None
    coverage: float
    reached: bool
    before: list[Bin]
    after: list[Bin]
    mood_enter: float | None = None
    arousal_enter: float | None = None

    @property
    def said(self) -> int:
        """The clips of which a label is said."""
        return round(self.coverage * self.clips)


def calibrate(truth: np.ndarray, logits: np.ndarray, *, abstain_precision: float) -> Calibration:
    """Return the calibration for int (n,) truths and float (n, labels) logits of clips not trained on.

    Where no threshold reaches `abstain_precision`, or fewer than MIN_SAID clips would say so, `enter` is the highest
    there is and `reached` is false: rather `unknown` than a label that is not to be relied on.
    """
    temperature = _temperature(truth, logits)
    after = softmax(logits.astype(np.float64) / temperature, axis=1)
    found = threshold(truth, after, abstain_precision)
    return _made(truth, logits, temperature, found or _at(ENTER_RANGE[1], truth, after), reached=found is not None)


def calibrate_strangers(
    corpora: Sequence[tuple[np.ndarray, np.ndarray]], *, coverage: float
) -> tuple[Calibration, np.ndarray, np.ndarray]:
    """Return the calibration from int (n,) truths and float (n, labels) logits of corpora that nobody trained on, and
    the truths and probabilities (m, labels) that it is judged by: as many of each corpus.

    The temperature is the geometric mean of the corpora's own: pooled, the hard ones would make the easy ones unsure.
    A label is said of a share `coverage` of the answers: a threshold on how many are right is no better kept by the
    next corpus, whose answers are right as often as it is easy, and silence would be worth nothing.
    """
    temperature = float(np.exp(np.mean([np.log(_temperature(truth, logits)) for truth, logits in corpora])))
    least = min(len(truth) for truth, _ in corpora)
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(len(truth))[:least] for truth, _ in corpora]
    truth = np.concatenate([one[those] for (one, _), those in zip(corpora, drawn, strict=True)])
    logits = np.concatenate([one[those] for (_, one), those in zip(corpora, drawn, strict=True)])
    probs = softmax(logits.astype(np.float64) / temperature, axis=1)
    enter = np.floor(100 * np.quantile(probs.max(axis=1), 1 - coverage)) / 100
    enter = float(np.clip(enter, *ENTER_RANGE).round(2))
    return _made(truth, logits, temperature, _at(enter, truth, probs), reached=True), truth, probs


def _temperature(truth: np.ndarray, logits: np.ndarray) -> float:
    mistakes = (logits.argmax(axis=1) != truth).sum()
    return metrics.temperature(truth, logits) if mistakes >= MIN_MISTAKES else 1.0


def _made(
    truth: np.ndarray, logits: np.ndarray, temperature: float, at: tuple[float, float | None, float], *, reached: bool
) -> Calibration:
    enter, precision, coverage = at
    before, after = (softmax(logits.astype(np.float64) / t, axis=1) for t in (1.0, temperature))
    return Calibration(
        clips=len(truth),
        mistakes=int((logits.argmax(axis=1) != truth).sum()),
        temperature=round(temperature, 4),
        ece_before=metrics.ece(truth, before),
        ece_after=metrics.ece(truth, after),
        enter=enter,
        exit=round(enter * EXIT_SHARE, 2),
        precision=precision,
        coverage=coverage,
        reached=reached,
        before=reliability(truth, before),
        after=reliability(truth, after),
    )


def grouped(truth: np.ndarray, probs: np.ndarray, groups: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and probabilities (n, groups) of groups of labels, of the clips whose label is in one."""
    of_label = {label: number for number, members in enumerate(groups) for label in members}
    known = np.isin(truth, list(of_label))
    found = np.array([of_label[label] for label in truth[known]], int)
    return found, np.stack([probs[known][:, list(members)].sum(axis=1) for members in groups], axis=1)


def threshold(truth: np.ndarray, probs: np.ndarray, wanted: float) -> tuple[float, float | None, float] | None:
    """Return the lowest probability from which `wanted` of the answers are right, with precision and coverage there.

    None where there is none of which MIN_SAID clips bear witness.
    """
    confidence = probs.max(axis=1)
    for enter in np.arange(ENTER_RANGE[0], ENTER_RANGE[1] + 0.005, 0.01).round(2):
        if (confidence >= enter).sum() < MIN_SAID:
            return None
        found = _at(float(enter), truth, probs)
        if found[1] >= wanted:
            return found
    return None


def _at(enter: float, truth: np.ndarray, probs: np.ndarray) -> tuple[float, float | None, float]:
    """Return a threshold, the share right of what is said from there on (None where nothing is), and the share said."""
    said = probs.max(axis=1) >= enter
    right = probs.argmax(axis=1)[said] == truth[said]
    return enter, float(right.mean()) if said.any() else None, float(said.mean())


def reliability(truth: np.ndarray, probs: np.ndarray, bins: int = 10) -> list[Bin]:
    """Return the bars of a reliability diagram over equal bins of confidence, empty ones left out."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == truth
    where = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return [
        Bin(
            confidence=float(confidence[where == index].mean()),
            accuracy=float(right[where == index].mean()),
            count=int((where == index).sum()),
        )
        for index in np.unique(where)
    ]
