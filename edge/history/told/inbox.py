"""From the session's thread to the recorder's: whoever brings more than is taken in waits with it."""

import queue
import time
from typing import Generic, TypeVar

_MOST, _LOOK_S = 64, 0.01
_LONGEST_HALT_S = 1.0  # a session that answers nothing for longer would be taken for gone

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue that is short: the broker holds what a thousand sensors told of their days, 66 MB, better than we do."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[T] = queue.SimpleQueue()

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, item: T) -> None:
        """Bring something, at once."""
        self._queue.put(item)

    def put_in_turn(self, item: T) -> None:
        """Bring something once there is room for it, or a while has passed."""
        due_s = time.monotonic() + _LONGEST_HALT_S
        while len(self) >= _MOST and time.monotonic() < due_s:
            time.sleep(_LOOK_S)
        self._queue.put(item)

    def get(self, timeout_s: float) -> T | None:
        """Take what came first, None where nothing comes in time."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
