"""What was sent on the present connection and is not acknowledged yet."""

from dataclasses import dataclass

SLOW_S = 4.0  # without an acknowledgement: worth a word


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

    def __len__(self) -> int:
        return len(self._by_mid)

    @property
    def retained(self) -> set[str]:
        """The topics of retained messages among them."""
        return {flight.topic for flight in self._by_mid.values() if flight.event_id is None}

    def begin(self, mid: int, flight: Flight) -> None:
        """A message was sent."""
        self._by_mid[mid] = flight

    def land(self, mid: int) -> Flight | None:
        """A message was answered; None where it was not one of these."""
        return self._by_mid.pop(mid, None)

    def clear(self) -> None:
        """The connection is gone."""
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
