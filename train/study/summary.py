"""The figures of one network or baseline over its folds: per fold, and per corpus with intervals."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from train.fitting import metrics
from train.study.folds import group_of


def summary(
    found: Sequence[tuple[str, np.ndarray, dict[str, Any]]],
    truth: dict[str, np.ndarray],
    speakers: dict[str, np.ndarray],
) -> dict[str, Any]:
    """Return figures per fold (mean over seeds), and per corpus of folds with intervals (first seeds pooled)."""
    folds: dict[str, list] = defaultdict(list)
    for fold, logits, figures in found:
        folds[fold].append((logits, figures))
    corpora: dict[str, list[str]] = defaultdict(list)
    for fold in folds:
        corpora[group_of(fold) or "all"].append(fold)
    pooled = {}
    for corpus, members in corpora.items():
        right = np.concatenate([truth[fold] for fold in members])
        said = np.concatenate([folds[fold][0][0].argmax(axis=1) for fold in members])
        groups = np.concatenate([speakers[fold] for fold in members])
        # Speakers are the independent draws, where there are enough of them to draw from.
        groups = groups if len(set(groups)) >= 4 else None
        pooled[corpus] = {
            "accuracy": float(np.mean([np.mean([f["accuracy"] for _, f in folds[fold]]) for fold in members])),
            "uar": float(np.mean([np.mean([f["uar"] for _, f in folds[fold]]) for fold in members])),
            "accuracy_interval": metrics.interval(right, said, metrics.accuracy, groups=groups),
            "uar_interval": metrics.interval(right, said, metrics.uar, groups=groups),
            "interval_over": "clips" if groups is None else "speakers",
        }
    return {
        "folds": {
            fold: {
                **{
                    name: metrics.mean_and_spread([figures[name] for _, figures in members])
                    for name in ("accuracy", "uar")
                },
                "accuracy_interval": metrics.interval(truth[fold], members[0][0].argmax(axis=1), metrics.accuracy),
                "uar_interval": metrics.interval(truth[fold], members[0][0].argmax(axis=1), metrics.uar),
                "recall": {label: row["recall"] for label, row in members[0][1]["per_class"].items()},
            }
            for fold, members in folds.items()
        },
        "corpora": pooled,
        "confusion": np.sum([members[0][1]["confusion"] for members in folds.values()], axis=0).tolist(),
    }
