"""What a network's answers are worth, by scikit-learn; calibration and intervals by their definitions."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn import metrics as sk

BINS = 15
LEAST_SPEAKERS = 4  # to draw from: they are the independent ones
FEW_CLIPS = 100  # of a test side: below, one clip is more than a point
_NONE_TO_SPEAK_OF = 30  # below, chance alone moves an accuracy by as much as networks differ


def measures(truth: np.ndarray, logits: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one side.

    truth: int (n,), indices into `labels`; logits: float (n, labels), log-probabilities will do.
    UAR is the mean recall over the labels that occur; AUC is the mean over them, one against the rest.
    """
    probs = softmax(logits.astype(np.float64), axis=1)
    said = logits.argmax(axis=1)
    present = np.unique(truth)
    everything = np.arange(len(labels))
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, said, labels=everything, zero_division=0)
    return {
        "n": len(truth),
        "cross_entropy": float(sk.log_loss(truth, probs, labels=everything)),
        "accuracy": float(sk.accuracy_score(truth, said)),
        "uar": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "auc": auc(truth, probs),
        "ece": ece(truth, probs),
        "per_class": {
            label: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "n": int(support[index]),
            }
            for index, label in enumerate(labels)
        },
        "confusion": sk.confusion_matrix(truth, said, labels=everything).tolist(),
    }


class Guesses(NamedTuple):
    """What nobody has to learn: the commonest label of a side (None where all are alike), how often always saying it
    is right, and the UAR of whoever says anything without listening."""

    commonest: str | None
    accuracy: float
    uar: float


def guesses(per_class: Mapping[str, Mapping[str, Any]]) -> Guesses:
    """Return what guessing gives on the side of which `measures` says `per_class`; labels without clips count not."""
    counts = {label: found["n"] for label, found in per_class.items() if found["n"]}
    commonest = max(counts, key=counts.__getitem__)
    alike = len(counts) > 1 and len(set(counts.values())) == 1
    return Guesses(None if alike else commonest, counts[commonest] / sum(counts.values()), 1 / len(counts))


def too_few(clips: int) -> str | None:
    """Return in words how little so few test clips tell; None where they are enough."""
    if clips >= FEW_CLIPS:
        return None
    points = min(50, round(100 * 1.96 * math.sqrt(0.25 / clips)))  # the widest there is: of an accuracy of a half
    said = "TOO FEW test clips to tell how good it is" if clips < _NONE_TO_SPEAK_OF else "Few test clips"
    return f"{said}: with {clips} of them an accuracy is up to {points} points off by chance alone (95 %)"


def auc(truth: np.ndarray, probs: np.ndarray) -> float | None:
    """Return the area under the ROC curve, mean over occurring labels; None where only one label occurs."""
    present = np.unique(truth)
    if len(present) < 2:
        return None
    return float(np.mean([sk.roc_auc_score(truth == label, probs[:, label]) for label in present]))


def ece(
    truth: np.ndarray, probs: np.ndarray, bins: int = BINS, weights: np.ndarray | None = None
) -> float:
    """Return the expected calibration error over equal bins of confidence (Guo et al., 2017). weights: of the answers,
    float (n,); by default they count alike."""
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == truth
    # Bins are open on the left, so that a confidence of exactly 1 is in the last one.
    where = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    weights = np.ones(len(truth)) if weights is None else weights
    gaps = np.abs(np.bincount(where, weights * (right - confidence), bins))
    return float(gaps.sum() / weights.sum())


def equal_mass(truth: np.ndarray, probs: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, share right and count of bins of equally many answers, the least sure first: (bins,)."""
    order = np.argsort(probs.max(axis=1), kind="stable")
    confidence, right = probs.max(axis=1)[order], (probs.argmax(axis=1) == truth)[order]
    parts = [part for part in np.array_split(np.arange(len(truth)), bins) if len(part)]
    means = np.array([(confidence[part].mean(), right[part].mean()) for part in parts])
    return means[:, 0], means[:, 1], np.array([len(part) for part in parts])


def ece_equal_mass(truth: np.ndarray, probs: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equally many answers (Nguyen and O'Connor, 2015)."""
    confidence, right, counts = equal_mass(truth, probs, bins)
    return float((np.abs(confidence - right) * counts).sum() / counts.sum())


def coverage_curve(truth: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of answers kept, the surest first, and the accuracy of those: float (n,) each."""
    order = np.argsort(-probs.max(axis=1), kind="stable")
    right = (probs.argmax(axis=1) == truth)[order]
    kept = np.arange(1, len(right) + 1)
    return kept / len(right), np.cumsum(right) / kept


def temperature(truth: np.ndarray, logits: np.ndarray) -> float:
    """Return the temperature by which dividing the logits makes the cross-entropy least (measured on validation)."""
    logits = logits.astype(np.float64)

    def cross_entropy(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -scaled[np.arange(len(truth)), truth].mean()

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-3.0, 3.0), method="bounded").x))


def interval(
    truth: np.ndarray,
    said: np.ndarray,
    figure: Callable[[np.ndarray, np.ndarray], float],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    draws: int = 1_000,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a figure; whole `groups` (speakers) are drawn where they are given."""
    rng = np.random.default_rng(seed)
    members = (
        [np.array([index]) for index in range(len(truth))]
        if groups is None
        else [np.flatnonzero(groups == group) for group in np.unique(groups)]
    )
    found = np.empty(draws)
    for draw in range(draws):
        rows = np.concatenate([members[index] for index in rng.integers(len(members), size=len(members))])
        found[draw] = figure(truth[rows], said[rows])
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def uar(truth: np.ndarray, said: np.ndarray) -> float:
    """Return the mean recall over the labels that occur."""
    return float(np.mean([(said[truth == label] == label).mean() for label in np.unique(truth)]))


def accuracy(truth: np.ndarray, said: np.ndarray) -> float:
    """Return the share of right answers."""
    return float((truth == said).mean())


INTERVALS = (("accuracy_interval", accuracy), ("uar_interval", uar))


def drawn_over(speakers: np.ndarray) -> np.ndarray | None:
    """Return over what an interval is drawn: speakers, str (clips,), where there are enough; None for clips."""
    return speakers if len(set(speakers)) >= LEAST_SPEAKERS else None


def intervals(truth: np.ndarray, said: np.ndarray, speakers: np.ndarray) -> dict[str, Any]:
    """Return the 95 % intervals of accuracy and UAR, and over what they are drawn: speakers, where there are enough.

    truth, said: labels as indices, int (clips,); speakers: names, str (clips,).
    """
    groups = drawn_over(speakers)
    found = {name: interval(truth, said, figure, groups=groups) for name, figure in INTERVALS}
    return {**found, "interval_over": "clips" if groups is None else "speakers"}


def mean_and_spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return mean and standard deviation (of the sample; 0 for one value) of what is known, and the values."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "mean": float(np.mean(known)),
        "spread": float(np.std(known, ddof=1)) if len(known) > 1 else 0.0,
        "values": known,
    }
