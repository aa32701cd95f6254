"""What the last utterances sounded like, by the ids of their events: in memory only, until somebody teaches one."""

from collections import OrderedDict

import numpy as np

from edge.lessons.lesson import Heard, as_half, as_log

MOST_HEARD = 500
SAME_S = 0.05  # two changes are further apart


class Memory:
    """The last MOST_HEARD changes to a label, each with the utterance as it was when the next change came, or its end.

    Not thread-safe: see edge/lessons/teacher.py.
    """

    def __init__(self) -> None:
        self._heard: OrderedDict[str, Heard] = OrderedDict()
        self._open: str | None = None  # the event whose label holds while somebody speaks
        self._utterance = 0

    def begin(self, event_id: str, changed_at: float, embedding: np.ndarray, probs: np.ndarray) -> None:
        """A change to a label at this Unix time, of an utterance that sounds so, so far: float (dims,), the model's own
        (labels,)."""
        self._grow(embedding, probs)
        self._heard[event_id] = Heard(event_id, changed_at, self._utterance, as_half(embedding), as_log(probs))
        self._open = event_id
        if len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)

    def end(self, embedding: np.ndarray, probs: np.ndarray) -> None:
        """The utterance is over, and sounded so as a whole."""
        self._grow(embedding, probs)
        self._open = None
        self._utterance += 1

    def find(self, event_id: str) -> Heard | None:
        """Return what was heard at an event; None where it is not, or no longer, known."""
        return self._heard.get(event_id)

    def at(self, unix_s: float) -> Heard | None:
        """Return what was heard at the event of a moment; None where there was none."""
        near = (each for each in self._heard.values() if abs(each.changed_at - unix_s) <= SAME_S)
        return min(near, key=lambda each: abs(each.changed_at - unix_s), default=None)

    def last(self) -> Heard | None:
        """Return the newest of them."""
        return next(reversed(self._heard.values()), None)

    def beside(self, heard: Heard) -> set[str]:
        """Return the ids of all events of the same utterance."""
        return {each.event_id for each in self._heard.values() if each.utterance == heard.utterance}

    def _grow(self, embedding: np.ndarray, probs: np.ndarray) -> None:
        if self._open in self._heard:
            known = self._heard[self._open]
            self._heard[self._open] = known._replace(embedding=as_half(embedding), log_probs=as_log(probs))
