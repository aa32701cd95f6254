"""Whether the sensor listens. While it does not, the microphone is closed."""

import threading
from collections.abc import Callable


class Listening:
    """Several may forbid listening, each under a name of its own; it is on while nobody does. Thread-safe.

    hold, resume: close and open the microphone, from any thread.
    """

    def __init__(self, *, hold: Callable[[], None] = lambda: None, resume: Callable[[], None] = lambda: None) -> None:
        self._hold, self._resume = hold, resume
        self._forbidden: set[str] = set()
        self._lock = threading.Lock()

    @property
    def on(self) -> bool:
        return not self._forbidden

    def forbids(self, who: str) -> bool:
        """Return whether this one forbids it."""
        return who in self._forbidden

    def set(self, who: str, allowed: bool) -> None:
        """Allow or forbid listening, on behalf of `who`."""
        with self._lock:
            before = self.on
            (self._forbidden.discard if allowed else self._forbidden.add)(who)
            if self.on != before:
                (self._resume if self.on else self._hold)()
