"""As much as is known: where no single label is certain, its group may be, and where that is not, its arousal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.hearing.affect import COORDINATES
from edge.labels import CALM, EXCITED, QUIET, UNKNOWN
from edge.model.manifest import DecisionDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """What the room is like, and the probability that it is."""

    name: str
    confidence: float


def fields_of(mood: Mood | None) -> dict[str, Any]:
    """Return `mood` and `mood_confidence` as the contract has them; both are None where a model groups no labels."""
    if mood is None:
        return {"mood": None, "mood_confidence": None}
    return {"mood": mood.name, "mood_confidence": round(mood.confidence, 4)}


def names(moods: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all that can be said of a manifest's moods; nothing where it has none."""
    return list(dict.fromkeys([*moods, EXCITED, CALM, UNKNOWN, QUIET])) if moods else []


class Moods:
    """Tells the mood of a model's scores, or nothing where its manifest groups no labels.

    A label's mood is that of its group. Where the label is `unknown`, it is the likeliest group's from `mood_enter` on;
    below, `excited` or `calm`, whichever the labels above or up to the middle of the plane of core affect add up to,
    from `arousal_enter` on; else `unknown`.
    """

    def __init__(self, labels: Sequence[str], moods: Mapping[str, Sequence[str]], settings: DecisionDefaults) -> None:
        self.settings = settings
        self._of_label = {label: name for name, members in moods.items() for label in members}
        self._groups = {name: np.isin(labels, members) for name, members in moods.items()}
        self._excited: np.ndarray | None = None
        if settings.arousal_enter is not None and all(label in COORDINATES for label in labels):
            self._excited = np.array([COORDINATES[label][1] > 0 for label in labels])

    def of(self, label: str, confidence: float, scores: np.ndarray | None) -> Mood | None:
        """Return the mood beside a label and its confidence. scores: smoothed, (labels,), None while nobody speaks."""
        if not self._groups:
            return None
        if label == QUIET:
            return Mood(name=QUIET, confidence=confidence)
        sums = {name: min(1.0, float(scores[members].sum())) for name, members in self._groups.items()}
        likeliest = max(sums, key=sums.get)
        if label != UNKNOWN:
            name = self._of_label.get(label, UNKNOWN)
            return Mood(name=name, confidence=sums.get(name, sums[likeliest]))
        if sums[likeliest] >= self.settings.mood_enter:
            return Mood(name=likeliest, confidence=sums[likeliest])
        return self._by_arousal(scores) or Mood(name=UNKNOWN, confidence=sums[likeliest])

    def _by_arousal(self, scores: np.ndarray) -> Mood | None:
        if self._excited is None:
            return None
        excited, calm = float(scores[self._excited].sum()), float(scores[~self._excited].sum())
        name, share = (EXCITED, excited) if excited > calm else (CALM, calm)
        return Mood(name=name, confidence=min(1.0, share)) if share >= self.settings.arousal_enter else None
