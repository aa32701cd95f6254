"""Whether the first of two brokers is there again, while a session is with the second."""

import logging
from collections.abc import Callable
from typing import Protocol

unsaid = logging.getLogger("roomtone.mqtt.beside")  # of a session beside another, which says the same
unsaid.setLevel(logging.CRITICAL)


class Tries(Protocol):
    """A session with the first broker alone."""

    problem: str | None
    last_problem: tuple[str, float] | None
    since_s: float | None

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Scout:
    """Sends a session of its own to the first broker, unless one is `lent` that is there anyway."""

    def __init__(self, make: Callable[[], Tries]) -> None:
        self.lent: Tries | None = None
        self._make = make
        self._own: Tries | None = None

    @property
    def words(self) -> str | None:
        """How the first broker is now; None where that is not known."""
        session = self.lent or self._own
        if session is None or (session.problem and session.last_problem is None):
            return None
        return session.problem or "it is there again, and used when it holds"

    def held_s(self, now_s: float) -> float:
        """Return for how long it has done so, in seconds."""
        if self.lent is None and self._own is None:
            self._own = self._make()
            self._own.start()
        since_s = (self.lent or self._own).since_s
        return 0.0 if since_s is None else now_s - since_s

    def recall(self) -> None:
        """It is not needed any more."""
        own, self._own = self._own, None
        if own is not None:
            own.stop()
