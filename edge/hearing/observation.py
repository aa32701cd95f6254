"""What is known of the room at the end of a block."""

import msgspec
import numpy as np

from edge.hearing.decision import Change
from edge.labels import QUIET
from edge.sound.level import SILENCE_DBFS


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """The room at the end of a block. `scores` are smoothed, None without speech; `probs` are the model's own,
    or what lessons make of them; `onset_s` is where the utterance under way began, which is before it was recognised as
    one; `above_floor_db` how far the block stands above the noise floor."""

    at_s: float
    label: str
    confidence: float
    since_s: float
    change: Change | None
    speaking: bool
    speech: bool
    probs: np.ndarray | None
    scores: np.ndarray | None
    speech_ratio: float
    snr_db: float | None
    level_dbfs: float
    clipped_ratio: float
    onset_s: float | None = None
    above_floor_db: float = 0.0

    def scores_of(self, labels: list[str]) -> dict[str, float]:
        """Return the smoothed scores by label; empty while nobody speaks."""
        if self.scores is None:
            return {}
        return {label: round(float(score), 4) for label, score in zip(labels, self.scores, strict=True)}


NOTHING_YET = Observation(
    at_s=0.0,
    label=QUIET,
    confidence=0.0,
    since_s=0.0,
    change=None,
    speaking=False,
    speech=False,
    probs=None,
    scores=None,
    speech_ratio=0.0,
    snr_db=None,
    level_dbfs=SILENCE_DBFS,
    clipped_ratio=0.0,
)
