"""From probabilities to a label that a person can rely on: smoothing, hysteresis, dwell, refractory time.

Besides the model's labels there are `unknown` (speech, but no label is confident) and `quiet` (no speech). All times
are seconds of sound, so a recording gives the same labels however fast it is played.
"""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.config import Decision as Overrides
from edge.labels import QUIET, UNKNOWN
from edge.model.manifest import DecisionDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The label became another one."""

    label: str
    previous: str
    confidence: float
    at_s: float
    previous_duration_s: float


def settings(defaults: DecisionDefaults, overrides: Overrides) -> DecisionDefaults:
    """Return the artifact's settings with whatever the sensor's config overrides."""
    return msgspec.structs.replace(
        defaults, **{name: value for name, value in msgspec.structs.asdict(overrides).items() if value is not None}
    )


class Decision:
    """Holds the label of the room. `scores` are the smoothed probabilities of the utterance, None without one."""

    def __init__(self, labels: list[str], settings: DecisionDefaults) -> None:
        self._labels = labels
        self.settings = settings
        self.label = QUIET
        self.confidence = 1.0
        self.since_s = 0.0
        self.scores: np.ndarray | None = None
        self._begin(0.0)

    def onset(self, now_s: float) -> None:
        """An utterance began: forget what the last one sounded like."""
        self._begin(now_s)

    def speech(self, probs: np.ndarray | None, now_s: float, *, certain: bool = True) -> Change | None:
        """Take the model's probabilities (labels,) at `now_s`; return the change they cause, if any.

        None: it has no new answer, and the last one holds, which may be due for a change by now. While it is not
        `certain` that somebody speaks they are taken into account, but cause none.
        """
        if probs is not None:
            self._smooth(probs, now_s)
        elif self.scores is None:
            return None
        wanted, best = self._wanted()
        if wanted != self._candidate:
            self._candidate, self._candidate_since_s = wanted, now_s
        if wanted == self.label:
            self.confidence = best
            return None
        heard_ms = _ms(now_s - self._onset_s)
        overdue = self.label == QUIET and heard_ms >= self.settings.first_within_ms
        if not certain or (not overdue and _ms(now_s - self._candidate_since_s) < self.settings.dwell_ms):
            return None
        if wanted == UNKNOWN and heard_ms < self.settings.unknown_after_ms:
            return None
        if self.label != QUIET and _ms(now_s - self.since_s) < self.settings.refractory_ms:
            return None
        return self._become(wanted, best, now_s)

    def quiet(self, confidence: float, now_s: float) -> Change | None:
        """Nobody speaks: `quiet`, at once."""
        self.scores = None
        if self.label == QUIET:
            self.confidence = confidence
            return None
        return self._become(QUIET, confidence, now_s)

    def interrupt(self, now_s: float) -> Change | None:
        """Nobody listens any more: `quiet`, of which nothing is known. What is heard next begins as at the start: with
        confidence 0 it would look as if still nobody listened."""
        change = self.quiet(0.0, now_s)
        self.confidence = 1.0
        return change

    def _begin(self, now_s: float) -> None:
        self.scores = None
        self._onset_s = self._smoothed_s = now_s
        self._candidate: str | None = None
        self._candidate_since_s = now_s

    def _smooth(self, probs: np.ndarray, now_s: float) -> None:
        elapsed_ms, self._smoothed_s = _ms(now_s - self._smoothed_s), now_s
        if self.scores is None or self.settings.smoothing_ms == 0:
            self.scores = probs
        else:
            weight = 1.0 - math.exp(-elapsed_ms / self.settings.smoothing_ms)
            self.scores = self.scores + weight * (probs - self.scores)

    def _wanted(self) -> tuple[str, float]:
        """Return the label that the scores speak for, and the highest score."""
        likeliest = int(self.scores.argmax())
        best = float(self.scores[likeliest])
        if best >= self.settings.enter:
            return self._labels[likeliest], best
        if self.label in self._labels and self.scores[self._labels.index(self.label)] >= self.settings.exit:
            return self.label, best
        return UNKNOWN, best

    def _become(self, label: str, confidence: float, now_s: float) -> Change:
        change = Change(
            label=label,
            previous=self.label,
            confidence=confidence,
            at_s=now_s,
            previous_duration_s=now_s - self.since_s,
        )
        self.label, self.confidence, self.since_s = label, confidence, now_s
        return change


def _ms(seconds: float) -> int:
    """Return whole milliseconds: sums of 0.08 s are off by an ulp, and a limit must not depend on that."""
    return round(1_000 * seconds)
