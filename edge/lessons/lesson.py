"""A lesson: what somebody said an utterance was, as numbers that no sound can be made from."""

from typing import NamedTuple

import numpy as np

MOST_LESSONS = 1_000


class Lesson(NamedTuple):
    """event_id: of the change that was corrected. at: Unix time of the correction.

    embedding: float16 (dims,). log_probs: float16 (labels,), what the model itself said, untaught.
    """

    event_id: str
    label: str
    at: float
    embedding: np.ndarray
    log_probs: np.ndarray


class Heard(NamedTuple):
    """An utterance so far, as a lesson keeps it (arrays as above). changed_at: Unix time of the event. utterance: its
    number, in the order of hearing."""

    event_id: str
    changed_at: float
    utterance: int
    embedding: np.ndarray
    log_probs: np.ndarray


def as_log(probs: np.ndarray) -> np.ndarray:
    """Return probabilities (labels,) as float16 logarithms; what is less likely than float16 can say is as likely."""
    return np.log(np.maximum(probs, 1e-6)).astype(np.float16)


def as_half(embedding: np.ndarray) -> np.ndarray:
    """Return an embedding (dims,) as float16; what is beyond it stands at its end, and what is no number at 0."""
    most = float(np.finfo(np.float16).max)
    return np.nan_to_num(np.clip(embedding, -most, most), nan=0.0).astype(np.float16)
