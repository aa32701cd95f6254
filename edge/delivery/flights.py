"""What was sent on the present connection and is not acknowledged yet, and how much of that there may be."""

from dataclasses import dataclass

SLOW_S = 4.0  # without an acknowledgement: worth a word
_WINDOW = 20  # unacknowledged messages
# Some brokers hang up on a refused message. With more of ours behind it unread, the hang-up is a reset, which takes the
# refusal with it before we read it: after a connection this short, the next begins with one message at a time.
_SHORT_S, _CAUTIOUS_S = 5.0, 2.0


@dataclass(frozen=True, slots=True)
class Flight:
    """A message without its acknowledgement yet: an event's id, or else a retained topic."""

    topic: str
    event_id: str | None
    sent_s: float


class Flights:
    """By message id. `slow`: whether the oldest has waited for SLOW_S, as of the last `look`."""

    def __init__(self) -> None:
        self.slow = False
        self._by_mid: dict[int, Flight] = {}
        self._window, self._opened_s, self._cautious = _WINDOW, 0.0, False

    def __len__(self) -> int:
        return len(self._by_mid)

    @property
    def retained(self) -> set[str]:
        """The topics of retained messages among them."""
        return {flight.topic for flight in self._by_mid.values() if flight.event_id is None}

    def opened(self, most: int, now_s: float) -> None:
        """There is a connection, to a broker that takes so many."""
        self._window, self._opened_s = min(_WINDOW, most), now_s

    def full(self, now_s: float) -> bool:
        """Return whether what is sent next has to wait for an acknowledgement."""
        cautious = self._cautious and now_s - self._opened_s < _CAUTIOUS_S
        return len(self._by_mid) >= (1 if cautious else self._window)

    def begin(self, mid: int, flight: Flight) -> None:
        """A message was sent."""
        self._by_mid[mid] = flight

    def land(self, mid: int) -> Flight | None:
        """A message was answered; None where it was not one of these."""
        return self._by_mid.pop(mid, None)

    def clear(self, now_s: float) -> None:
        """The connection is gone."""
        self._cautious = now_s - self._opened_s < _SHORT_S
        self._by_mid.clear()
        self.slow = False

    def slow_at(self) -> list[float]:
        """Return when the next of them will have waited too long, unless one has already."""
        return [] if self.slow else [flight.sent_s + SLOW_S for flight in self._by_mid.values()]

    def look(self, now_s: float) -> bool:
        """Judge `slow` anew; return whether it has become true."""
        before = self.slow
        self.slow = now_s - min((flight.sent_s for flight in self._by_mid.values()), default=now_s) >= SLOW_S
        return self.slow and not before
