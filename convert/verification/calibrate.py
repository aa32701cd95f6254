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
    mistakes = int((logits.argmax(axis=1) != truth).sum())
    temperature = metrics.temperature(truth, logits) if mistakes >= MIN_MISTAKES else 1.0
    before, after = (softmax(logits.astype(np.float64) / t, axis=1) for t in (1.0, temperature))
    found = threshold(truth, after, abstain_precision)
    enter, precision, coverage = found or _at(ENTER_RANGE[1], truth, after)
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
        reached=found is not None,
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
