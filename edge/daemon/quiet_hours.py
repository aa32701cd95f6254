"""Hours in which the sensor does not listen, by the wall clock of a time zone: daylight saving included."""

from datetime import UTC, datetime, time

from edge.config import QuietHours

_FROM_FILE = "from edge.quiet_hours"
_OVER_MQTT = 'set over MQTT; {"reset": ["quiet_hours"]} on settings/set takes them back'


class QuietClock:
    """Answers whether now is a quiet hour. Raises ConfigError for a time zone that this machine does not know.

    over_mqtt: the hours were set so, and are not the configuration's.
    """

    def __init__(self, hours: QuietHours | None, *, over_mqtt: bool = False) -> None:
        self._hours, self._whence = hours, _OVER_MQTT if over_mqtt else _FROM_FILE
        if hours is not None:
            self._zone = hours.zone()
            self._start, self._end = (time.fromisoformat(clock) for clock in (hours.start, hours.end))

    @property
    def words(self) -> str:
        """Until when quiet hours are, and where they come from."""
        return f"until {self._hours.end} {self._hours.time_zone}, {self._whence}"

    def quiet(self, unix_s: float) -> bool:
        """Return whether the sensor does not listen at that moment."""
        if self._hours is None:
            return False
        now = datetime.fromtimestamp(unix_s, UTC).astimezone(self._zone).time()
        if self._start <= self._end:
            return self._start <= now < self._end
        return now >= self._start or now < self._end
