"""The figures of the report on unheard voices (convert/unheard.py), from what the artifacts said."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from edge.hearing.affect import COORDINATES, affect
from train.fitting import metrics
from train.study import robustness
from train.study.folds import group_of, is_unseen

CONDITIONS = (robustness.CLEAN, "10 dB", "3 m")
_MALE_PARITY = 1  # RAVDESS: odd actors are men


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What one artifact said to its fold's test side: probabilities (clips, labels) by condition; Keras's, clean."""

    fold: str
    seed: int
    labels: list[str]
    enter: float
    file_bytes: int
    truth: np.ndarray
    corpora: np.ndarray
    speakers: np.ndarray
    keras: np.ndarray
    probs: dict[str, np.ndarray]


def report(answers: Sequence[Answers]) -> dict[str, Any]:
    """Return the figures by fold (over its seeds), and by corpus with its folds' first seeds pooled."""
    folds: dict[str, list[Answers]] = defaultdict(list)
    for one in answers:
        folds[one.fold].append(one)
    corpora: dict[str, list[Answers]] = defaultdict(list)
    for fold, members in folds.items():
        if not is_unseen(fold):
            corpora[group_of(fold) or fold].append(members[0])
    return {
        "protocol": "unheard",
        "labels": answers[0].labels,
        # Folds of few speakers, which only say something together.
        "pooled": [corpus for corpus, members in corpora.items() if len(members) > 2],
        "file_bytes": max(one.file_bytes for one in answers),
        "folds": {fold: _over_seeds(members) for fold, members in folds.items()},
        "corpora": {corpus: _pooled(members) for corpus, members in corpora.items()},
    }


def _over_seeds(members: Sequence[Answers]) -> dict[str, Any]:
    """Return mean and spread over the seeds of a fold, in every condition, and Keras's beside it."""
    uars = {condition: [_uar(one.truth, one.probs[condition]) for one in members] for condition in CONDITIONS}
    uars["keras"] = [_uar(one.truth, one.keras) for one in members]
    first = members[0]
    recalls = np.mean([_recalls(one.truth, one.probs[robustness.CLEAN], len(one.labels)) for one in members], axis=0)
    return {
        "clips": len(first.truth),
        "seeds": len(members),
        "uar": {name: metrics.mean_and_spread(found) for name, found in uars.items()},
        "recall": dict(zip(first.labels, recalls.tolist(), strict=True)),
        "said": _said(members),
        "arousal": arousal(first.labels, first.truth, first.probs[robustness.CLEAN]),
    }


def _pooled(members: Sequence[Answers]) -> dict[str, Any]:
    """Return the figures of all answers of a corpus together."""
    labels = members[0].labels
    truth, speakers = (np.concatenate([getattr(one, name) for one in members]) for name in ("truth", "speakers"))
    by_condition = {name: np.concatenate([one.probs[name] for one in members]) for name in CONDITIONS}
    keras, clean = np.concatenate([one.keras for one in members]), by_condition[robustness.CLEAN]
    groups = metrics.drawn_over(speakers)
    found = {
        "clips": len(truth),
        "speakers": len(set(speakers)),
        "accuracy": float((clean.argmax(axis=1) == truth).mean()),
        "uar": {name: _uar(truth, probs) for name, probs in by_condition.items()} | {"keras": _uar(truth, keras)},
        "uar_interval": metrics.interval(truth, clean.argmax(axis=1), metrics.uar, groups=groups),
        "agreement_with_keras": float((clean.argmax(axis=1) == keras.argmax(axis=1)).mean()),
        "recall": dict(zip(labels, _recalls(truth, clean, len(labels)).tolist(), strict=True)),
        "confusion": metrics.measures(truth, np.log(clean), labels)["confusion"],
        "ece_equal_mass": metrics.ece_equal_mass(truth, clean),
        "said": _said(members),
        "arousal": arousal(labels, truth, clean),
    }
    if set(members[0].corpora) == {"RAVDESS"}:
        men = np.array([int(speaker) % 2 == _MALE_PARITY for speaker in speakers])
        found["uar_by_sex"] = {"men": _uar(truth[men], clean[men]), "women": _uar(truth[~men], clean[~men])}
    return found


def _said(members: Sequence[Answers]) -> dict[str, float | None]:
    """Return the share of clips of which a label is said, and how many of those are right."""
    clean = [one.probs[robustness.CLEAN] for one in members]
    said = np.concatenate([probs.max(axis=1) >= one.enter for one, probs in zip(members, clean, strict=True)])
    right = np.concatenate([probs.argmax(axis=1) == one.truth for one, probs in zip(members, clean, strict=True)])
    return {"coverage": float(said.mean()), "accuracy": float(right[said].mean()) if said.any() else None}


def _uar(truth: np.ndarray, probs: np.ndarray) -> float:
    return metrics.uar(truth, probs.argmax(axis=1))


def _recalls(truth: np.ndarray, probs: np.ndarray, labels: int) -> np.ndarray:
    said = probs.argmax(axis=1)
    return np.array([(said[truth == label] == label).mean() if (truth == label).any() else np.nan
                     for label in range(labels)])  # fmt: skip


def arousal(labels: Sequence[str], truth: np.ndarray, probs: np.ndarray) -> float | None:
    """Return Pearson's correlation of the published arousal with that of the true labels; None where there is none."""
    if not set(labels) <= COORDINATES.keys() or len(set(truth.tolist())) < 2:
        return None
    heard = [affect(dict(zip(labels, row.tolist(), strict=True)))["arousal"] for row in probs]
    return float(np.corrcoef(heard, [COORDINATES[labels[label]][1] for label in truth])[0, 1])
