"""Hours in which the sensor does not listen, by the wall clock of a time zone: daylight saving included."""

from datetime import UTC, datetime, time

from edge.config import QuietHours


class QuietClock:
    """Answers whether now is a quiet hour. Raises ConfigError for a time zone that this machine does not know."""

    def __init__(self, hours: QuietHours | None) -> None:
        self._hours = hours
        if hours is not None:
            self._zone = hours.zone()
            self._start, self._end = (time.fromisoformat(clock) for clock in (hours.start, hours.end))

    def quiet(self, unix_s: float) -> bool:
        """Return whether the sensor does not listen at that moment."""
        if self._hours is None:
            return False
        now = datetime.fromtimestamp(unix_s, UTC).astimezone(self._zone).time()
        if self._start <= self._end:
            return self._start <= now < self._end
        return now >= self._start or now < self._end
