"""What a single listener would have said of the same clips: a person beside the model, where listeners' votes exist."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.data.clip import Clip
from train.fitting import metrics


def listener(
    clips: Sequence[Clip], labels: Sequence[str], truth: np.ndarray, said: np.ndarray
) -> dict[str, Any] | None:
    """Return how often a single listener hears the label that was meant, beside the model on the same clips.

    The expected UAR of one who answers as any one of those who voted; None where nobody did.
    """
    voted = np.array([bool(clip.votes) for clip in clips])
    if not voted.any():
        return None
    shares = np.array([clip.votes.get(clip.label, 0.0) / sum(clip.votes.values()) for clip in clips if clip.votes])
    recall = {labels[label]: float(shares[truth[voted] == label].mean()) for label in np.unique(truth[voted])}
    return {
        "clips": int(voted.sum()),
        "uar": float(np.mean(list(recall.values()))),
        "recall": recall,
        "model_uar": metrics.uar(truth[voted], said[voted]),
    }
