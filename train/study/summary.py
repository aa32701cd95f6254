"""The figures of one network or baseline over its folds: per fold, and per corpus with intervals."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from train.fitting import metrics
from train.fitting.runs import Run
from train.study.folds import group_of

MEANS = ("accuracy", "uar")


class Tested(NamedTuple):
    """What one training said of a fold's test side: logits, float (clips, labels), and their figures by name."""

    fold: str
    logits: np.ndarray
    figures: dict[str, Any]

    @property
    def said(self) -> np.ndarray:
        """The labels as indices, int (clips,)."""
        return self.logits.argmax(axis=1)


def summary(
    trainings: Sequence[Tested], truth: dict[str, np.ndarray], speakers: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return figures per fold (mean over seeds), and per corpus of folds with intervals (first seeds pooled).

    truth, speakers: by fold, of its test side in order: labels as indices, int (clips,), and names, str (clips,).
    """
    by_fold: dict[str, list[Tested]] = defaultdict(list)
    for training in trainings:
        by_fold[training.fold].append(training)
    first_seeds = {fold: seeds[0] for fold, seeds in by_fold.items()}
    by_corpus: dict[str, list[str]] = defaultdict(list)
    for fold in by_fold:
        by_corpus[group_of(fold) or "all"].append(fold)
    return {
        "folds": {fold: _of_fold(seeds, truth[fold]) for fold, seeds in by_fold.items()},
        "corpora": {
            corpus: {
                **{name: float(np.mean([_mean(by_fold[fold], name) for fold in folds])) for name in MEANS},
                **_pooled([first_seeds[fold] for fold in folds], truth, speakers),
            }
            for corpus, folds in by_corpus.items()
        },
        "confusion": np.sum([first.figures["confusion"] for first in first_seeds.values()], axis=0).tolist(),
    }


def _mean(seeds: Sequence[Tested], name: str) -> float:
    return float(np.mean([seed.figures[name] for seed in seeds]))


def _of_fold(seeds: Sequence[Tested], right: np.ndarray) -> dict[str, Any]:
    first = seeds[0]
    return {
        **{name: metrics.mean_and_spread([seed.figures[name] for seed in seeds]) for name in MEANS},
        **{name: metrics.interval(right, first.said, figure) for name, figure in metrics.INTERVALS},
        "recall": {label: row["recall"] for label, row in first.figures["per_class"].items()},
    }


def intervals_of(run: Run) -> dict[str, Any]:
    """Return the intervals of a training's test side."""
    clips = run.clips("test")
    truth = np.array([run.record.labels.index(clip.label) for clip in clips])
    names = np.array([f"{clip.corpus}/{clip.speaker}" for clip in clips])
    return metrics.intervals(truth, run.logits("test").argmax(axis=1), names)


def _pooled(firsts: Sequence[Tested], truth: dict[str, np.ndarray], speakers: dict[str, np.ndarray]) -> dict[str, Any]:
    """Intervals over all clips of some folds."""
    right = np.concatenate([truth[first.fold] for first in firsts])
    said = np.concatenate([first.said for first in firsts])
    names = np.concatenate([speakers[first.fold] for first in firsts])
    return metrics.intervals(right, said, names)
