"""Which broker is next: the same again after a connection that held, else the other one; and how soon.

Without a thread and without a clock: times are seconds of a monotonic one. Of one broker there is nothing to choose.
"""

import random

from edge.delivery.access import Access

LONGEST_RETRY_S = 45.0  # what waited must be delivered within a minute of the broker's return
_FIRST_RETRY_S, _LONGEST_SHORT_RETRY_S = 0.5, 3.0  # a broker that accepts us is there: it is not left alone for long
RETURN_AFTER_S, LONGEST_RETURN_S = 10.0, 3_600.0  # for so long the first must hold before it is used again
ENOUGH = 3  # times as long it has to do then, else the next return waits twice as long


class Places:
    """A broker, and its standby where it has one. return_after_s: for so long the first must have held to go back."""

    def __init__(self, first: Access) -> None:
        self.all = (first,) if first.standby is None else (first, first.standby)
        self.return_after_s = RETURN_AFTER_S
        self._at = 0
        self._failed = 0  # attempts in a row
        self._back_since_s: float | None = None  # at the first, after a time at the standby
        self._problems: dict[str, str] = {}  # by the address of a broker that is away

    @property
    def now(self) -> Access:
        """The one that is used, or tried."""
        return self.all[self._at]

    @property
    def first(self) -> Access:
        return self.all[0]

    @property
    def on_standby(self) -> bool:
        return self._at > 0

    @property
    def problems(self) -> str:
        """Why there is no connection: of the first without its name, for whoever says it says that."""
        words = [self._problems.get(self.first.address, "not tried")]
        words += [f"broker {place.address}: {self._problems[place.address]}" for place in self.all[1:]
                  if place.address in self._problems]  # fmt: skip
        return "; ".join(words)

    @property
    def patience_s(self) -> float:
        """For how long a connection may be left to itself."""
        return 1.0 if self.on_standby else 5.0

    def away(self, now: str | None) -> str | None:
        """Return why the standby is used; None where it is not. now: how the first is, where that is known."""
        words = now or self._problems.get(self.first.address)
        return f"broker {self.first.address}: {words}" if self.on_standby else None

    def note(self, problem: str) -> bool:
        """`now` cannot be used; return whether that was not known."""
        known, self._problems[self.now.address] = self._problems.get(self.now.address), problem
        return problem != known

    def accepted(self) -> None:
        """`now` is used."""
        for place in self.all[self._at :]:
            self._problems.pop(place.address, None)

    def go_back(self, now_s: float) -> None:
        """The first has held for long enough: it is tried next."""
        self._at, self._failed, self._back_since_s = 0, 0, now_s

    def ended(self, now_s: float, *, held: bool) -> bool:
        """A connection, or an attempt at one, is over; return whether another broker is to be tried at once."""
        if held:
            self._failed = 0
            return False
        self._failed += 1
        if not self.on_standby and self._back_since_s is not None:
            soon = now_s - self._back_since_s < ENOUGH * self.return_after_s
            self.return_after_s = min(LONGEST_RETURN_S, 2 * self.return_after_s) if soon else RETURN_AFTER_S
            self._back_since_s = None
        self._at = (self._at + 1) % len(self.all)
        return self._failed % len(self.all) > 0


def jittered_delay_s(away_s: float, short: int) -> float:
    """Return how long to wait before the next attempt, half of it random: many sensors must not come back at once.

    away_s: since when the broker has been away; a quarter of that is waited, up to LONGEST_RETRY_S. short: connections
    in a row that were accepted and soon lost.
    """
    again_s = min(_LONGEST_SHORT_RETRY_S, _FIRST_RETRY_S * 2 ** min(short, 16))
    return max(again_s, min(LONGEST_RETRY_S, away_s / 4)) * random.uniform(0.5, 1.0)
