"""What needs no network: always in the table, so that a network's figure has something to stand beside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from train.data.clip import Clip
from train.data.split import Split
from train.fitting import metrics

NAMES = ("majority", "length", "linear")


def measure(
    name: str, clips: Sequence[Clip], frames: Sequence[np.ndarray], split: Split, labels: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    """Return a baseline's figures on the test side, and its log-probabilities (n, labels).

    `majority` says the most frequent label; `length` sees the duration alone; `linear` is logistic regression on the
    mean and standard deviation of each coefficient. Fitted on train and validation together: they choose nothing.
    """
    inputs = _inputs(name, clips, frames)
    truth = np.array([labels.index(clip.label) for clip in clips])
    fitting = split.train + split.validation if split.protocol != "random" else split.train
    model = _MODELS[name]().fit(inputs[fitting], truth[fitting])
    probs = np.full((len(split.test), len(labels)), 1e-12)
    probs[:, model.classes_] = np.maximum(model.predict_proba(inputs[split.test]), 1e-12)
    said = np.log(probs)
    return metrics.measures(truth[split.test], said, labels), said


def _inputs(name: str, clips: Sequence[Clip], frames: Sequence[np.ndarray]) -> np.ndarray:
    if name == "linear":
        return np.array([np.concatenate([clip.mean(axis=0), clip.std(axis=0)]) for clip in frames])
    return np.array([[clip.duration_s] for clip in clips])


_MODELS = {
    "majority": lambda: DummyClassifier(strategy="most_frequent"),
    "length": lambda: DecisionTreeClassifier(min_samples_leaf=20, random_state=0),
    "linear": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
}
