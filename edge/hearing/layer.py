"""The personal layer in front of the decision: what lessons make of the model's answers, where there are any."""

import numpy as np

from edge.hearing.listener import Listener
from edge.lessons.personal import Personal

# At once where an utterance begins, then this often: each costs a hundredth of what a second of speech does, and an
# embedding, which is of the whole utterance so far, changes slowly.
EVERY_BLOCKS = 3


class Layer:
    """Passes the model's answers on as they are until it takes up what somebody taught."""

    def __init__(self) -> None:
        self._personal: Personal | None = None
        self._asked_at = -EVERY_BLOCKS

    def take_up(self, personal: Personal) -> None:
        """Answer by this layer from now on, where it is in use. From any thread."""
        self._personal = personal if personal.in_use else None

    def begin(self) -> None:
        """An utterance begins."""
        self._asked_at = -EVERY_BLOCKS

    def answer(self, probs: np.ndarray, listener: Listener, block: int) -> np.ndarray | None:
        """Return float32 (labels,) for the model's answer at a block, counted from anywhere before the utterance; None
        where the last one holds."""
        if (personal := self._personal) is None:
            return probs
        if block - self._asked_at < EVERY_BLOCKS:
            return None
        self._asked_at = block
        return personal.answer(listener.embedding, probs)
