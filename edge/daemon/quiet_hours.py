"""Hours in which the sensor does not listen, by the wall clock of a time zone: daylight saving included."""

from datetime import UTC, datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from edge.errors import ConfigError

Clock = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class QuietHours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `start` to `end` (HH:MM; over midnight where `end` is the earlier one) in `time_zone` (IANA name)."""

    start: Clock
    end: Clock
    time_zone: str = "UTC"


class QuietClock:
    """Answers whether now is a quiet hour. Raises ConfigError for a time zone that this machine does not know."""

    def __init__(self, hours: QuietHours | None) -> None:
        self._hours = hours
        if hours is not None:
            try:
                self._zone = ZoneInfo(hours.time_zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ConfigError(
                    f"edge.quiet_hours.time_zone: unknown time zone {hours.time_zone!r} (expected e.g. Europe/Berlin)"
                ) from error
            self._start, self._end = (time.fromisoformat(clock) for clock in (hours.start, hours.end))

    def quiet(self, unix_s: float) -> bool:
        """Return whether the sensor does not listen at that moment."""
        if self._hours is None:
            return False
        now = datetime.fromtimestamp(unix_s, UTC).astimezone(self._zone).time()
        if self._start <= self._end:
            return self._start <= now < self._end
        return now >= self._start or now < self._end
