"""Calibration on the validation side: the temperature of the logits, and from which probability a label is said."""

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
    """`precision` and `coverage` are what `enter` gives on the validation side, at clips' ends."""

    clips: int
    mistakes: int
    temperature: float
    ece_before: float
    ece_after: float
    enter: float
    exit: float
    precision: float
    coverage: float
    reached: bool
    before: list[Bin]
    after: list[Bin]


def calibrate(truth: np.ndarray, logits: np.ndarray, *, abstain_precision: float) -> Calibration:
    """Return the calibration for int (n,) truths and float (n, labels) logits of clips not trained on.

    Where no threshold reaches `abstain_precision`, the one with the best precision is taken and `reached` is false.
    """
    mistakes = int((logits.argmax(axis=1) != truth).sum())
    temperature = metrics.temperature(truth, logits) if mistakes >= MIN_MISTAKES else 1.0
    before, after = (softmax(logits.astype(np.float64) / t, axis=1) for t in (1.0, temperature))
    enter, precision, coverage = threshold(truth, after, abstain_precision)
    return Calibration(
        clips=len(truth),
        mistakes=mistakes,
        temperature=round(temperature, 4),
        ece_before=metrics.ece(truth, before),
        ece_after=metrics.ece(truth, after),
        enter=enter,
        exit=round(enter * EXIT_SHARE, 2),
        precision=precision,
        coverage=coverage,
        reached=precision >= abstain_precision,
        before=reliability(truth, before),
        after=reliability(truth, after),
    )


def threshold(truth: np.ndarray, probs: np.ndarray, wanted: float) -> tuple[float, float, float]:
    """Return the lowest probability from which `wanted` of the answers are right, with precision and coverage there."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == truth
    best = (ENTER_RANGE[0], float(right.mean()), 1.0)
    for enter in np.arange(ENTER_RANGE[0], ENTER_RANGE[1] + 0.005, 0.01).round(2):
        said = confidence >= enter
        if said.sum() < min(MIN_SAID, len(truth)):
            break
        found = (float(enter), float(right[said].mean()), float(said.mean()))
        if found[1] >= wanted:
            return found
        best = max(best, found, key=lambda candidate: candidate[1])
    return best


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
